package agents

import (
	"errors"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// renewPause is the least time between two restarts of a process that lives but does not
// behave: a message that makes it break the contract can come any number of times.
const renewPause = 10 * time.Second

// renew puts a new process of the same spec in the place of one that does not behave, unless
// that was done a moment ago.
func (v *supervisor) renew(inst *instance, why string) {
	v.mu.Lock()
	busy := v.renewing || v.cur.Load() != inst || time.Since(v.renewed) < renewPause
	spec := v.spec
	if !busy {
		v.renewing, v.renewed, inst.faults = true, time.Now(), nil
	}
	v.mu.Unlock()
	if busy {
		return
	}
	v.log.Warn("agent is restarted", "pid", inst.pid, "why", why)
	v.startSuccessor(inst, spec, why, false)
}

// replace is renew for a process that must not go on as it is.
func (v *supervisor) replace(inst *instance, why string) {
	v.mu.Lock()
	spec := v.spec
	current := v.cur.Load() == inst
	v.mu.Unlock()
	if !current || inst.isGone() {
		return // its successor has the spec
	}
	v.log.Warn("agent is restarted", "pid", inst.pid, "why", why)
	v.startSuccessor(inst, spec, why, true)
}

// startSuccessor starts another process of the spec for the instance. With must the instance
// ends also where that fails.
func (v *supervisor) startSuccessor(inst *instance, spec *spec, why string, must bool) {
	go func() {
		next, err := v.launch(v.ctx, spec, v.gen.Add(1))
		v.mu.Lock()
		v.renewing = false
		stands := v.ctx.Err() == nil && v.cur.Load() == inst && v.spec == spec
		switch {
		case err == nil && stands:
			v.succeed(next, spec)
			return
		case err != nil && stands:
			v.log.Error("agent is not restarted", "error", err)
		}
		v.mu.Unlock()
		switch {
		case err == nil:
			next.stop() // the operator was faster, or a crash
		case must:
			inst.fail(errors.New(why))
		}
	}()
}

// failure counts a failed event of the instance; nil: there was none. Two faults of protocol
// in a minute restart the agent, or undo the swap that brought it.
func (v *supervisor) failure(inst *instance, at event.Kind, err error) {
	v.stats.failed(at, err)
	if inst != nil {
		v.judge(inst, err)
	}
	if !errors.Is(err, event.ErrProtocol) {
		return
	}
	text := oneLine(err.Error(), 300)
	now := time.Now()
	v.mu.Lock()
	v.problem = text
	often := false
	if inst != nil && inst == v.cur.Load() {
		inst.faults = append(recent(inst.faults, now), now)
		inst.faults = inst.faults[max(len(inst.faults)-2, 0):]
		often = len(inst.faults) >= 2
	}
	why := "two faults of protocol in a minute: " + text
	if p := v.probation; often && p != nil && p.inst == inst && v.rollBack("of "+why) {
		often = false
	}
	v.mu.Unlock()
	if often {
		v.renew(inst, why)
	}
}

// heard takes a status of an instance.
func (v *supervisor) heard(inst *instance, s *agentv1.AgentStatus) {
	switch s.State {
	case agentv1.AgentStatus_STATE_RESTART_ME:
		v.renew(inst, "it asked for it: "+oneLine(s.Detail, 200)) // it says so again until it is done
	case agentv1.AgentStatus_STATE_DEGRADED, agentv1.AgentStatus_STATE_READY:
		if now := s.State == agentv1.AgentStatus_STATE_DEGRADED; now || inst.degraded.Load() {
			v.degrade(inst, now, oneLine(s.Detail, 200))
		}
	}
}

// degrade notes that an instance says it works less well than it should, or does not any more.
func (v *supervisor) degrade(inst *instance, now bool, detail string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if was := inst.degraded.Swap(now); was != now {
		v.log.Warn("agent's health", "pid", inst.pid, "degraded", now, "detail", detail)
	}
	if v.cur.Load() != inst {
		return
	}
	if v.problem = ""; now {
		v.problem = "degraded: " + detail
	}
}
