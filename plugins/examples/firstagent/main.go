// Firstagent marks the Subject of every message: the smallest agent that changes something.
package main

import (
	"context"

	"example.org/relay/plugins/agent"
)

type tagger struct{}

func (tagger) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	h := m.Header()
	h.SetText("Subject", "[hello] "+h.Text("Subject"))
	return agent.Continue()
}

func main() {
	agent.Serve(agent.New("hello", tagger{}, agent.Asks(agent.ChangeHeaders)))
}
