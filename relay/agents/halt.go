package agents

import (
	"context"
	"slices"
	"sync"
	"time"
)

// drain lets the conversations that are open end, for at most patience or until ctx ends, and
// stops.
func (v *supervisor) drain(ctx context.Context, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for v.open.Load() > 0 && v.ctx.Err() == nil {
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			v.down.Store(true)
		case <-v.ctx.Done():
		case <-timer.C:
		}
		break
	}
	v.halt(politeTime)
}

// halt stops the supervisor and its processes: at once with grace 0, and then events in
// flight are cut off.
func (v *supervisor) halt(grace time.Duration) {
	if grace == 0 {
		v.cut.Store(true)
	}
	v.stop()
	<-v.done
	v.mu.Lock()
	inst := v.cur.Swap(nil)
	all := slices.Clone(v.past)
	if p := v.probation; p != nil {
		v.probation = nil
		p.timer.Stop()
	}
	v.setState(stateStopped, "")
	v.mu.Unlock()
	if inst != nil {
		all = append(all, inst)
	}
	var ending sync.WaitGroup
	for _, i := range all {
		if grace == 0 {
			i.fail(errSilenced)
		} else {
			ending.Go(i.stop)
		}
	}
	ending.Wait()
	if inst != nil {
		v.log.Info("agent stopped", "pid", inst.pid)
	}
	v.trial.close()
}
