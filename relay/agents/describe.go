package agents

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// Described is what a program says of one of its factories.
type Described struct {
	Version             string
	Description         string
	Subscriptions       []event.Subscription
	Asks                event.Permissions
	ChangesRecipientsAt event.Kind // 0: none declared
}

// kinds returns the events bound.
func (d Described) kinds() []event.Kind {
	all := make([]event.Kind, len(d.Subscriptions))
	for i, s := range d.Subscriptions {
		all[i] = s.Kind
	}
	return all
}

// describe asks a process what it has, and returns the factory's name and what it says of
// it. An empty factory is the only one.
func describe(ctx context.Context, p agentv1.AgentServiceClient, version, factory string) (string, Described, error) {
	ctx, cancel := context.WithTimeout(ctx, configureTime)
	defer cancel()
	r, err := p.Describe(ctx, &agentv1.DescribeRequest{HostVersion: version})
	if err != nil {
		return "", Described{}, fmt.Errorf("ask what it has: %w", err)
	}
	f, err := choose(r.Factories, factory)
	if err != nil {
		return "", Described{}, err
	}
	d := Described{
		Version:             oneLine(r.AgentVersion, 100),
		Description:         oneLine(f.Description, 200),
		ChangesRecipientsAt: event.Kind(f.ChangesRecipientsAt),
	}
	for _, p := range f.Permissions {
		if p <= 0 || p >= event.NumPermissions {
			return "", Described{}, fmt.Errorf("factory %s asks for a permission this relay does not know (%d)", f.Name, p)
		}
		d.Asks = d.Asks.With(event.Permission(p))
	}
	if d.Subscriptions, err = subscriptions(f.Subscriptions); err != nil {
		return "", Described{}, fmt.Errorf("factory %s: %w", f.Name, err)
	}
	if len(d.Subscriptions) == 0 {
		return "", Described{}, fmt.Errorf("factory %s binds no event", f.Name)
	}
	return f.Name, d, nil
}

func choose(all []*agentv1.Factory, name string) (*agentv1.Factory, error) {
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Name
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("the program has no factory")
	case name == "" && len(all) == 1:
		return all[0], nil
	case name == "":
		return nil, fmt.Errorf("the program has several factories, name one with --factory: %s", strings.Join(names, ", "))
	}
	if i := slices.Index(names, name); i >= 0 {
		return all[i], nil
	}
	return nil, fmt.Errorf("the program has no factory %q, only %s", name, strings.Join(names, ", "))
}

// subscriptions reads the wire's. Events this relay does not know are refused: the agent
// would wait for them in vain.
func subscriptions(wire []*agentv1.Subscription) ([]event.Subscription, error) {
	var all []event.Subscription
	for _, s := range wire {
		k := event.Kind(s.Event)
		if s.Event <= 0 || s.Event >= event.NumKinds || !slices.Contains(event.Kinds(), k) {
			return nil, fmt.Errorf("it binds an event this relay does not know (%d)", s.Event)
		}
		if slices.ContainsFunc(all, func(o event.Subscription) bool { return o.Kind == k }) {
			return nil, fmt.Errorf("it binds %s twice", k)
		}
		f, err := filterOf(s.Filter)
		if err != nil {
			return nil, fmt.Errorf("the filter it has at %s: %s", k, oneLine(err.Error(), 300))
		}
		all = append(all, event.Subscription{Kind: k, Notify: s.Mode == agentv1.Subscription_MODE_NOTIFY, Filter: f})
	}
	return all, nil
}

// oneLine makes text from an agent fit for a terminal and a log.
func oneLine(text string, max int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > max {
		text = strings.ToValidUTF8(text[:max], "") + "…"
	}
	return text
}
