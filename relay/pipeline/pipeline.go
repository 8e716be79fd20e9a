// Package pipeline decides which agents see an event, in which order, what their answers
// mean, and what a broken agent means. It applies their edits to envelope and header, all of
// a verdict or none. How an agent is reached is not its concern: it declares Agent.
package pipeline

import (
	"context"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// Agent is one enabled agent, as the pipeline calls it. Safe for concurrent use.
type Agent interface {
	// Open begins the agent's part in a session. Nothing is sent yet.
	Open(sessionID string) Conversation
	// Fault counts and logs a fault of the agent that only the pipeline could find: an edit
	// that cannot be made, a verdict that the event does not have.
	Fault(session string, at event.Kind, err error)
}

// Conversation is an agent's part in one session. It is used by one goroutine at a time.
type Conversation interface {
	// Decide shows the events in order, with what the agent has not seen of state, and returns
	// the verdict on the last; the others are Notify. limit is the agent's time for it. After a
	// crash it shows them again to another process within the limit. The error is one of
	// event.Err…, wrapped; ctx ending gives ctx's error.
	Decide(ctx context.Context, events []event.Event, state *event.State, limit time.Duration) (event.Verdict, error)
	// Notify shows events that await no verdict, without waiting for anything.
	Notify(events []event.Event, state *event.State)
	// End ends the agent's part; events are the last it is to be told, Disconnect among them.
	// It does not wait for the agent. The conversation must not be used afterwards.
	End(events []event.Event, state *event.State, reason event.DisconnectReason)
}

// Holder is a Conversation with an agent that can be exchanged for another version of it while
// mail flows.
type Holder interface {
	Conversation
	// Hold begins a transaction: until Release one version of the agent judges it, the one that
	// the binding's Edition names where that is there still.
	Hold(edition uint64)
	// Release ends the transaction.
	Release()
	// Blame counts and logs a fault of the last verdict that only the pipeline could find: an
	// edit that cannot be made, a verdict that the event does not have. Without it the Agent's
	// Fault is told.
	Blame(at event.Kind, err error)
}

// Policy is what a broken agent means for the mail.
type Policy string

// The policies. The zero value is TempFail.
const (
	TempFail Policy = "tempfail" // 451 to the client
	Continue Policy = "continue" // as if the agent were not there
)

// Binding is an agent in the pipeline with what governs its use there.
type Binding struct {
	Name  string
	Agent Agent
	// Edition is the version of the agent that the rest speaks of.
	Edition uint64
	// Subscriptions are the events it is bound to, each with what the agent narrows it to itself.
	Subscriptions []event.Subscription
	// Only is what the operator narrows the agent to, at every event.
	Only    event.Filter
	Granted event.Permissions
	// ChangesRecipientsAt is the latest event at which the agent may edit recipients, where
	// that is DataCommand or later; else 0, and recipient edits are taken up to RcptCommand.
	ChangesRecipientsAt event.Kind
	Timeout             time.Duration // for one event; 0: what the whole chain has
	OnFailure           Policy
}

// Pipeline is the current order of agents of one role. Safe for concurrent use.
type Pipeline struct {
	Role event.Role
	// Domains are those that an agent may address without event.MayRelay.
	domains atomic.Pointer[mail.Domains]
	current atomic.Pointer[Snapshot]
}

// New makes a pipeline without agents.
func New(role event.Role, domains mail.Domains) *Pipeline {
	p := &Pipeline{Role: role}
	p.domains.Store(&domains)
	p.current.Store(NewSnapshot(nil))
	return p
}

// Set puts an order of agents in force: transactions that begin from now on take it.
func (p *Pipeline) Set(bindings []Binding) { p.current.Store(NewSnapshot(bindings)) }

// SetDomains replaces the accepted domains.
func (p *Pipeline) SetDomains(d mail.Domains) { p.domains.Store(&d) }

// Current returns the order in force.
func (p *Pipeline) Current() *Snapshot { return p.current.Load() }

// Snapshot is one order of agents. Immutable.
type Snapshot struct {
	bindings []*Binding
	filters  [][]filter // of each binding's events, in the order of bindings
	byKind   [event.NumKinds][]bound
	late     []bound // those at which recipients may be changed at DataCommand or later
}

// bound is a binding at one event.
type bound struct {
	*Binding
	index  int // in Snapshot.bindings
	notify bool
	filter filter
}

// NewSnapshot makes the order of these bindings; the first runs first. Where a binding names
// an event twice, the one that awaits a verdict counts.
func NewSnapshot(bindings []Binding) *Snapshot {
	s := &Snapshot{}
	for i := range bindings {
		b := bindings[i]
		s.bindings, s.filters = append(s.bindings, &b), append(s.filters, nil)
		for _, sub := range b.Subscriptions {
			s.bind(&b, i, sub)
		}
	}
	s.findLate()
	return s
}

func (s *Snapshot) bind(b *Binding, index int, sub event.Subscription) {
	if sub.Kind >= event.NumKinds {
		return
	}
	// Nobody waits for a verdict on the end of a session.
	notify := sub.Notify || sub.Kind == event.Disconnect
	at := s.byKind[sub.Kind]
	if n := len(at); n > 0 && at[n-1].index == index {
		if !at[n-1].notify || notify {
			return
		}
		at = at[:n-1]
	}
	f := filterOf(sub.Filter, b.Only)
	s.filters[index] = append(s.filters[index], f)
	s.byKind[sub.Kind] = append(at, bound{b, index, notify, f})
}

// findLate collects where agents may change recipients when the client has had its answer to RCPT.
// An agent that is bound to no such event counts as if it were: what it is bound to can change with
// its settings.
func (s *Snapshot) findLate() {
	for i, b := range s.bindings {
		if b.ChangesRecipientsAt == 0 {
			continue
		}
		n := len(s.late)
		for k := range s.byKind {
			if firing[k] < firing[event.DataCommand] || firing[k] > firing[b.ChangesRecipientsAt] {
				continue
			}
			for _, at := range s.byKind[k] {
				if at.index == i && !at.notify {
					s.late = append(s.late, at)
				}
			}
		}
		if len(s.late) == n {
			s.late = append(s.late, bound{b, i, false, filterOf(event.Filter{}, b.Only)})
		}
	}
}
