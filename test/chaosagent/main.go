// Chaosagent adds a field with its name and its mark to every message, so that a test can tell
// which agents were asked, in which order, and with which settings. Its factory "subject"
// changes the Subject in place of that.
//
// It keeps a value in the session bag and in the message bag and fails where one of them is
// not what it left there: no restart, swap or hand-over may lose them.
package main

import (
	"context"
	"fmt"

	"example.org/relay/plugins/agent"
)

type settings struct {
	Mark string `json:"mark"`
}

type marker struct {
	name, mark string
	subject    bool
}

func build(subject bool) func(agent.Setup) (*marker, error) {
	return func(setup agent.Setup) (*marker, error) {
		s := settings{Mark: "0"}
		if err := setup.Settings(&s); err != nil {
			return nil, err
		}
		return &marker{name: setup.Name, mark: s.Mark, subject: subject}, nil
	}
}

var (
	messages = agent.SessionKey[int]("messages")
	sender   = agent.MessageKey[string]("sender")
)

// OnMailCommand notes the sender, which no restart may lose.
func (m *marker) OnMailCommand(_ context.Context, msg *agent.Message, from agent.Mailbox) agent.Verdict {
	messages.Set(msg.Session(), messages.Get(msg.Session())+1)
	sender.Set(msg, from.Address())
	return agent.Continue()
}

// OnEndOfHeaders marks the message.
func (m *marker) OnEndOfHeaders(_ context.Context, msg *agent.Message) agent.Verdict {
	if kept := sender.Get(msg); kept != msg.From().Address() {
		return agent.Fail(fmt.Errorf("the message bag has sender %q, the envelope %q", kept, msg.From().Address()))
	}
	if messages.Get(msg.Session()) == 0 {
		return agent.Fail(fmt.Errorf("the session bag has lost its count"))
	}
	if m.subject {
		msg.Header().SetText("Subject", "changed by an agent")
		return agent.Continue()
	}
	msg.Header().Add("X-Chaos", m.name+" "+m.mark)
	return agent.Continue()
}

func main() {
	asks := agent.Asks(agent.ChangeHeaders)
	agent.Serve(
		agent.Build("marker", build(false), asks, agent.Describe("marks every message")),
		agent.Build("subject", build(true), asks, agent.Describe("changes the Subject of every message")),
	)
}
