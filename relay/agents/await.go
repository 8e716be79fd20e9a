package agents

import (
	"context"
	"fmt"
	"time"

	"example.org/relay/relay/event"
)

// await returns an instance that takes events, waiting for one until the deadline. Where none
// can be expected by then it does not wait.
func (v *supervisor) await(ctx context.Context, deadline time.Time) (*instance, error) {
	if inst := v.cur.Load(); inst != nil && inst.usable() {
		return inst, nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		v.mu.Lock()
		changed, state, problem, retryAt := v.changed, v.state, v.problem, v.retryAt
		v.mu.Unlock()
		inst := v.cur.Load()
		switch {
		case inst != nil && inst.usable():
			return inst, nil
		case v.isOver():
			return nil, v.ended()
		case state == stateFailed, state == stateBackingOff && retryAt.After(deadline):
			return nil, fmt.Errorf("%w: %s", event.ErrUnavailable, problem)
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, fmt.Errorf("%w: %s in the time limit", event.ErrUnavailable, state)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-v.done:
			return nil, v.ended()
		}
	}
}

// isOver reports whether the supervisor has ended.
func (v *supervisor) isOver() bool {
	select {
	case <-v.done:
		return true
	default:
		return v.cut.Load()
	}
}

// ended is why the supervisor has no instance any more. Mail does without an agent that was
// disabled, but not without one that goes with the relay.
func (v *supervisor) ended() error {
	if v.down.Load() {
		return fmt.Errorf("%w: the relay is going down", event.ErrUnavailable)
	}
	return event.ErrDetached
}

// buried waits until the supervisor knows of the death of the instance and has done what
// follows of it.
func (v *supervisor) buried(ctx context.Context, inst *instance) error {
	for {
		v.mu.Lock()
		changed, handled := v.changed, v.cur.Load() != inst
		v.mu.Unlock()
		if handled {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-v.done:
			return nil
		}
	}
}
