package agents

import (
	"fmt"
	"time"
)

// probationTime is how long an instance of another program, or of other settings, is watched
// before its predecessor is let go. What a change has broken shows at the first messages, and
// a busy server has many of them in a minute; it is also the window of everything else that
// counts an agent's faults, and as long as two processes are worth their memory.
const probationTime = time.Minute

// probation is the first time after a swap, in which the old program waits to be put back.
type probation struct {
	since time.Time
	timer *time.Timer
	inst  *instance // on probation
	old   *instance // its predecessor, kept warm
	spec  *spec     // of old
}

// newProbation begins one. v.mu is held.
func (v *supervisor) newProbation(inst, old *instance, spec *spec) *probation {
	p := &probation{since: time.Now(), inst: inst, old: old, spec: spec}
	p.timer = time.AfterFunc(v.patience, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.probation == p {
			v.endProbation()
		}
	})
	return p
}

// trusted makes the probation that of a successor of the same spec.
func (p *probation) trusted(inst *instance) { p.inst = inst }

// endProbation lets the predecessor go: nobody turns back any more. v.mu is held.
func (v *supervisor) endProbation() {
	if p := v.probation; p != nil {
		v.probation = nil
		p.timer.Stop()
		v.leave(p.old)
	}
}

// judge is told of a failed event of the instance, and turns back where it is on probation and
// fails clearly more than its predecessor.
func (v *supervisor) judge(inst *instance, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.probation; p != nil && p.inst == inst && inst.health.worseThan(&p.old.health) {
		failed, of := inst.health.share()
		v.rollBack(fmt.Sprintf("%d of its last %d events failed, the last one with: %s", failed, of, oneLine(err.Error(), 300)))
	}
}

// rollBack puts the predecessor back in the place of the instance on probation, at once; the
// registry and the order of agents follow. It reports false, and does nothing, where there is
// no probation, or no way back. v.mu is held.
func (v *supervisor) rollBack(why string) bool {
	p := v.probation
	if p == nil || v.ctx.Err() != nil {
		return false
	}
	now := p.old
	if now.isGone() || now.retiring.Load() {
		now = nil // it is started again
	}
	if now == nil {
		if err := checkPinned(p.spec.Name, p.spec.Path, p.spec.SHA256); err != nil {
			v.log.Error("agent is not rolled back", "why", why, "error", err)
			v.endProbation()
			return false
		}
	}
	v.probation = nil
	p.timer.Stop()
	failed := v.spec
	p.inst.undone.Store(true) // before anybody sees that it is not the current one any more
	bad := v.cur.Swap(now)
	v.past = remove(v.past, p.old)
	if bad != nil && !bad.isGone() {
		v.past = append(v.past, bad)
		go func() {
			bad.dismiss()
			v.forget(bad)
		}()
	}
	v.spec, v.breaker = p.spec, breaker{}
	v.poisons.clear()
	v.undone, v.failed = undoing(failed, p.spec, why), failed.Edition
	state := stateStarting
	if now != nil {
		state = stateRunning
		v.bound = now.terms.Load().subs
	}
	v.setState(state, "")
	pid := 0
	if now != nil {
		pid = now.pid
	}
	v.log.Error("agent rolled back", "why", why, "after_s", int(time.Since(p.since).Seconds()), "pid", pid,
		"path", p.spec.Path, "sha256", p.spec.SHA256, "failed_path", failed.Path, "failed_sha256", failed.SHA256,
		"do", "mend the new one and set it again: relay set-agent "+failed.Name)
	v.wake()
	v.onRollBack(failed.Edition, p.spec)
	return true
}

// undoing is what get-agent says of a swap that was taken back.
func undoing(failed, old *spec, why string) string {
	to := "its former settings"
	if failed.SHA256 != old.SHA256 || failed.Path != old.Path {
		to = fmt.Sprintf("%s (SHA-256 %.12s…)", old.Path, old.SHA256)
	}
	return fmt.Sprintf("rolled back to %s because %s", to, why)
}

func remove(list []*instance, inst *instance) []*instance {
	kept := list[:0]
	for _, i := range list {
		if i != inst {
			kept = append(kept, i)
		}
	}
	return kept
}
