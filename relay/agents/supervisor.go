package agents

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
)

// retireTime is how long a process that was replaced may finish what it has in flight.
const retireTime = 30 * time.Second

// The states of an enabled agent, as get-agent shows them.
const (
	stateStarting   = "starting"
	stateRunning    = "running"
	stateBackingOff = "backing-off"
	stateStopped    = "stopped"
	stateFailed     = "failed" // the circuit is open
)

// launcher starts an instance: process, Configure, Watch. generation counts them.
type launcher func(ctx context.Context, s *spec, generation uint64) (*instance, error)

// supervisor keeps one instance of an enabled agent alive. Safe for concurrent use.
type supervisor struct {
	launch   launcher
	log      *slog.Logger
	stats    *stats
	onRebind func() // the events the agent is bound to have changed, or its filters at them
	// onRollBack is told which edition was given up for which spec. It is called with mu held
	// and before halt returns, never after.
	onRollBack func(edition uint64, old *spec)
	patience   time.Duration // of a probation; 0: there is none

	ctx  context.Context // ends when the supervisor is to stop
	stop context.CancelFunc
	done chan struct{} // closed when run has returned
	cut  atomic.Bool   // stopped without mercy
	down atomic.Bool   // stopped because the relay ends

	cur  atomic.Pointer[instance] // nil while there is none
	open atomic.Int64             // conversations
	gen  *atomic.Uint64

	mu       sync.Mutex
	spec     *spec
	state    string
	problem  string
	retryAt  time.Time     // with stateBackingOff and stateFailed
	changed  chan struct{} // closed and replaced when cur, state or spec change
	kick     chan struct{} // wakes run from a wait
	breaker  breaker
	renewing bool                 // a successor is being started
	renewed  time.Time            // when the last one was
	bound    []event.Subscription // of the last instance; nil: there was none

	past      []*instance // replaced and not gone yet
	probation *probation  // nil: the current instance is trusted
	undone    string      // which swap was taken back and why, until the next change
	failed    uint64      // the edition that it had brought

	trial   trial
	poisons poisons
}

func newSupervisor(s *spec, log *slog.Logger, st *stats, gen *atomic.Uint64) *supervisor {
	v := &supervisor{
		log: log, stats: st, gen: gen, onRebind: func() {}, onRollBack: func(uint64, *spec) {}, spec: s, state: stateStarting,
		done: make(chan struct{}), changed: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	v.ctx, v.stop = context.WithCancel(context.Background())
	v.trial.turn = make(chan struct{}, 1)
	return v
}

// run starts instances until the supervisor is stopped.
func (v *supervisor) run() {
	defer close(v.done)
	for v.ctx.Err() == nil {
		inst := v.cur.Load()
		if inst == nil {
			v.start()
			continue
		}
		select {
		case <-inst.gone:
			v.crashed(inst)
		case <-v.kick:
		case <-v.ctx.Done():
		}
	}
}

// start tries to start an instance, and waits before it returns where that failed.
func (v *supervisor) start() {
	v.mu.Lock()
	spec := v.spec
	if v.state != stateFailed { // with the circuit open, events do not wait for a try
		v.setState(stateStarting, v.problem)
	}
	v.mu.Unlock()
	inst, err := v.launch(v.ctx, spec, v.gen.Add(1))
	if v.ctx.Err() != nil {
		if err == nil {
			inst.stop()
		}
		return
	}
	v.mu.Lock()
	if v.spec != spec || v.cur.Load() != nil { // somebody was faster
		v.mu.Unlock()
		if err == nil {
			inst.stop()
		}
		return
	}
	if err == nil {
		v.adopt(inst, spec)
		v.mu.Unlock()
		v.rebind(inst.terms.Load(), spec)
		return
	}
	wait, open := v.breaker.died(time.Now(), true)
	v.mu.Unlock()
	v.log.Error("agent does not start", "error", err, "next_try_s", wait.Seconds())
	v.pause(wait, open, err.Error())
}

// adopt makes inst the current instance. v.mu is held.
func (v *supervisor) adopt(inst *instance, s *spec) (old *instance) {
	old = v.cur.Swap(inst)
	v.spec = s
	v.setState(stateRunning, "")
	v.log.Info("agent started", "pid", inst.pid, "version", inst.terms.Load().version,
		"generation", inst.generation, "ms", inst.startTime.Milliseconds())
	return old
}

// setState is called with v.mu held.
func (v *supervisor) setState(state, problem string) {
	v.state, v.problem = state, problem
	close(v.changed)
	v.changed = make(chan struct{})
}

// setProblem says why a stopped agent is stopped.
func (v *supervisor) setProblem(problem string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.setState(v.state, problem)
}

// pause waits before the next start; a kick ends the wait.
func (v *supervisor) pause(wait time.Duration, open bool, problem string) {
	v.mu.Lock()
	v.retryAt = time.Now().Add(wait)
	state := stateBackingOff
	if open {
		state = stateFailed
		v.log.Error("agent given up but for a try now and then", "every_s", longestWait.Seconds(), "problem", problem)
	} else if wait > 0 {
		v.log.Warn("agent backing off", "wait_ms", wait.Milliseconds())
	}
	v.setState(state, problem)
	v.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-v.kick:
	case <-v.ctx.Done():
	}
}

// crashed takes a dead instance out of use and prepares for the next.
func (v *supervisor) crashed(inst *instance) {
	v.mu.Lock()
	if v.cur.Load() != inst {
		v.mu.Unlock()
		return
	}
	v.stats.crashes.Add(1)
	problem := "process died: " + inst.cause.Error()
	back := v.probation != nil && v.probation.inst == inst && v.rollBack("its "+problem)
	if !back {
		v.cur.Store(nil)
	}
	early := !inst.answered.Load()
	var wait time.Duration
	var open bool
	if !back {
		wait, open = v.breaker.died(time.Now(), early)
		v.setState(stateStarting, problem)
	}
	v.mu.Unlock()
	message := "agent crashed"
	if errors.Is(inst.cause, errHung) {
		message = "agent hung, killed"
	}
	v.log.Error(message, "pid", inst.pid, "generation", inst.generation, "cause", inst.cause, "in_flight", inst.lost)
	go v.logExit(inst)
	if wait > 0 || open {
		v.pause(wait, open, problem)
	}
}

// pardon does not hold it against the agent that the instance, whose first event was poison,
// has died of it.
func (v *supervisor) pardon(died *instance) {
	if died.answered.Load() || !died.pardoned.CompareAndSwap(false, true) {
		return
	}
	v.mu.Lock()
	v.breaker.pardon()
	waits := v.state == stateBackingOff || v.state == stateFailed
	v.mu.Unlock()
	if waits {
		v.wake()
	}
}

// logExit says how the process ended, which is known a little after its connection broke.
func (v *supervisor) logExit(inst *instance) {
	<-inst.proc.exited()
	if p, ok := inst.proc.(*process); ok {
		v.log.Info("agent process ended", "pid", inst.pid, "status", p.child.cmd.ProcessState.String())
		v.stats.metLimit(v.log, p)
	}
}

func (v *supervisor) wake() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// snapshot is what get-agent shows.
func (v *supervisor) snapshot() (state, problem string, inst *instance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	problem = v.problem
	switch {
	case problem == "":
		problem = v.undone
	case v.undone != "":
		problem += "; " + v.undone
	}
	return v.state, problem, v.cur.Load()
}

// nextStart is when a process is started again where that is waited for; else zero.
func (v *supervisor) nextStart() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.state == stateBackingOff || v.state == stateFailed {
		return v.retryAt
	}
	return time.Time{}
}
