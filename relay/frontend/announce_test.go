package frontend

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// announced is an agent that notes what it is shown at OnProxyInboundMessage, and thinks this long.
func announced(seen *[]string, think time.Duration) fakeAgent {
	return fakeAgent{event.ProxyInboundMessage: func(st *event.State, ev event.Event) event.Verdict {
		*seen = append(*seen, fmt.Sprintf("%s %s %d %t", ev.NextHop.Name, ev.NextHop.Address, len(st.Envelope.Recipients), st.Header != nil))
		time.Sleep(think)
		return event.Verdict{}
	}}
}

func TestAgentsHearOnceOfTheNextHopBeforeData(t *testing.T) {
	const once = "mailserver 192.0.2.25:25 2 true"
	for _, tt := range []struct {
		name  string
		check Check
		lost  string
		think time.Duration
		hop   []string
	}{
		{"live", Live, "", 0, []string{"DATA", "content", "release"}},
		{"deferred", Deferred, "", 0, []string{"begin", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <carol@example.org> DATA", "content", "release"}},
		{"asked again on another connection", Live, "DATA", 0, []string{
			"DATA", "begin", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <carol@example.org> DATA", "content", "release"}},
		{"slow agent, recipients asked", Live, "", idleRelease, []string{
			"release", "begin", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <carol@example.org> DATA", "content", "release"}},
		{"slow agent, nothing asked", Deferred, "", untouched, []string{
			"begin", "release", "begin", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <carol@example.org> DATA", "content", "release"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen []string
				h := start(t, tt.check, announced(&seen, tt.think))
				h.hop.lost[tt.lost] = true
				h.mail("bob@example.net")
				h.rcpt("alice@example.org")
				h.rcpt("carol@example.org")
				h.hop.log = nil
				h.wantReply(h.send(message), 250, "")
				h.wantHop(tt.hop...)
				if len(seen) != 1 || seen[0] != once {
					t.Errorf("agents heard %q, want %q once", seen, once)
				}
			})
		})
	}
}

// The header is final and the message on its way: what is left to an agent there is to be broken.
func TestBrokenAgentBeforeTheNextHopCosts451AndNothingIsSent(t *testing.T) {
	for _, check := range []Check{Live, Deferred} {
		h := start(t, check, fakeAgent{event.ProxyInboundMessage: func(*event.State, event.Event) event.Verdict {
			return event.Verdict{Action: event.Discard}
		}})
		h.mail("bob@example.net")
		h.rcpt("alice@example.org")
		h.wantReply(h.send(message), 451, "4.3.0 temporarily unavailable, try again later (id S1-1)")
		if log := strings.Join(h.hop.log, " "); strings.Contains(log, "DATA") || !strings.HasSuffix(log, "release") {
			t.Errorf("the next hop was sent %s", log)
		}
		if !strings.Contains(h.log.String(), "OnProxyInboundMessage") {
			t.Errorf("the log does not say where:\n%s", h.log)
		}
	}
}

// Nothing may be told of a next hop that is not there.
func TestAgentsDoNotHearOfANextHopThatIsDown(t *testing.T) {
	var seen []string
	h := start(t, Deferred, announced(&seen, 0))
	h.hop.down = noHop
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.wantReply(h.send(message), 451, "4.4.1")
	if len(seen) > 0 {
		t.Errorf("agents heard %q", seen)
	}
}

var noHop = &reply.Error{Reply: reply.New(451, reply.Enhanced{Subject: 4, Detail: 1}, "next hop unavailable")}
