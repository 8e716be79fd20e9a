// Command benchagent serves the agents of the benches: rewrite changes each
// message as smtpbench wants it, decide and notify do nothing, at a cost that
// agentbench measures.
package main

import (
	"context"

	"example.org/relay/plugins/agent"
)

// rewriter replaces each recipient and the Subject, and adds a field.
type rewriter struct{}

func (rewriter) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	for _, r := range m.Recipients() {
		m.ReplaceRecipient(r, "rewritten@dest.example")
	}
	m.Header().SetText("Subject", "[bench] rewritten")
	m.Header().Add("X-Bench-Rewrite", "yes")
	return agent.Continue()
}

// decider is asked at each event of a message at a FrontEnd, and lets it go on.
type decider struct{}

func (decider) OnConnect(context.Context, *agent.Session) agent.Verdict { return agent.Continue() }

func (decider) OnEhloCommand(context.Context, *agent.Session, string) agent.Verdict {
	return agent.Continue()
}

func (decider) OnMailCommand(context.Context, *agent.Message, agent.Mailbox) agent.Verdict {
	return agent.Continue()
}

func (decider) OnRcptCommand(context.Context, *agent.Message, agent.Recipient) agent.Verdict {
	return agent.Continue()
}

func (decider) OnDataCommand(context.Context, *agent.Message) agent.Verdict {
	return agent.Continue()
}

func (decider) OnEndOfHeaders(context.Context, *agent.Message) agent.Verdict {
	return agent.Continue()
}

func (decider) OnDisconnect(context.Context, *agent.Session, agent.DisconnectReason) {}

// watcher sees the same events, but decides only the last of the message.
type watcher struct{}

func (watcher) OnConnect(context.Context, *agent.Session)                            {}
func (watcher) OnEhloCommand(context.Context, *agent.Session, string)                {}
func (watcher) OnMailCommand(context.Context, *agent.Message, agent.Mailbox)         {}
func (watcher) OnRcptCommand(context.Context, *agent.Message, agent.Recipient)       {}
func (watcher) OnDataCommand(context.Context, *agent.Message)                        {}
func (watcher) OnDisconnect(context.Context, *agent.Session, agent.DisconnectReason) {}

func (watcher) OnEndOfHeaders(context.Context, *agent.Message) agent.Verdict {
	return agent.Continue()
}

var factories = []agent.Factory{
	agent.New("rewrite", rewriter{}, agent.Describe("replaces recipient and Subject, adds a field"),
		agent.Asks(agent.ChangeHeaders, agent.ChangeRecipients), agent.ChangesRecipientsAt(agent.EventEndOfHeaders)),
	agent.New("decide", decider{}, agent.Describe("asked at each event, does nothing")),
	agent.New("notify", watcher{}, agent.Describe("sees each event, is asked once, does nothing")),
}

func main() { agent.Serve(factories...) }
