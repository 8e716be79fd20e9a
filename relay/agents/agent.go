package agents

import (
	"log/slog"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
)

// Agent is one installed agent. It stays the same over restarts, swaps, and disabling and
// enabling again. Safe for concurrent use.
type Agent struct {
	host  *Host
	log   *slog.Logger
	entry atomic.Pointer[Entry]
	sup   atomic.Pointer[supervisor] // never nil; one that is over while the agent is disabled
	stats stats
	gen   atomic.Uint64

	unbypass *time.Timer // ends the bypass, nil: there is none; guarded by host.change

	editions atomic.Uint64 // given so far
}

func newAgent(h *Host, e Entry) *Agent {
	a := &Agent{host: h, log: h.log.With("agent", e.Name, "service", string(e.Service))}
	a.entry.Store(&e)
	off := a.supervisor(nil)
	off.state = stateStopped
	off.stop()
	close(off.done)
	a.sup.Store(off)
	return a
}

func (a *Agent) supervisor(s *spec) *supervisor {
	v := newSupervisor(s, a.log, &a.stats, &a.gen)
	v.onRebind = func() { a.host.onChange(a.Service()) }
	v.onRollBack = a.undo
	v.patience = a.host.probation
	v.launch = a.host.launcher(a, v)
	return v
}

// Name returns the name it is installed by: its namespace in the bags.
func (a *Agent) Name() string { return a.entry.Load().Name }

// Service returns the transport service it is installed for.
func (a *Agent) Service() event.Role { return a.entry.Load().Service }

// Subscriptions returns the events it is bound to now: what its process said at Configure,
// or, while there is none, at install.
func (a *Agent) Subscriptions() []event.Subscription {
	if bound := a.sup.Load().subscriptions(); bound != nil {
		return bound
	}
	return a.entry.Load().Described.Subscriptions
}

// Only returns what the operator narrows it to.
func (a *Agent) Only() event.Filter { return a.entry.Load().Only }

// Edition tells apart what changes of its program, settings and permissions have made of the
// agent: an order of agents is made for one edition of each.
func (a *Agent) Edition() uint64 { return a.entry.Load().Edition }

// Granted returns what it may do.
func (a *Agent) Granted() event.Permissions { return a.entry.Load().Granted }

// ChangesRecipientsAt returns the latest event at which it edits recipients; 0 if it has
// declared none, or may not.
func (a *Agent) ChangesRecipientsAt() event.Kind { return lateRecipients(a.entry.Load()) }

// Timeout returns its time for one event.
func (a *Agent) Timeout() time.Duration {
	if t := a.entry.Load().Timeout; t > 0 {
		return t
	}
	return a.host.defaults.Load().Timeout
}

// OnFailure returns what its failure means: tempfail or continue.
func (a *Agent) OnFailure() string {
	if p := a.entry.Load().OnFailure; p != "" {
		return p
	}
	return a.host.defaults.Load().OnFailure
}

// Open begins the agent's part in a session. Nothing is sent yet.
func (a *Agent) Open(sessionID string) *Conversation {
	s := a.sup.Load()
	s.open.Add(1)
	return &Conversation{agent: a, sup: s, session: sessionID}
}

// Fault counts and logs a fault that only the pipeline could find, an edit that cannot be made
// or is not granted, a verdict that the event does not have, where it is not known to be of one
// of the agent's processes. It weighs as one of the protocol.
func (a *Agent) Fault(session string, at event.Kind, err error) {
	v := a.sup.Load()
	a.fault(v, v.cur.Load(), session, at, err)
}

func (a *Agent) fault(v *supervisor, inst *instance, session string, at event.Kind, err error) {
	a.log.Warn("agent broke the contract", "session", session, "event", at.String(), "error", err)
	a.stats.refused.Add(1)
	if inst != nil {
		inst.health.recant()
	}
	v.failure(inst, at, protocolFault{err})
}

// protocolFault makes any error one of the protocol.
type protocolFault struct{ error }

func (protocolFault) Is(target error) bool { return target == event.ErrProtocol }
