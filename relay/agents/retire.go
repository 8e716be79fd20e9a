package agents

import "time"

// enter counts a call in flight. It reports false where the instance takes no more.
func (i *instance) enter() bool {
	i.deciding.Add(1)
	if i.retiring.Load() {
		i.leave()
		return false
	}
	return true
}

// reenter is enter for who holds the instance, which is taken until it is gone.
func (i *instance) reenter() bool {
	i.deciding.Add(1)
	if i.isGone() {
		i.leave()
		return false
	}
	return true
}

func (i *instance) leave() {
	i.deciding.Add(-1)
	i.checkIdle()
}

// hold keeps the instance for a transaction until letGo, if it is not retiring already.
func (i *instance) hold() bool {
	i.holds.Add(1)
	if i.retiring.Load() || i.isGone() {
		i.letGo()
		return false
	}
	return true
}

func (i *instance) letGo() {
	i.holds.Add(-1)
	i.checkIdle()
}

// checkIdle is called after either count has fallen: whoever makes the last of both 0 sees that.
func (i *instance) checkIdle() {
	if i.retiring.Load() && i.deciding.Load() == 0 && i.holds.Load() == 0 {
		i.idleOnce.Do(func() { close(i.idle) })
	}
}

// retire lets the transactions that stay with the instance and the calls in flight finish,
// for at most the given time, and ends it. What is not finished then moves to the successor:
// events that were in flight are shown again there.
func (i *instance) retire(patience time.Duration) {
	i.retiring.Store(true)
	i.checkIdle()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-i.idle:
		i.stop()
	case <-i.gone:
	case <-timer.C:
		if n := i.deciding.Load(); n > 0 {
			i.log.Warn("agent process still busy, killed", "pid", i.pid, "in_flight", n)
		}
		i.dismiss()
	}
}
