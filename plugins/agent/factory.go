package agent

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Factory makes an agent. A program may serve several; the operator installs each by its
// name.
type Factory struct {
	name        string
	description string
	version     string
	value       reflect.Type // what build returns; its methods are the subscriptions
	build       func(Setup) (any, error)
	asks        []Permission
	headers     []string
	rewritesAt  Event
	bodyLate    bool
	filter      *agentv1.Filter
}

// New makes a factory of an agent that needs no settings: one value for all sessions.
func New(name string, value any, options ...Option) Factory {
	f := Factory{name: name, value: reflect.TypeOf(value), build: func(Setup) (any, error) { return value, nil }}
	return f.with(options)
}

// Build makes a factory of an agent with settings. build is called when the relay configures
// the process, and again at each change of the settings or grants, while sessions run: the
// new value is for the sessions and transactions that begin from then on, the old one serves
// those it has to their end. It must be free of side effects that a second value would
// disturb, since the relay also calls it to try settings out. T must be the concrete type: the events are known from it before build is called.
func Build[T any](name string, build func(Setup) (T, error), options ...Option) Factory {
	f := Factory{name: name, value: reflect.TypeFor[T](), build: func(s Setup) (any, error) { return build(s) }}
	return f.with(options)
}

func (f Factory) with(options []Option) Factory {
	for _, o := range options {
		o(&f)
	}
	return f
}

// Option says more about a factory.
type Option func(*Factory)

// Describe gives the one line that get-agent shows.
func Describe(text string) Option { return func(f *Factory) { f.description = text } }

// Version gives the agent's own version, for the log and get-agent.
func Version(text string) Option { return func(f *Factory) { f.version = text } }

// Asks names what the agent needs to be allowed. What it did not ask for it is not granted.
func Asks(permissions ...Permission) Option {
	return func(f *Factory) { f.asks = append(f.asks, permissions...) }
}

// ChangesRecipientsAt declares the latest event at which the agent edits recipients. It must
// be said where that is OnDataCommand or later: the relay then asks the next hop about a
// recipient only after this event. A later edit of recipients is refused.
func ChangesRecipientsAt(e Event) Option { return func(f *Factory) { f.rewritesAt = e } }

// Headers limits the header fields the agent is shown to those with these names, which is
// cheaper. Without it the agent sees all.
func Headers(names ...string) Option {
	return func(f *Factory) { f.headers = append(f.headers, names...) }
}

// BodyOnDemand keeps small bodies from coming with the event: for an agent that looks at few
// of the bodies it might. Without it a small body costs no round trip.
func BodyOnDemand() Option { return func(f *Factory) { f.bodyLate = true } }

// Filter narrows the sessions and messages an agent is asked about. All that is set must
// match. The relay does not call the agent for the others, for which it costs nothing. What an event
// cannot know yet matches: recipients at OnConnect. The operator may narrow the agent further.
type Filter struct {
	Listeners        []string // addresses of listeners, as configured
	MaxSize          uint64   // octets that MAIL says the message has, or that have come by now; 0: no limit
	RecipientDomains []string // "example.org", "*.example.org": at OnRcptCommand the recipient, else at least one that is left
	SenderDomains    []string // the null sender is in none
	InboundOnly      bool     // from clients that are not in the relay's own networks
	InternalOnly     bool     // from clients that are
	Authenticated    *bool    // new(true): from clients who have logged in; new(false): from those who have not; nil: both
}

// Only applies a filter to all events of the agent.
func Only(w Filter) Option {
	return func(f *Factory) {
		f.filter = &agentv1.Filter{
			Listeners: w.Listeners, MaxSize: w.MaxSize,
			RecipientDomains: w.RecipientDomains, SenderDomains: w.SenderDomains, Authenticated: w.Authenticated,
		}
		switch {
		case w.InboundOnly:
			f.filter.Direction = agentv1.Filter_DIRECTION_INBOUND
		case w.InternalOnly:
			f.filter.Direction = agentv1.Filter_DIRECTION_INTERNAL
		}
	}
}

// Check reports what Serve would refuse: no factory, two of one name, an agent without
// handlers, a method On… that fits no event. All of it at once.
func Check(factories ...Factory) error {
	if len(factories) == 0 {
		return errors.New("there is no factory to serve")
	}
	var problems []error
	seen := make(map[string]bool)
	for _, f := range factories {
		if f.name == "" || strings.ContainsAny(f.name, "/ \t\r\n") {
			problems = append(problems, fmt.Errorf("%q is no name for a factory: it needs one without spaces and slashes", f.name))
		}
		if seen[f.name] {
			problems = append(problems, fmt.Errorf("factory %s is there twice", f.name))
		}
		seen[f.name] = true
		if err := checkMethods(f.value); err != nil {
			problems = append(problems, fmt.Errorf("factory %s: %w", f.name, err))
		}
	}
	return errors.Join(problems...)
}

// subscriptions are the events that the factory's agents bind.
func (f *Factory) subscriptions() []*agentv1.Subscription {
	var subs []*agentv1.Subscription
	for i := range bindings {
		b := &bindings[i]
		sub := &agentv1.Subscription{
			Event: agentv1.EventType(b.event), Content: agentv1.Subscription_CONTENT_NONE, Filter: f.filter,
		}
		switch {
		case b.decide != nil && f.value.Implements(b.decide):
			sub.Mode = agentv1.Subscription_MODE_DECIDE
		case f.value.Implements(b.watch):
			sub.Mode = agentv1.Subscription_MODE_NOTIFY
		default:
			continue
		}
		if b.headers {
			sub.Content = f.content(b.event)
			sub.HeaderNames = f.headers
		}
		subs = append(subs, sub)
	}
	return subs
}

// content is what an event that has a message shows of it: the body to those only who asked
// for it, in words or by having an event that is all about it.
func (f *Factory) content(e Event) agentv1.Subscription_Content {
	switch {
	case !hasBody(e), e != EventEndOfData && e != EventDeliverMailItem && !slices.Contains(f.asks, ReadBody):
		return agentv1.Subscription_CONTENT_HEADERS
	case f.bodyLate:
		return agentv1.Subscription_CONTENT_ON_DEMAND
	}
	return agentv1.Subscription_CONTENT_FULL
}

// permissions are those asked for, with the ones that follow from the events.
func (f *Factory) permissions() []agentv1.Permission {
	set := make(map[Permission]bool)
	var all []agentv1.Permission
	ask := func(p Permission) {
		if !set[p] {
			set[p] = true
			all = append(all, agentv1.Permission(p))
		}
	}
	for _, sub := range f.subscriptions() {
		if sub.Content != agentv1.Subscription_CONTENT_NONE {
			ask(ReadHeaders)
		}
		if sub.Content == agentv1.Subscription_CONTENT_FULL || sub.Content == agentv1.Subscription_CONTENT_ON_DEMAND {
			ask(ReadBody)
		}
		if Event(sub.Event) == EventDeliverMailItem {
			ask(DeliverMail)
		}
	}
	for _, p := range f.asks {
		ask(p)
	}
	return all
}

func (f *Factory) proto() *agentv1.Factory {
	return &agentv1.Factory{
		Name: f.name, Description: f.description, Subscriptions: f.subscriptions(),
		Permissions: f.permissions(), ChangesRecipientsAt: agentv1.EventType(f.rewritesAt),
	}
}

// Name returns the factory's name.
func (f Factory) Name() string { return f.name }
