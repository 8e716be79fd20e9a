package frontend

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

const note = "From: robot@example.org\r\nSubject: noted\r\n\r\na note\r\n"

// submits is an agent that submits a message at an event, and what came of it.
func submits(at event.Kind, text string, result *event.Submitted) fakeAgent {
	return fakeAgent{at: func(st *event.State, _ event.Event) event.Verdict {
		*result = st.Submitter.Submit(context.Background(), &event.Submission{
			From: event.Address{Mailbox: "robot@example.org"}, To: []event.Address{{Mailbox: "archive@example.org"}}, Message: []byte(text),
		})
		return event.Verdict{}
	}}
}

func sealing(h *harness) *Seal {
	h.t.Helper()
	seal, err := OpenSeal(filepath.Join(h.t.TempDir(), "submit.key"))
	if err != nil {
		h.t.Fatal(err)
	}
	set := *h.f.settings.Load()
	set.Seal = seal
	h.f.Set(set)
	return seal
}

// The agent's message goes first, on a connection that its session does not hold meanwhile; the
// client's follows as if nothing had been.
func TestAgentsMessageGoesBesideTheClients(t *testing.T) {
	for _, tt := range []struct {
		name  string
		check Check
		at    event.Kind
		hop   []string
	}{
		{"live", Live, event.EndOfHeaders, []string{
			"release", "begin", "MAIL <robot@example.org> SIZE RCPT <archive@example.org> DATA", "content", "release",
			"begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release"}},
		{"deferred", Deferred, event.EndOfHeaders, []string{
			"begin", "MAIL <robot@example.org> SIZE RCPT <archive@example.org> DATA", "content", "release",
			"begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release"}},
		{"before the next hop", Deferred, event.ProxyInboundMessage, []string{
			"begin", "release", "begin", "MAIL <robot@example.org> SIZE RCPT <archive@example.org> DATA", "content", "release",
			"begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var result event.Submitted
			h := start(t, tt.check, submits(tt.at, note, &result))
			sealing(h)
			h.mail("bob@example.net")
			h.rcpt("alice@example.org")
			h.hop.log = nil
			h.wantReply(h.send(message), 250, "(id S1-1)")
			for i, words := range h.hop.log {
				if before, after, ok := strings.Cut(words, " SIZE="); ok {
					_, rest, _ := strings.Cut(after, " ")
					h.hop.log[i] = before + " SIZE " + rest
				}
			}
			h.wantHop(tt.hop...)
			if result.Err != nil || result.Reply.Code != 250 || result.ID != "S1-1.1" {
				t.Errorf("result %+v", result)
			}
			sent := h.hop.contents[0]
			for _, want := range []string{
				"Received: by mx.example.org (agent fake)\r\n\tid S1-1.1;\r\n\t", "X-Relay-Submitted: v=1;id=S1-1.1;", "\r\n\ta=FrontEnd%2Ffake;\r\n\th=",
				"Message-ID: <S1-1.1.", "@mx.example.org>\r\n", "Date: ",
			} {
				if !strings.Contains(sent, want) {
					t.Errorf("%q does not contain %q", sent, want)
				}
			}
			if !strings.HasSuffix(sent, note) || !strings.HasSuffix(h.hop.contents[1], message) {
				t.Errorf("contents %q", h.hop.contents)
			}
			if log := h.log.String(); !strings.Contains(log, `msg="submitted message" result=relayed id=S1-1.1 session=S1 agent=fake submitted_at=S1-1`) ||
				!strings.Contains(log, "submit S1-1.1: 250") {
				t.Errorf("the log does not tell of both:\n%s", log)
			}
		})
	}
}

// What becomes of the agent's message is the agent's to know; the client's goes its way.
func TestAgentsMessageThatIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		text   string
		change func(h *harness)
		code   int
		err    string
		later  bool
	}{
		{"recipient", note, func(h *harness) { h.hop.answers["archive@example.org"] = noSuchUser }, 550, "", true},
		{"sender", note, func(h *harness) { h.hop.once = map[string]reply.Reply{"MAIL": noSuchUser} }, 550, "", true},
		{"DATA", note, func(h *harness) {
			h.hop.once = map[string]reply.Reply{"DATA": reply.New(452, reply.Enhanced{Subject: 3}, "full")}
		}, 452, "", true},
		{"content", note, func(h *harness) {
			h.hop.once = map[string]reply.Reply{"content": reply.New(554, reply.Enhanced{Subject: 6}, "spam")}
		}, 554, "", true},
		{"the relay itself", note, func(h *harness) {
			h.hop.once = map[string]reply.Reply{"MAIL": reply.New(530, reply.Enhanced{}, "TLS first")}
		}, 451, "next hop refuses this relay: 530", true},
		{"lost after the content", note, func(h *harness) { h.hop.lost["content"] = true }, 0, "may have taken the message", true},
		{"no message", "hello\r\n", nil, 0, "line 1 is no header field", false},
		{"bare LF", strings.ReplaceAll(note, "\r\n", "\n"), nil, 0, "LF without CR", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var result event.Submitted
			h := start(t, Deferred, submits(event.EndOfHeaders, tt.text, &result))
			sealing(h)
			if tt.change != nil {
				tt.change(h)
			}
			h.mail("bob@example.net")
			h.rcpt("alice@example.org")
			h.wantReply(h.send(message), 250, "(id S1-1)")
			if result.Reply.Code != tt.code || (result.Err == nil) != (tt.err == "") || result.Later != tt.later {
				t.Errorf("result %+v", result)
			}
			if result.Err != nil && !strings.Contains(result.Err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", result.Err, tt.err)
			}
			if log := h.log.String(); !strings.Contains(log, "result=refused id=S1-1.1") || !strings.Contains(log, "result=relayed id=S1-1 ") {
				t.Errorf("the log does not tell of both:\n%s", log)
			}
		})
	}
}

func TestAgentsMessageSaysWhatItIs(t *testing.T) {
	for text, want := range map[string]string{
		"From: a@b.example\r\n\r\n\xe4\r\n":           " BODY=8BITMIME",
		"From: a@b.example\r\nSubject: ä\r\n\r\n\r\n": " SMTPUTF8 BODY=8BITMIME",
	} {
		var result event.Submitted
		h := start(t, Deferred, submits(event.EndOfHeaders, text, &result))
		sealing(h)
		h.mail("bob@example.net")
		h.rcpt("alice@example.org")
		h.send(message)
		if log := strings.Join(h.hop.log, "\n"); !strings.Contains(log, want+" RCPT <archive@example.org>") {
			t.Errorf("the next hop was sent\n%s\nwant%s", log, want)
		}
	}
}

// OnReject comes when the client has its answer. The next hop's connection is given back by then, and not by
// the idle timer and an agent's message at the same time.
func TestAgentsMessageAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var result event.Submitted
		late := submits(event.Reject, note, &result)[event.Reject]
		h := start(t, Live, fakeAgent{
			event.EndOfHeaders: func(*event.State, event.Event) event.Verdict { return event.Verdict{Action: event.RejectIt} },
			event.Reject: func(st *event.State, ev event.Event) event.Verdict {
				time.Sleep(idleRelease)
				return late(st, ev)
			},
		})
		sealing(h)
		h.mail("bob@example.net")
		h.rcpt("alice@example.org")
		h.hop.log = nil
		header, body, _ := strings.Cut(message, "\r\n\r\n")
		h.wantReply(told(h.Session.Content(t.Context(), mail.ParseHeader([]byte(header+"\r\n")), strings.NewReader("\r\n"+body))), 550, "")
		h.wantHop("release")
		h.agents.Fire(t.Context(), event.Event{Kind: event.Reject, Rejection: &event.Rejection{}})
		if result.Err != nil || result.Reply.Code != 250 {
			t.Errorf("result %+v", result)
		}
		h.Session.Reset(t.Context())
	})
}

// An agent that answers its own mail comes to an end, however the mail comes back; what others make up
// changes nothing, and leaves as it came.
func TestAgentsMessageThatComesBack(t *testing.T) {
	var result event.Submitted
	h := start(t, Deferred, submits(event.EndOfHeaders, note, &result))
	seal := sealing(h)
	pass := func(text string) string {
		h.hop.contents = nil
		h.mail("bob@example.net")
		h.rcpt("alice@example.org")
		h.wantReply(h.send(text), 250, "")
		if last := h.hop.contents[len(h.hop.contents)-1]; !strings.HasSuffix(last, text) {
			t.Errorf("%q became %q", text, last)
		}
		return h.hop.contents[0]
	}
	text := message
	for n := range 4 {
		text = pass(text)
		if looped := result.Err != nil && strings.Contains(result.Err.Error(), "loop"); looped != (n == 2) {
			t.Fatalf("submission %d: %+v", n+1, result)
		}
		if n == 2 {
			break
		}
	}
	forged := strings.Replace(text, "FrontEnd%2Ffake", "FrontEnd%2Fother", 1)
	if pass(forged); result.Err != nil {
		t.Errorf("forged: %+v", result)
	}
	other := strings.Replace(text, "Message-ID: <", "Message-ID: <x", 1)
	if pass(other); result.Err != nil {
		t.Errorf("on another message: %+v", result)
	}
	if seal.Key() == nil {
		t.Error("no key")
	}
}

// The trace of submissions is the relay's own.
func TestAgentsCannotTakeTheTraceOfSubmissionsOut(t *testing.T) {
	agent := fakeAgent{event.EndOfHeaders: func(*event.State, event.Event) event.Verdict {
		return event.Verdict{Edits: []event.Edit{{Op: event.RemoveHeaders, Name: mail.SubmittedField}}}
	}}
	h := start(t, Deferred, agent)
	key, err := sealing(h).Make()
	if err != nil {
		t.Fatal(err)
	}
	field := mail.SubmittedField + ":" + string(mail.Submitted{Chain: []string{"FrontEnd/a"}, ID: "x", At: time.Now()}.Value(key, []byte(" <a@b.example>"))) + "\r\n"
	text := field + "X-Relay-Submitted: not ours\r\nMessage-ID: <a@b.example>\r\n\r\n"
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.wantReply(h.send(text), 250, "")
	if !strings.Contains(h.hop.content, field) || strings.Contains(h.hop.content, "not ours") {
		t.Errorf("content %q", h.hop.content)
	}
}

func TestSealIsKeptInAFileOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "submit.key")
	s, err := OpenSeal(path)
	if err != nil || s.Key() != nil {
		t.Fatalf("%v, %v", s.Key(), err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("made before it is of use")
	}
	key, err := s.Make()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600&fs.ModePerm {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again, err := OpenSeal(path)
	if err != nil || string(again.Key()) != string(key) {
		t.Errorf("%x, %v, want %x", again.Key(), err, key)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSeal(path); err == nil || !strings.Contains(err.Error(), "64 hexadecimal digits") {
		t.Errorf("error %v", err)
	}
}
