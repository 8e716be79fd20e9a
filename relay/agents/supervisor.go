package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	faults   []time.Time          // protocol faults of the last minute
	renewing bool                 // a successor is being started
	renewed  time.Time            // when the last one was
	bound    []event.Subscription // of the last instance; nil: there was none

	trial trial
}

func newSupervisor(s *spec, log *slog.Logger, st *stats, gen *atomic.Uint64) *supervisor {
	v := &supervisor{
		log: log, stats: st, gen: gen, onRebind: func() {}, spec: s, state: stateStarting,
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
	inst.terms.Store(t)
	v.spec = s
	v.mu.Unlock()
	v.rebind(t, s)
	v.log.Info("agent configured anew", "pid", inst.pid)
	return true, nil
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
	v.cur.Store(nil)
	v.stats.crashes.Add(1)
	early := !inst.answered.Load()
	wait, open := v.breaker.died(time.Now(), early)
	problem := "process died: " + inst.cause.Error()
	v.setState(stateStarting, problem)
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

// swap starts an instance of another spec beside the current one and puts it in its place.
// Where that fails the current one is untouched.
func (v *supervisor) swap(ctx context.Context, s *spec) error {
	inst, err := v.launch(ctx, s, v.gen.Add(1))
	if err != nil {
		return err
	}
	v.mu.Lock()
	if v.ctx.Err() != nil {
		v.mu.Unlock()
		inst.stop()
		return fmt.Errorf("agent %s: stopped meanwhile", s.Name)
	}
	v.breaker = breaker{}
	v.succeed(inst, s)
	return nil
}

// succeed puts inst in the place of the current instance, which finishes what it has in
// flight. v.mu is held and released.
func (v *supervisor) succeed(inst *instance, s *spec) {
	old := v.adopt(inst, s)
	v.mu.Unlock()
	v.wake()
	v.rebind(inst.terms.Load(), s)
	if old != nil {
		v.log.Info("agent swapped", "pid", inst.pid, "old_pid", old.pid, "path", s.Path, "sha256", s.SHA256)
		go old.retire(retireTime)
	}
}

func (v *supervisor) wake() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

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
	v.setState(stateStopped, "")
	v.mu.Unlock()
	if inst != nil {
		if grace == 0 {
			inst.fail(errSilenced)
		} else {
			inst.stop()
		}
		v.log.Info("agent stopped", "pid", inst.pid)
	}
	v.trial.close()
}

// snapshot is what get-agent shows.
func (v *supervisor) snapshot() (state, problem string, inst *instance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state, v.problem, v.cur.Load()
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
