// Subjectagent replaces the Subject of every message, and touches nothing else. It is for
// tests of the relay's fidelity.
package main

import (
	"context"

	"example.org/relay/plugins/agent"
)

type changer struct{}

func (changer) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	m.Header().SetText("Subject", "changed by an agent")
	return agent.Continue()
}

func main() {
	agent.Serve(agent.New("subject", changer{}, agent.Asks(agent.ChangeHeaders)))
}
