package agenttest_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type onHeaders func(m *agent.Message) agent.Verdict

func (f onHeaders) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict { return f(m) }

// The relay's rules, each broken once.
func TestRefusedVerdicts(t *testing.T) {
	declared := agent.ChangesRecipientsAt(agent.EventEndOfHeaders)
	for _, tc := range []struct {
		name    string
		do      func(m *agent.Message) agent.Verdict
		options []agent.Option
		want    string // empty: taken
	}{
		{"header edit not asked for", func(m *agent.Message) agent.Verdict { m.Header().Add("X-A", "b"); return agent.Continue() }, nil,
			`needs the permission change_headers`},
		{"rejection not asked for", func(*agent.Message) agent.Verdict { return agent.Reject() }, nil, "ACTION_REJECT needs the permission reject"},
		{"class of the code", func(*agent.Message) agent.Verdict { return agent.Reject("no").Code(450, "4.2.0") },
			[]agent.Option{agent.Asks(agent.RejectMail)}, "ACTION_REJECT with code 450"},
		{"class of the enhanced code", func(*agent.Message) agent.Verdict { return agent.TempFail("no").Code(450, "5.2.0") },
			[]agent.Option{agent.Asks(agent.RejectMail)}, "ACTION_TEMPFAIL with enhanced code 5.2.0"},
		{"injected field", func(m *agent.Message) agent.Verdict {
			m.Header().AddRaw("X-A", " b\r\nBcc: c")
			return agent.Continue()
		},
			[]agent.Option{agent.Asks(agent.ChangeHeaders)}, `the header value " b\r\nBcc: c"`},
		{"bad name", func(m *agent.Message) agent.Verdict { m.Header().Add("X A", "b"); return agent.Continue() },
			[]agent.Option{agent.Asks(agent.ChangeHeaders)}, `the header name "X A"`},
		{"recipients not declared", func(m *agent.Message) agent.Verdict { m.AddRecipient("b@example.org"); return agent.Continue() },
			[]agent.Option{agent.Asks(agent.ChangeRecipients)}, "an edit of recipients at OnEndOfHeaders that the factory does not declare (ChangesRecipientsAt)"},
		{"foreign domain", func(m *agent.Message) agent.Verdict { m.AddRecipient("b@example.net"); return agent.Continue() },
			[]agent.Option{agent.Asks(agent.ChangeRecipients), declared}, `the address "b@example.net", whose domain is not accepted, needs the permission relay`},
		{"foreign domain with the permission", func(m *agent.Message) agent.Verdict { m.AddRecipient("b@example.net"); return agent.Continue() },
			[]agent.Option{agent.Asks(agent.ChangeRecipients, agent.RelayMail), declared}, ""},
		{"bad address", func(m *agent.Message) agent.Verdict { m.AddRecipient("b c@example.org"); return agent.Continue() },
			[]agent.Option{agent.Asks(agent.ChangeRecipients), declared}, `the address "b c@example.org"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var refused string
			h := agenttest.Start(t, agent.New("x", onHeaders(tc.do), tc.options...),
				agenttest.Config{Refused: func(problem string) { refused = problem }})
			got := h.Connect("192.0.2.1").Mail("").EndOfHeaders("Subject: s\r\n")
			if refused != tc.want && (tc.want == "" || len(refused) < len(tc.want) || refused[len(refused)-len(tc.want):] != tc.want) {
				t.Errorf("refused %q, want %q", refused, tc.want)
			}
			if tc.want != "" && (got.Header != "Subject: s\r\n" || got.Recipients != nil) {
				t.Errorf("a refused edit was applied: %+v", got)
			}
		})
	}
}

type skipper struct{ mails, rcpts int }

func (s *skipper) OnMailCommand(context.Context, *agent.Message, agent.Mailbox) agent.Verdict {
	s.mails++
	return agent.Skip()
}

func (s *skipper) OnRcptCommand(context.Context, *agent.Message, agent.Recipient) agent.Verdict {
	s.rcpts++
	return agent.Detach()
}

func TestSkipAndDetachEndTheEvents(t *testing.T) {
	s := &skipper{}
	c := agenttest.Start(t, agent.New("skipper", s), agenttest.Config{}).Connect("192.0.2.1")
	for range 2 {
		m := c.Mail("")
		m.Rcpt("a@example.org")
	}
	c.Mail("")
	if s.mails != 1 || s.rcpts != 1 {
		t.Errorf("%d MAIL and %d RCPT, want one each", s.mails, s.rcpts)
	}
}

type gate struct{}

func (gate) OnConnect(_ context.Context, s *agent.Session) agent.Verdict {
	if s.RemoteAddr().Addr().Is6() {
		return agent.Disconnect("not today")
	}
	return agent.Continue()
}

func (gate) OnHeloCommand(_ context.Context, s *agent.Session, domain string) agent.Verdict {
	if domain == "localhost" && !s.ESMTP() {
		return agent.TempFail("who are you?").Because("helo localhost")
	}
	return agent.Accept()
}

func (gate) OnReject(_ context.Context, _ *agent.Session, r agent.Rejection) agent.Verdict {
	if r.Cause == agent.CauseRelay && r.Reply.Code == 550 {
		return agent.Disconnect()
	}
	return agent.Continue()
}

func TestSessionEvents(t *testing.T) {
	h := agenttest.Start(t, agent.New("gate", gate{}, agent.Asks(agent.RejectMail)), agenttest.Config{})
	if got, want := h.Connect("2001:db8::1").Greeting, (agenttest.Verdict{Action: "disconnect", Code: 421, Enhanced: "4.7.0", Text: "not today"}); got != want {
		t.Errorf("greeting = %+v, want %+v", got, want)
	}
	c := h.Connect("192.0.2.1")
	if got, want := c.Helo("localhost"), (agenttest.Verdict{Action: "tempfail", Code: 451, Enhanced: "4.7.1", Text: "who are you?", Reason: "helo localhost"}); got != want {
		t.Errorf("HELO = %+v, want %+v", got, want)
	}
	if got := c.Helo("client.example.org"); got.Action != "accept" {
		t.Errorf("HELO = %+v", got)
	}
	refusal := agent.Rejection{Cause: agent.CauseRelay, Reply: agent.Reply{Code: 550}, Command: "RCPT TO:<a@example.net>"}
	if got := c.Reject(refusal); got != (agenttest.Verdict{Action: "disconnect"}) {
		t.Errorf("OnReject = %+v", got)
	}
}
