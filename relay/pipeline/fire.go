package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// Decision is what the chain of an event came to. The zero value continues.
type Decision struct {
	// Action is Continue, RejectIt, TempFail, Hangup, Discard or Accept.
	Action event.Action
	// Reply is what to tell the client where Action is RejectIt, TempFail or Hangup. At
	// HelpCommand and NoopCommand it is also the positive reply an agent wants given, if any.
	Reply  reply.Reply
	Agent  string     // whose verdict it is; with a failure policy, whose failure
	At     event.Kind // the event decided
	Err    error      // the failure that the policy answered; nil for a verdict
	Reason string     // the agent's own words for the log
}

// Refusal is the error that a refusing decision comes to, and nil for any other.
func (d Decision) Refusal() error {
	if !d.refuses() {
		return nil
	}
	return &reply.Error{
		Reply: d.Reply, Op: d.At.String(), Err: d.Err, Agent: d.Agent, Reason: d.Reason, Hangup: d.Action == event.Hangup,
	}
}

// refuses reports that the client gets a 4yz or 5yz.
func (d *Decision) refuses() bool {
	return d.Action == event.RejectIt || d.Action == event.TempFail || d.Action == event.Hangup
}

// Fire shows the event to the agents bound to it, in order, applies their edits to
// State.Envelope and State.Header, and returns what came of it. Without an agent bound it
// costs a nil check, and with none that it concerns nothing but finding that out. At RcptCommand the
// recipient in question is in the envelope already; what agents made of it goes with it when it is
// refused or discarded. Agents further down the chain see sender and recipient as those before them
// have left them, and are narrowed by that.
func (s *Session) Fire(ctx context.Context, ev event.Event) Decision {
	if first := s.next(&ev, 0); first >= 0 {
		return s.fire(ctx, ev, first)
	}
	return Decision{}
}

// fire shows the event to the agent at this place of the chain, and to those after it.
func (s *Session) fire(ctx context.Context, ev event.Event, at int) Decision {
	s.notice()
	recipient := ev.Recipient.ID
	deadline := time.Now().Add(ChainLimit(ev.Kind))
	chain := s.order.byKind[ev.Kind]
	var d Decision
	for ; at >= 0; at = s.next(&ev, at+1) {
		b := &chain[at]
		p := &s.parts[b.index]
		if b.notify {
			p.watch(ev, &s.State)
			continue
		}
		if s.consult(ctx, p, &ev, deadline, &d) {
			break
		}
	}
	if ev.Kind == event.RcptCommand && (d.refuses() || d.Action == event.Discard) {
		s.dropFrom(recipient)
	}
	return d
}

// consult asks one agent and does what it says. It reports whether the chain is over.
func (s *Session) consult(ctx context.Context, p *part, ev *event.Event, deadline time.Time, d *Decision) bool {
	limit := time.Until(deadline)
	if p.binding.Timeout > 0 {
		limit = min(limit, p.binding.Timeout)
	}
	if limit <= 0 {
		return s.fail(p, ev.Kind, fmt.Errorf("%w: the time for %s was used up before its turn", event.ErrTimeout, ev.Kind), d)
	}
	s.turn.begin(s, p, ev.Kind, deadline)
	v, err := p.ask(ctx, ev, &s.State, limit)
	s.turn.end()
	switch {
	case errors.Is(err, event.ErrDetached):
		p.end(&s.State, event.DisconnectHostClosed)
		p.cut = true
		return false
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return s.abandon(p, ev.Kind, err, d)
	case err != nil:
		return s.fail(p, ev.Kind, err, d)
	}
	if err := s.follow(p, ev, &v, d); err != nil {
		err = fmt.Errorf("%w: %w", event.ErrProtocol, err)
		p.fault(s.State.SessionID, ev.Kind, err)
		return s.fail(p, ev.Kind, err, d)
	}
	return v.Action.Terminal()
}

// follow checks a verdict, applies its edits and writes what it comes to into d. With an
// error nothing has changed.
func (s *Session) follow(p *part, ev *event.Event, v *event.Verdict, d *Decision) error {
	b, k := p.binding, ev.Kind
	if err := permitted(s.pipeline.Role, k, v.Action, b.Granted); err != nil {
		return err
	}
	r, err := replyFor(k, v.Action, v.Reply)
	if err != nil {
		return err
	}
	done, err := s.edit(b, ev, v.Edits)
	if err != nil {
		return err
	}
	switch v.Action {
	case event.Skip:
		p.skip |= 1 << k
	case event.Detach:
		p.end(&s.State, event.DisconnectHostClosed)
		p.detached = true
	}
	if v.Action.Terminal() {
		*d = Decision{Action: v.Action, Reply: d.Reply, Agent: b.Name, At: k, Reason: bounded(v.Reason)}
		if v.Action == event.TempFail && r.Code == 421 {
			d.Action = event.Hangup // RFC 5321 §3.8: a 421 says that the channel closes
		}
	}
	if r.Code != 0 {
		d.Reply, d.Agent, d.At = r, b.Name, k
	}
	if v.Action.Terminal() || len(done) > 0 {
		s.note(Entry{Agent: b.Name, At: k, Action: v.Action, Edits: done, Reason: v.Reason})
	}
	return nil
}

// dropFrom takes out the recipient with this ID and those that have been added since.
func (s *Session) dropFrom(id uint32) {
	e := s.State.Envelope
	if e == nil || id == 0 {
		return
	}
	var gone []uint32
	for _, r := range e.Recipients {
		if r.ID >= id {
			gone = append(gone, r.ID)
		}
	}
	for _, id := range gone {
		e.Remove(id)
	}
	s.notice()
}
