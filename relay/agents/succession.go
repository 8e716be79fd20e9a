package agents

import (
	"context"
	"fmt"
	"slices"
)

// swap starts an instance of another spec beside the current one, waits until that says it is
// ready, and puts it in its place, on probation. Where that fails the current one is untouched.
func (v *supervisor) swap(ctx context.Context, s *spec) error {
	inst, err := v.launch(ctx, s, v.gen.Add(1))
	if err != nil {
		return err
	}
	if err := inst.ready(ctx); err != nil {
		inst.stop()
		return err
	}
	v.mu.Lock()
	if v.ctx.Err() != nil {
		v.mu.Unlock()
		inst.stop()
		return fmt.Errorf("agent %s: stopped meanwhile", s.Name)
	}
	v.breaker = breaker{}
	v.supersede(inst, s)
	return nil
}

// confine gives the agent a process that is confined as the spec says. Where that does not start,
// the one there is goes on as it is, but none is started any more that is not confined so.
func (v *supervisor) confine(ctx context.Context, s *spec) error {
	err := v.swap(ctx, s)
	if err != nil {
		v.mu.Lock()
		v.spec = s
		v.setState(v.state, "not confined anew: "+oneLine(err.Error(), 300))
		v.mu.Unlock()
	}
	return err
}

// supersede puts an instance of another spec in the place of the current one, which stays for
// the probation: for the transactions that began with it, and to be put back. v.mu is held and
// released.
func (v *supervisor) supersede(inst *instance, s *spec) {
	v.endProbation()
	was := v.spec
	old := v.adopt(inst, s)
	v.undone = ""
	v.poisons.clear()
	if old == nil || v.patience <= 0 {
		v.leave(old)
	} else {
		v.past = append(v.past, old)
		v.probation = v.newProbation(inst, old, was)
	}
	v.mu.Unlock()
	v.wake()
	v.rebind(inst.terms.Load(), s)
	if old != nil {
		v.log.Info("agent swapped", "pid", inst.pid, "old_pid", old.pid, "path", s.Path, "sha256", s.SHA256,
			"probation_s", v.patience.Seconds())
	}
}

// succeed puts inst, of the same spec, in the place of the current instance. v.mu is held and
// released.
func (v *supervisor) succeed(inst *instance, s *spec) {
	old := v.adopt(inst, s)
	if p := v.probation; p != nil {
		p.trusted(inst)
	}
	v.leave(old)
	v.mu.Unlock()
	v.wake()
	v.rebind(inst.terms.Load(), s)
	if old != nil {
		v.log.Info("agent restarted", "pid", inst.pid, "old_pid", old.pid)
	}
}

// leave lets an instance that was replaced finish what it has, and go. v.mu is held.
func (v *supervisor) leave(old *instance) {
	if old == nil {
		return
	}
	if !slices.Contains(v.past, old) {
		v.past = append(v.past, old)
	}
	go func() {
		old.retire(retireTime)
		v.forget(old)
	}()
}

// forget is called when an instance that was replaced is gone.
func (v *supervisor) forget(old *instance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := slices.Index(v.past, old); i >= 0 {
		v.past = slices.Delete(v.past, i, i+1)
	}
}

// hold keeps an instance for a transaction that begins: the current one, or, where the order
// of agents in force for the transaction speaks of the one before, that. nil: there is none.
func (v *supervisor) hold(edition uint64) *instance {
	inst := v.cur.Load()
	if inst == nil || inst.edition.Load() == edition {
		if inst != nil && inst.hold() {
			return inst
		}
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, old := range v.past {
		if old.edition.Load() == edition && old.hold() {
			return old
		}
	}
	if inst = v.cur.Load(); inst != nil && inst.hold() {
		return inst
	}
	return nil
}
