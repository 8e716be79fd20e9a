package agent

import (
	"context"
	"log/slog"
	"testing"

	agentv1 "example.org/relay/proto/agent/v1"
)

// worded rejects with its setting.
type worded struct {
	Word string `json:"word"`
}

func (w *worded) OnRcptCommand(context.Context, *Message, Recipient) Verdict { return Reject(w.Word) }

// interlude is a script in whose middle something happens.
type interlude struct {
	script
	at   int // frames still to come
	then func()
}

func (s *interlude) RecvMsg(m any) error {
	if len(s.host) == s.at {
		s.then()
	}
	return s.script.RecvMsg(m)
}

func TestNewSettingsAreForTheNextTransactionOfASession(t *testing.T) {
	p, err := NewService(slog.New(slog.DiscardHandler), Build("x", func(s Setup) (*worded, error) {
		w := &worded{}
		return w, s.Settings(w)
	}))
	if err != nil {
		t.Fatal(err)
	}
	configure := func(settings string) {
		if r, err := p.Configure(t.Context(), &agentv1.ConfigureRequest{AgentName: "me", Settings: []byte(settings)}); err != nil || len(r.Errors) > 0 {
			t.Fatal(r, err)
		}
	}
	configure(`{"word":"old"}`)
	rcpt := func(seq uint32, message string) *agentv1.HostFrame {
		e := &agentv1.Event{Seq: seq, Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND}
		if message != "" {
			e.Envelope = &agentv1.Envelope{MessageId: message, From: &agentv1.Mailbox{}}
		}
		return events(e)
	}
	s := &interlude{at: 2, then: func() { configure(`{"word":"new"}`) }}
	s.ctx, s.host = t.Context(), []*agentv1.HostFrame{start("s"), rcpt(1, "m1"), rcpt(2, ""), rcpt(3, "m2")}
	if err := p.Session(s); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"old", "old", "new"} {
		if got := s.got[i].GetVerdicts().Verdicts[0].Reply.Lines[0]; got != want {
			t.Errorf("event %d: settings %s, want %s", i+1, got, want)
		}
	}
}
