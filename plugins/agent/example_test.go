package agent_test

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

// The last line of main of an agent's program.
func ExampleServe() {
	agent.Serve(agent.New("hello", tagger{}, agent.Asks(agent.ChangeHeaders)))
}
