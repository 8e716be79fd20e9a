package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// maxPending is how many events a conversation keeps for an agent that cannot be told now.
const maxPending = 32

// notifyTime is how long telling an agent something may take before its stream is given up:
// it happens only where an agent reads nothing for so long that all buffers are full.
const notifyTime = 100 * time.Millisecond

// Conversation is an agent's part in one SMTP session. It is used by one goroutine at a time.
type Conversation struct {
	agent   *Agent
	sup     *supervisor
	session string
	stream  *stream // nil between streams
	shown   shown   // on stream
	resumed bool    // the session has been on another stream
	fresh   bool    // the next stream is to be a new one
	heard   bool    // the agent has been told something of the session and lived
	sent    bool    // something of the event in hand
	message string  // id of the transaction that sup was chosen for
	pending []event.Event

	held    *instance // serves the transaction; nil: none yet, or it is gone
	holding bool      // a transaction is under way
	judged  *instance // gave the last verdict, or failed to

	poisoned bool
	poison   string // id of the message that kills the agent; empty: the session does

	watched context.Context // whose end cancels the stream
	unwatch func() bool
}

// Decide shows the events in order, with what the agent has not seen of state, and returns
// the verdict on the last; the others are Notify. limit is the agent's time for it, in which
// the events are shown again to another process where one dies. The error is one of
// event.Err…, wrapped; ctx ending gives ctx's error.
func (c *Conversation) Decide(ctx context.Context, events []event.Event, state *event.State, limit time.Duration) (event.Verdict, error) {
	s := c.current(state)
	last := &events[len(events)-1]
	if c.isPoison(state) || c.killedBefore(last, state) {
		c.judged = nil
		return event.Verdict{}, c.failed(last, fmt.Errorf("%w: it did before", event.ErrPoison))
	}
	s.stats.calls.Add(1)
	c.sent = false
	c.watch(ctx)
	v, err := c.decide(ctx, events, state, time.Now().Add(limit))
	if err == nil {
		return v, nil
	}
	if ctx.Err() != nil {
		return event.Verdict{}, ctx.Err()
	}
	if !c.sent {
		c.keep(events[:len(events)-1])
	}
	return event.Verdict{}, c.failed(last, err)
}

// failed counts the failure and puts agent and event into its text.
func (c *Conversation) failed(e *event.Event, err error) error {
	if !errors.Is(err, event.ErrDetached) {
		c.sup.failure(c.judged, e.Kind, err)
	}
	return fmt.Errorf("agent %s at %s: %w", c.agent.Name(), e.Kind, err)
}

func (c *Conversation) decide(ctx context.Context, events []event.Event, state *event.State, deadline time.Time) (event.Verdict, error) {
	for {
		inst, err := c.serving(ctx, deadline)
		if err != nil {
			c.judged = nil
			return event.Verdict{}, err
		}
		v, err := c.ask(ctx, inst, events, state, deadline)
		inst.leave()
		c.judged = inst
		if err == nil || !errors.Is(err, errGone) && !errors.Is(err, errStale) && ctx.Err() == nil {
			inst.health.ended(err != nil)
		}
		switch {
		case errors.Is(err, errStale): // which shows the event again once, not on one kept stream after the other
			c.fresh = true
		case errors.Is(err, errGone) && errors.Is(inst.cause, errSilenced):
			return v, c.sup.ended()
		case errors.Is(err, errGone) && errors.Is(inst.cause, errRetired): // its successor is asked
		case errors.Is(err, errGone):
			if err := c.sup.buried(ctx, inst); err != nil {
				return v, err
			}
			if inst.undone.Load() {
				continue // it died on probation: the proven one is asked
			}
			c.judged = nil
			return c.retry(ctx, inst, events, state, deadline)
		default:
			return v, err
		}
	}
}

// ask shows the events to the instance and waits for the verdict.
func (c *Conversation) ask(ctx context.Context, inst *instance, events []event.Event, state *event.State, deadline time.Time) (event.Verdict, error) {
	last := &events[len(events)-1]
	if !inst.terms.Load().decides(last.Kind) { // the order of agents is that of another version
		c.keep(events[:len(events)-1])
		return event.Verdict{Seq: last.Seq}, nil
	}
	left := time.Until(deadline)
	if left <= 0 {
		return event.Verdict{}, event.ErrTimeout
	}
	s, err := c.use(ctx, inst, left)
	if err != nil {
		return event.Verdict{}, err
	}
	left = max(time.Until(deadline), time.Millisecond)
	s.arm(left)
	c.sent = true
	err = s.show(c, events, state, left)
	var v event.Verdict
	if err == nil {
		d := deliberation{ctx, state, last.Seq, deadline}
		v, err = s.verdict(&d)
	}
	s.disarm()
	if err != nil || s.broken {
		c.drop()
	}
	if err == nil {
		c.pending, c.heard = c.pending[:0], true
	}
	return v, err
}

// use returns the conversation's stream on the instance, taking one where it has none there.
func (c *Conversation) use(ctx context.Context, inst *instance, left time.Duration) (*stream, error) {
	if c.stream != nil && (c.stream.inst != inst || c.stream.broken) {
		c.drop()
	}
	if c.resumed && !inst.terms.Load().resume {
		if c.heard {
			return nil, fmt.Errorf("%w: another process saw the session begin, and it cannot take one over", event.ErrUnavailable)
		}
		c.resumed = false
	}
	if c.stream == nil {
		timer := time.NewTimer(left)
		s, err := inst.take(ctx, timer.C, c.fresh)
		timer.Stop()
		c.fresh = false
		if err != nil {
			return nil, err
		}
		c.stream, c.shown = s, shown{}
		c.watchStream()
	}
	return c.stream, nil
}

// show sends the events, those kept for the agent first. The session is started where this
// stream has not seen it.
func (s *stream) show(c *Conversation, events []event.Event, state *event.State, limit time.Duration) error {
	if !c.shown.started {
		if err := s.start(c, state); err != nil {
			return s.explain(err)
		}
	}
	s.events.Events = s.events.Events[:0]
	if err := s.fill(&s.events.Events, c, events, state); err != nil {
		if errors.Is(err, event.ErrFailed) {
			s.broken = true
			return err
		}
		return s.explain(err)
	}
	if s.events.TimeoutMs = 0; limit > 0 {
		s.events.TimeoutMs = uint32(max(limit.Milliseconds(), 1))
	}
	all := s.events.Events
	if !s.inst.terms.Load().deferred { // each in a frame of its own
		for len(s.events.Events) > 1 {
			rest := s.events.Events[1:]
			s.events.Events = s.events.Events[:1]
			if err := s.send(&s.frame); err != nil {
				return s.explain(err)
			}
			s.events.Events = rest
		}
	}
	err := s.send(&s.frame)
	s.events.Events = all
	if err != nil {
		return s.explain(err)
	}
	return nil
}

// fill adds the kept events and these, with what is to be attached on the first of them.
func (s *stream) fill(to *[]*agentv1.Event, c *Conversation, events []event.Event, state *event.State) error {
	headers := false
	n := 0
	for _, part := range [2][]event.Event{c.pending, events} {
		for i := range part {
			*to = append(*to, s.slot(n).fill(&part[i]))
			headers = headers || s.inst.terms.Load().headers[part[i].Kind]
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return s.attach((*to)[0], c, state, headers)
}

// Notify shows events that await no verdict, without waiting for anything. Where the agent
// cannot be told now, it is told with the next event; of too many the oldest are forgotten.
func (c *Conversation) Notify(events []event.Event, state *event.State) {
	if len(events) == 0 || c.isPoison(state) {
		return
	}
	c.current(state)
	inst := c.present()
	if inst == nil {
		c.keep(events)
		return
	}
	defer inst.leave()
	c.outlive()
	s, err := c.use(context.Background(), inst, 0)
	if err != nil {
		c.keep(events)
		return
	}
	s.arm(notifyTime)
	err = s.show(c, events, state, 0)
	if s.disarm(); err != nil {
		c.keep(events)
	} else {
		c.pending, c.heard = c.pending[:0], true
	}
	if s.broken {
		c.drop()
	}
}

func (c *Conversation) keep(events []event.Event) {
	c.pending = append(c.pending, events...)
	if n := len(c.pending) - maxPending; n > 0 {
		c.pending = append(c.pending[:0], c.pending[n:]...)
	}
}

// End ends the agent's part; events are the last it is to be told, Disconnect among them. It
// does not wait for the agent. The conversation must not be used afterwards.
func (c *Conversation) End(events []event.Event, state *event.State, reason event.DisconnectReason) {
	defer c.close()
	if c.isPoison(state) {
		return
	}
	c.current(state)
	c.outlive()
	inst := c.lastServing()
	if inst == nil {
		c.drop()
		return
	}
	defer inst.leave()
	here := c.stream != nil && c.stream.inst == inst
	if !here && len(events) == 0 && len(c.pending) == 0 {
		c.drop()
		return // the process has not seen the session, and there is nothing to tell
	}
	s, err := c.use(context.Background(), inst, 0)
	if err != nil {
		return
	}
	s.arm(notifyTime)
	err = s.finish(c, events, state, reason)
	if s.disarm(); err != nil {
		s.broken = true
	}
}

// finish ends the session on the stream. Its acknowledgement is read when the stream is used
// again: nobody waits for it.
func (s *stream) finish(c *Conversation, events []event.Event, state *event.State, reason event.DisconnectReason) error {
	if !c.shown.started {
		if err := s.start(c, state); err != nil {
			return err
		}
	}
	s.end.Reason = endReason(reason)
	s.end.Events = s.end.Events[:0]
	if err := s.fill(&s.end.Events, c, events, state); err != nil {
		return err
	}
	if err := s.send(&s.endOf); err != nil {
		return err
	}
	s.acks++
	return nil
}

// drop gives the stream up: the next event takes another one, on which the session resumes.
func (c *Conversation) drop() {
	if c.stream == nil {
		return
	}
	c.resumed = c.resumed || c.shown.started
	c.stream.broken = true
	c.release()
}

func (c *Conversation) release() {
	c.unwatchStream()
	c.stream.release()
	c.stream, c.shown = nil, shown{}
}

func (c *Conversation) close() {
	c.watched = nil
	if c.stream != nil {
		c.release()
	}
	c.Release()
	c.sup.open.Add(-1)
}

// outlive lets an agent be told what remains where the session was cut off, and the stream
// with it.
func (c *Conversation) outlive() {
	if c.watched != nil && c.watched.Err() != nil {
		c.drop()
		c.watched = nil
	}
}

// watch makes the end of ctx cancel the stream in use. A session that comes with the same
// ctx each time costs nothing here.
func (c *Conversation) watch(ctx context.Context) {
	if ctx == c.watched {
		return
	}
	c.watched = ctx
	c.watchStream()
}

// unwatchStream lets the end of ctx not cancel the stream any more. Where it is just doing
// so, the stream must not go to another session.
func (c *Conversation) unwatchStream() {
	if c.unwatch == nil {
		return
	}
	if !c.unwatch() && c.stream != nil {
		c.stream.broken = true
	}
	c.unwatch = nil
}

func (c *Conversation) watchStream() {
	c.unwatchStream()
	if c.stream != nil && c.watched != nil && c.watched.Done() != nil {
		c.unwatch = context.AfterFunc(c.watched, c.stream.cancel)
	}
}

// isPoison reports whether this message, or the session, has killed the agent before.
func (c *Conversation) isPoison(state *event.State) bool {
	return c.poisoned && (c.poison == "" || c.poison == messageID(state))
}

func (c *Conversation) markPoison(state *event.State) {
	c.poisoned, c.poison = true, messageID(state)
}

func messageID(state *event.State) string {
	if state.Envelope == nil {
		return ""
	}
	return state.Envelope.ID
}
