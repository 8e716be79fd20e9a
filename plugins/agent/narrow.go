package agent

import (
	"slices"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// EventChooser is an agent whose settings decide which of its events it has a use for. The
// others cost nothing then. Wants is asked once for each event that the agent has a handler
// for, when the value has been built; at least one must be wanted.
type EventChooser interface {
	Wants(e Event) bool
}

// HeaderChooser is an agent whose settings decide which header fields it has to see. No name
// means all of them. It takes the place of the option [Headers].
type HeaderChooser interface {
	WantsHeaders() []string
}

// bound are the factory's subscriptions, as far as the value wants them.
func (f *Factory) bound(value any) []*agentv1.Subscription {
	subs := f.subscriptions()
	if c, ok := value.(EventChooser); ok {
		subs = slices.DeleteFunc(subs, func(s *agentv1.Subscription) bool { return !c.Wants(Event(s.Event)) })
	}
	if c, ok := value.(HeaderChooser); ok {
		names := slices.Clone(c.WantsHeaders())
		slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
		names = slices.CompactFunc(names, strings.EqualFold)
		for _, s := range subs {
			if s.Content != agentv1.Subscription_CONTENT_NONE {
				s.HeaderNames = names
			}
		}
	}
	return subs
}
