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
		v.renewing, v.renewed, v.faults = true, time.Now(), nil
	}
	v.mu.Unlock()
	if busy {
		return
	}
	v.log.Warn("agent is restarted", "pid", inst.pid, "why", why)
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
		if err == nil {
			next.stop() // the operator was faster, or a crash
		}
	}()
}

// failure counts a failed event. Two faults of protocol in a minute restart the agent.
func (v *supervisor) failure(at event.Kind, err error) {
	v.stats.failed(at, err)
	if !errors.Is(err, event.ErrProtocol) {
		return
	}
	now := time.Now()
	v.mu.Lock()
	v.faults = append(recent(v.faults, now), now)
	v.faults = v.faults[max(len(v.faults)-2, 0):]
	often := len(v.faults) >= 2
	v.problem = oneLine(err.Error(), 300)
	v.mu.Unlock()
	if inst := v.cur.Load(); often && inst != nil {
		v.renew(inst, "two faults of protocol in a minute: "+oneLine(err.Error(), 300))
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
