package frontend

import (
	"io"
	"strings"
	"testing"
)

// RFC 5321 §4.5.1: "postmaster" without a domain is accepted from everybody, in any case; the next hop
// is asked for the same, since only it knows who that is.
func TestPostmasterWithoutADomainIsNoRelaying(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("")
	h.wantReply(h.rcpt("PostMaster"), 250, "")
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <> RCPT <PostMaster>", "DATA", "content", "release")
}

// repairedBody is a body as the server gives it where line ends are repaired.
type repairedBody struct{ io.Reader }

func (repairedBody) Repaired() int64 { return 3 }

func TestLogTellsOfRepairedLineEnds(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.sendBody("Subject: x\r\n", repairedBody{strings.NewReader("\r\nbody\r\n")})
	if !strings.Contains(h.log.String(), "repaired_line_ends=3") {
		t.Errorf("nothing of it in the log:\n%s", h.log)
	}
}
