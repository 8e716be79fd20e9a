package agents

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
)

// trial is where the suspects of a crash are tried, one by one, on a spare process that
// nobody else uses: who kills it alone is the one. The others have their verdict and lose
// nothing. The spare ends with the last suspect.
type trial struct {
	turn    chan struct{} // holds a token while a suspect is on trial
	waiting atomic.Int64  // suspects, the one on trial among them

	mu    sync.Mutex
	over  bool
	spare *instance
}

// startPause is the time between two attempts to start the spare.
const startPause = 200 * time.Millisecond

// retry shows the events of a suspect again, alone, after an instance has died.
func (c *Conversation) retry(ctx context.Context, died *instance, events []event.Event, state *event.State, deadline time.Time) (event.Verdict, error) {
	v := c.sup
	v.trial.waiting.Add(1)
	defer v.trial.leave()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case v.trial.turn <- struct{}{}:
	case <-timer.C:
		return event.Verdict{}, fmt.Errorf("%w: it died, and the time limit ended before this event could be shown again", event.ErrUnavailable)
	case <-ctx.Done():
		return event.Verdict{}, ctx.Err()
	}
	defer func() { <-v.trial.turn }()
	for {
		inst, err := v.spare(ctx, deadline)
		if err != nil {
			return event.Verdict{}, err
		}
		verdict, err := c.ask(ctx, inst, events, state, deadline)
		c.drop() // the session goes on with the replacement
		switch {
		case errors.Is(err, errStale):
			c.fresh = true
			continue
		case !errors.Is(err, errGone):
			return verdict, err
		case errors.Is(inst.cause, errSilenced):
			return verdict, v.ended()
		}
		v.trial.bury(inst)
		go v.logExit(inst)
		v.pardon(died)
		v.stats.poison.Add(1)
		c.markPoison(state)
		c.pending = nil
		last := &events[len(events)-1]
		memory := v.poisons.remember(keyOf(last, state), time.Now())
		v.log.Error("message kills the agent, it is not shown again", "session", c.session,
			"message", messageID(state), "event", last.Kind.String(), "pid", inst.pid, "cause", inst.cause, "for_s", memory.Seconds())
		return event.Verdict{}, fmt.Errorf("%w: %w", event.ErrPoison, inst.cause)
	}
}

// spare returns the spare instance, starting one where there is none.
func (v *supervisor) spare(ctx context.Context, deadline time.Time) (*instance, error) {
	t := &v.trial
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer context.AfterFunc(v.ctx, cancel)()
	for {
		t.mu.Lock()
		inst, over := t.spare, t.over
		t.mu.Unlock()
		if over {
			return nil, v.ended()
		}
		if inst != nil && inst.usable() {
			return inst, nil
		}
		v.mu.Lock()
		spec := v.spec
		v.mu.Unlock()
		inst, err := v.launch(ctx, spec, v.gen.Add(1))
		if err == nil {
			t.mu.Lock()
			if over = t.over; !over {
				t.spare = inst
			}
			t.mu.Unlock()
			if over {
				inst.stop()
			}
			continue
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			if v.ctx.Err() != nil {
				return nil, v.ended()
			}
			return nil, fmt.Errorf("%w: %w", event.ErrUnavailable, err)
		}
	}
}

// leave ends the spare after the last suspect.
func (t *trial) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting.Add(-1) == 0 && t.spare != nil {
		go t.spare.stop()
		t.spare = nil
	}
}

// bury forgets a spare that died.
func (t *trial) bury(inst *instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spare == inst {
		t.spare = nil
	}
}

// close ends the spare at once.
func (t *trial) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.spare != nil {
		t.spare.fail(errSilenced)
		t.spare = nil
	}
}
