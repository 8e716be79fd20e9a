package agents

import (
	"fmt"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// filterOf reads the wire's filter. A direction that this relay does not know is an error: the agent
// would be asked about more than it wants to be.
func filterOf(w *agentv1.Filter) (f event.Filter, err error) {
	if w == nil {
		return f, nil
	}
	f = event.Filter{
		Listeners: w.Listeners, RecipientDomains: w.RecipientDomains, SenderDomains: w.SenderDomains, MaxSize: w.MaxSize,
	}
	switch {
	case w.Authenticated == nil:
	case *w.Authenticated:
		f.Login = event.LoggedIn
	default:
		f.Login = event.Anonymous
	}
	switch w.Direction {
	case agentv1.Filter_DIRECTION_UNSPECIFIED:
	case agentv1.Filter_DIRECTION_INBOUND:
		f.Direction = event.Inbound
	case agentv1.Filter_DIRECTION_INTERNAL:
		f.Direction = event.Internal
	default:
		return f, fmt.Errorf("a direction this relay does not know (%d)", w.Direction)
	}
	return f, f.Check()
}
