package relay

import (
	"context"

	"example.org/relay/relay/agents"
	"example.org/relay/relay/frontend"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/nexthop"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/smtpserver"
)

// The rooms do not know each other where an interface stands between them; these make one
// room's types the other's.

// backend is a FrontEnd as the server's Backend.
type backend struct{ *frontend.FrontEnd }

func (b backend) Open(s *pipeline.Session) smtpserver.Transaction { return b.FrontEnd.Open(s) }

// hop is a next hop over SMTP as the FrontEnd's NextHop.
type hop struct{ *nexthop.Hop }

func (h hop) Begin(ctx context.Context, client mail.Client) (frontend.Delivery, error) {
	t, err := h.Hop.Begin(ctx, client)
	if err != nil {
		return nil, err
	}
	return delivery{t}, nil
}

type delivery struct{ *nexthop.Transaction }

func (d delivery) Envelope(ctx context.Context, env *mail.Envelope, data bool) (frontend.Answers, error) {
	a, err := d.Transaction.Envelope(ctx, env, data)
	return frontend.Answers(a), err
}

// agent is an agent process as the pipeline's Agent.
type agent struct{ *agents.Agent }

func (a agent) Open(sessionID string) pipeline.Conversation { return a.Agent.Open(sessionID) }

// bindings are the enabled agents of a role in their order.
func bindings(enabled []*agents.Agent) []pipeline.Binding {
	all := make([]pipeline.Binding, len(enabled))
	for i, a := range enabled {
		all[i] = pipeline.Binding{
			Name:                a.Name(),
			Agent:               agent{a},
			Subscriptions:       a.Subscriptions(),
			Granted:             a.Granted(),
			ChangesRecipientsAt: a.ChangesRecipientsAt(),
			Timeout:             a.Timeout(),
			OnFailure:           pipeline.Policy(a.OnFailure()),
		}
	}
	return all
}
