package relay

import (
	"context"
	"errors"
	"net/netip"

	"example.org/relay/relay/agents"
	"example.org/relay/relay/auth"
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

// authenticator is the users file as the server's Authenticator.
type authenticator struct{ users *auth.File }

func (a authenticator) Mechanisms() []string {
	if u := a.users.Users(); u != nil {
		return u.Mechanisms()
	}
	return nil
}

func (a authenticator) Start(mechanism string, client netip.Addr) smtpserver.Exchange {
	u := a.users.Users()
	if u == nil {
		return nobody{} // a reload has taken the file away from under a session
	}
	switch mechanism {
	case auth.ScramSHA256:
		return exchange{auth.NewScram(u)}
	case auth.Login:
		return exchange{auth.NewLogin(u, client)}
	}
	return exchange{auth.NewPlain(u, client)}
}

// exchange has its errors in the server's words.
type exchange struct{ auth.Exchange }

func (e exchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	challenge, done, err := e.Exchange.Next(ctx, response)
	switch {
	case errors.Is(err, auth.ErrCredentials):
		err = smtpserver.ErrCredentials
	case errors.Is(err, auth.ErrMalformed):
		err = smtpserver.ErrMalformed
	}
	return challenge, done, err
}

// nobody is an exchange that cannot be had.
type nobody struct{}

var errNoUsers = errors.New("there is no users file now")

func (nobody) User() string { return "" }

func (nobody) Next(context.Context, []byte) ([]byte, bool, error) {
	return nil, false, errNoUsers
}

// agent is an agent process as the pipeline's Agent.
type agent struct{ *agents.Agent }

var _ pipeline.Holder = (*agents.Conversation)(nil)

func (a agent) Open(sessionID string) pipeline.Conversation { return a.Agent.Open(sessionID) }

// bindings are the agents in force of a role in their order.
func bindings(enabled []*agents.Agent) []pipeline.Binding {
	all := make([]pipeline.Binding, len(enabled))
	for i := 0; i < len(enabled); i++ {
		a := enabled[i]
		all[i] = pipeline.Binding{
			Name:                a.Name(),
			Agent:               agent{a},
			Edition:             a.Edition(),
			Subscriptions:       a.Subscriptions(),
			Only:                a.Only(),
			Granted:             a.Granted(),
			ChangesRecipientsAt: a.ChangesRecipientsAt(),
			Timeout:             a.Timeout(),
			OnFailure:           pipeline.Policy(a.OnFailure()),
		}
		if a.Edition() != all[i].Edition { // changed meanwhile: the parts are of two
			i--
		}
	}
	return all
}
