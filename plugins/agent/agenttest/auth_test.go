package agenttest_test

import (
	"context"
	"slices"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

// doorman takes no plain text, and lets in alice alone.
type doorman struct{ seen []string }

func (d *doorman) OnAuthCommand(_ context.Context, _ *agent.Session, a agent.Auth) agent.Verdict {
	if a.Mechanism == "LOGIN" {
		return agent.Reject("not by LOGIN")
	}
	return agent.Continue()
}

func (d *doorman) OnEndOfAuthentication(_ context.Context, _ *agent.Session, a agent.Auth) agent.Verdict {
	if a.Success && a.User != "alice" {
		return agent.Reject()
	}
	return agent.Continue()
}

func (d *doorman) OnMailCommand(_ context.Context, m *agent.Message, _ agent.Mailbox) agent.Verdict {
	d.seen = append(d.seen, m.Session().AuthUser()+" "+m.Session().AuthMechanism())
	return agent.Continue()
}

func TestLogins(t *testing.T) {
	d := &doorman{}
	h := agenttest.Start(t, agent.New("doorman", d, agent.Asks(agent.RejectMail)), agenttest.Config{})
	for _, tc := range []struct {
		mechanism, user string
		success         bool
		command, end    string
		seen            string
	}{
		{"LOGIN", "alice", false, "reject", "continue", " "},
		{"PLAIN", "alice", true, "continue", "continue", "alice PLAIN"},
		{"PLAIN", "bob", true, "continue", "reject", " "},
		{"PLAIN", "alice", false, "continue", "continue", " "},
	} {
		c := h.Connect("192.0.2.1")
		c.Ehlo("client.example.net")
		if v := c.Auth(tc.mechanism); v.Action != tc.command {
			t.Errorf("%v: AUTH: %+v", tc, v)
		}
		if v := c.EndOfAuthentication(tc.mechanism, tc.user, tc.success); v.Action != tc.end {
			t.Errorf("%v: end: %+v", tc, v)
		}
		c.Ehlo("again.example.net")
		c.Mail("a@example.net")
		if last := d.seen[len(d.seen)-1]; last != tc.seen {
			t.Errorf("%v: at MAIL it is %q, want %q; all: %v", tc, last, tc.seen, slices.Clone(d.seen))
		}
	}
}
