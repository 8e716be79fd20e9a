package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"example.org/relay/relay/event"
)

// What may wait for an agent's next verdict before it is sent on its own.
const (
	maxQueuedEvents = 32
	maxQueuedBytes  = 64 << 10
)

// part is one agent's part in a session.
type part struct {
	binding *Binding
	conv    Conversation // nil until the first transaction, or event that is shown
	seq     uint32       // of the last event

	queue       []event.Event // Notify events not yet shown
	queuedBytes int           // about
	needsState  bool          // the queue speaks of envelope or header only by showing them

	skip     uint64 // bit k: no more events of Kind k
	detached bool   // the agent wants nothing more
	cut      bool   // the agent was disabled or removed in mid-session
}

// deaf reports that the agent is not to be shown the event.
func (p *part) deaf(k event.Kind) bool {
	return p.detached || p.cut || p.skip&(1<<k) != 0
}

func (p *part) open(session string) {
	if p.conv == nil && !p.detached && !p.cut {
		// A panic leaves no conversation; the next use tries again.
		_ = p.guard(func() { p.conv = p.binding.Agent.Open(session) })
	}
}

// hold begins a transaction with the version of the agent that the binding speaks of.
func (p *part) hold(session string) {
	p.open(session)
	if h, ok := p.conv.(Holder); ok && p.guard(func() { h.Hold(p.binding.Edition) }) != nil {
		p.conv = nil
	}
}

// letGo ends the transaction.
func (p *part) letGo() {
	if h, ok := p.conv.(Holder); ok && p.guard(h.Release) != nil {
		p.conv = nil
	}
}

// add puts an event at the end of the queue.
func (p *part) add(ev event.Event) {
	p.seq++
	ev.Seq = p.seq
	p.queue = append(p.queue, ev)
	p.queuedBytes += size(&ev)
	switch ev.Kind {
	case event.DataCommand, event.EndOfHeaders, event.ProxyInboundMessage, event.EndOfData:
		p.needsState = true
	}
}

// watch queues an event that awaits no verdict, and shows the queue when it has grown long.
func (p *part) watch(ev event.Event, state *event.State) {
	ev.Notify = true
	p.add(ev)
	if len(p.queue) > maxQueuedEvents || p.queuedBytes > maxQueuedBytes {
		p.deliver(state)
	}
}

// deliver shows what is queued, without waiting for the agent.
func (p *part) deliver(state *event.State) {
	p.open(state.SessionID)
	events := p.takeQueue()
	if p.conv == nil || len(events) == 0 {
		return
	}
	if err := p.guard(func() { p.conv.Notify(events, state) }); err != nil {
		p.conv = nil
	}
}

// takeQueue empties the queue. Whoever gets it may keep it.
func (p *part) takeQueue() []event.Event {
	events := p.queue
	p.queue, p.queuedBytes, p.needsState = nil, 0, false
	return events
}

// ask shows what is queued and then ev, and waits for the verdict on it.
func (p *part) ask(ctx context.Context, ev *event.Event, state *event.State, limit time.Duration) (v event.Verdict, err error) {
	p.open(state.SessionID)
	if p.conv == nil {
		return v, fmt.Errorf("%w: no conversation could be opened", event.ErrFailed)
	}
	ev.Notify = false
	p.add(*ev)
	events := p.takeQueue()
	if panicked := p.guard(func() { v, err = p.conv.Decide(ctx, events, state, limit) }); panicked != nil {
		p.conv = nil // what it left behind is not to be trusted
		return event.Verdict{}, panicked
	}
	return v, err
}

// end ends the conversation, if there is one, with what is queued.
func (p *part) end(state *event.State, reason event.DisconnectReason) {
	if p.conv == nil {
		return
	}
	conv, events := p.conv, p.takeQueue()
	p.conv = nil
	_ = p.guard(func() { conv.End(events, state, reason) }) // the fault is told, and there is no more to do
}

// guard calls f. A panic in it is a fault of the agent's side and no more than that: it is told
// with its stack and comes back as an error.
func (p *part) guard(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: panic: %v", event.ErrFailed, v)
			p.fault("", 0, fmt.Errorf("%w\n%s", err, debug.Stack()))
		}
	}()
	f()
	return nil
}

// fault tells the agent's keeper of a fault that only the pipeline has seen.
func (p *part) fault(session string, at event.Kind, err error) {
	defer func() { _ = recover() }() // the account of a fault must not cost the session either
	if h, ok := p.conv.(Holder); ok && session != "" {
		h.Blame(at, err)
		return
	}
	p.binding.Agent.Fault(session, at, err)
}

// size is about how much room an event takes in a frame.
func size(ev *event.Event) int {
	n := 32 + len(ev.Argument) + len(ev.From.Local) + len(ev.From.Domain) +
		len(ev.Recipient.Path.Local) + len(ev.Recipient.Path.Domain)
	for _, p := range ev.Params {
		n += len(p.Keyword) + len(p.Value)
	}
	for _, p := range ev.Recipient.Params {
		n += len(p.Keyword) + len(p.Value)
	}
	if r := ev.Rejection; r != nil {
		n += len(r.Command) + len(r.Recipient)
		for _, l := range r.Reply.Lines {
			n += len(l)
		}
	}
	return n
}
