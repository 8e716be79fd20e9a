package agenttest_test

import (
	"context"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

// strict refuses all it is asked about.
type strict struct{}

func (strict) OnMailCommand(context.Context, *agent.Message, agent.Mailbox) agent.Verdict {
	return agent.Reject()
}

func (strict) OnRcptCommand(context.Context, *agent.Message, agent.Recipient) agent.Verdict {
	return agent.Reject()
}

// The kit asks an agent about what the relay would.
func TestAgentsAreNarrowed(t *testing.T) {
	for _, tt := range []struct {
		name       string
		only       agent.Filter
		user       string
		mail, rcpt bool // asked
	}{
		{"not at all", agent.Filter{}, "", true, true},
		{"by listener", agent.Filter{Listeners: []string{":587"}}, "", false, false},
		{"by the listener there is", agent.Filter{Listeners: []string{"127.0.0.1:25"}}, "", true, true},
		{"to inbound mail", agent.Filter{InboundOnly: true}, "", true, true},
		{"to internal mail", agent.Filter{InternalOnly: true}, "", false, false},
		{"to users", agent.Filter{Authenticated: new(true)}, "", false, false},
		{"to users, of whom this is one", agent.Filter{Authenticated: new(true)}, "alice", true, true},
		{"to strangers", agent.Filter{Authenticated: new(false)}, "alice", false, false},
		{"by recipient", agent.Filter{RecipientDomains: []string{"*.example.org"}}, "", true, false},
		{"by the recipient there is", agent.Filter{RecipientDomains: []string{"Example.org"}}, "", true, true},
		{"by sender", agent.Filter{SenderDomains: []string{"example.org"}}, "", false, false},
		{"by the sender there is", agent.Filter{SenderDomains: []string{"*.example.net"}}, "", true, true},
		{"by size", agent.Filter{MaxSize: 999}, "", false, false},
		{"by the size there is", agent.Filter{MaxSize: 1000}, "", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := agenttest.Start(t, agent.New("x", strict{}, agent.Asks(agent.RejectMail), agent.Only(tt.only)), agenttest.Config{})
			c := h.Connect("192.0.2.1")
			if tt.user != "" {
				c.EndOfAuthentication("PLAIN", tt.user, true)
			}
			m := c.Mail("bob@mail.example.net", "SIZE=1000")
			if got := m.Verdict.Action == "reject"; got != tt.mail {
				t.Errorf("asked about the sender: %t, want %t", got, tt.mail)
			}
			if got := m.Rcpt("alice@example.org").Action == "reject"; got != tt.rcpt {
				t.Errorf("asked about the recipient: %t, want %t", got, tt.rcpt)
			}
		})
	}
}
