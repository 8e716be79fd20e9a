// Submitagent tells archive@example.org of every message, in a message of its own, and says in the
// log where each goes. It is for tests of what agents submit.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"example.org/relay/plugins/agent"
)

type archivist struct{}

// OnMailCommand takes the sender's ENVID away and has its reports without the body.
func (archivist) OnMailCommand(_ context.Context, m *agent.Message, from agent.Mailbox) agent.Verdict {
	if _, ok := from.Param("ENVID"); ok {
		m.SetParam("ENVID", agent.EncodeXtext("told of + "+m.EnvelopeID()))
	}
	return agent.Continue()
}

// OnEndOfHeaders submits. "Subject: die" ends the process once, when the message is on its way.
func (archivist) OnEndOfHeaders(ctx context.Context, m *agent.Message) agent.Verdict {
	h := m.Header()
	text := fmt.Sprintf("From: robot@example.org\r\nSubject: told of %s\r\n\r\nfrom %s\r\n", h.Raw("Subject"), m.From())
	to := "archive@example.org"
	if h.Has("X-Tell") {
		to = h.Text("X-Tell")
	}
	result, err := m.Submit(ctx, "", []string{to}, []byte(text))
	switch {
	case err != nil:
		return agent.Accept().Because(err.Error())
	case strings.Contains(h.Text("Subject"), "die") && !m.Session().Resumed():
		os.Exit(7)
	}
	return agent.Accept().Because(fmt.Sprintf("told as %s: %d", result.ID, result.Reply.Code))
}

// OnProxyInboundMessage says where the message goes.
func (archivist) OnProxyInboundMessage(_ context.Context, _ *agent.Message, hop agent.NextHop) agent.Verdict {
	return agent.Accept().Because("to " + hop.Name + " at " + hop.Address)
}

// OnHelpCommand says what the agent does, in words alone.
func (archivist) OnHelpCommand(context.Context, *agent.Session, string) agent.Verdict {
	return agent.Continue().Text("mail is archived here", "ask archive@example.org")
}

func main() {
	agent.Serve(agent.New("archivist", archivist{}, agent.Asks(agent.SubmitMail, agent.ChangeSender)))
}
