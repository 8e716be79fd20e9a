package agents

import (
	"context"
	"errors"
	"slices"

	"example.org/relay/relay/event"
)

// rebind tells if an instance is bound to other events than the one before it, or is narrowed otherwise.
func (v *supervisor) rebind(t *terms, s *spec) {
	v.mu.Lock()
	before := v.bound
	if before == nil {
		before = s.Described.Subscriptions
	}
	v.bound = t.subs
	v.mu.Unlock()
	if !slices.EqualFunc(before, t.subs, event.Subscription.Equal) {
		v.onRebind()
	}
}

func (v *supervisor) subscriptions() []event.Subscription {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bound
}

// reconfigure tells the running instance another spec, with the settings tried first. Where
// the agent wants a new process for that, it gets one. With none running the spec is for the
// next.
func (v *supervisor) reconfigure(ctx context.Context, s *spec, home string) error {
	for {
		v.mu.Lock()
		if s.Edition != 0 && s.Edition == v.failed { // what it was rolled back to is told instead
			v.mu.Unlock()
			return nil
		}
		inst := v.cur.Load()
		if inst == nil {
			v.spec = s // one that is just being started with the old spec is given up for it
			v.mu.Unlock()
			v.wake()
			return nil
		}
		v.mu.Unlock()
		if told, err := v.tell(ctx, inst, s, home); told || err != nil {
			return err
		}
	}
}

// tell configures the instance anew. It reports false where that is not the current one any
// more: its successor was started with the old spec.
func (v *supervisor) tell(ctx context.Context, inst *instance, s *spec, home string) (bool, error) {
	if inst.program != s.program() { // it was rolled back to while the operator was at it
		return true, v.swap(ctx, s)
	}
	if !inst.enter() {
		return false, nil
	}
	defer inst.leave()
	scratch := ""
	if p, ok := inst.proc.(*process); ok {
		scratch = p.scratch()
	}
	_, restart, err := s.configure(ctx, inst, s.request(inst.generation, scratch, true, home))
	if err != nil {
		return false, err
	}
	if restart {
		return true, v.swap(ctx, s)
	}
	// From here on nobody turns back: an answer not waited for would leave the agent with
	// settings that the registry does not have.
	t, restart, err := s.configure(context.WithoutCancel(ctx), inst, s.request(inst.generation, scratch, false, home))
	if err != nil {
		if refused := (FieldErrors)(nil); !errors.As(err, &refused) {
			v.replace(inst, "it is not known which settings it has now: "+oneLine(err.Error(), 300))
		}
		return false, err
	}
	if restart {
		return true, v.swap(ctx, s)
	}
	v.mu.Lock()
	if v.cur.Load() != inst {
		v.mu.Unlock()
		return false, nil
	}
	if s.Edition != v.spec.Edition { // the operator's, and it is not taken back
		v.endProbation()
		v.undone = ""
		v.poisons.clear()
	}
	inst.terms.Store(t)
	inst.edition.Store(s.Edition)
	v.spec = s
	v.mu.Unlock()
	v.rebind(t, s)
	v.log.Info("agent configured anew", "pid", inst.pid)
	return true, nil
}

// knows reports whether the agent has been told what the spec says of the relay.
func (v *supervisor) knows(s *spec) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.spec.hostname == s.hostname && slices.Equal(v.spec.domains, s.domains)
}
