package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Heartbeats of an agent, and how many may fail to come.
const (
	heartbeat    = time.Second
	maxMissed    = 3
	maxIdle      = 256 // streams kept for the next sessions
	mercyOnError = 500 * time.Millisecond
)

// Why an instance is gone, beside how its process ended.
var (
	errHung     = errors.New("hung: no heartbeat in 3 s")
	errRetired  = errors.New("retired")
	errSilenced = errors.New("cut off by the operator")
)

// handle is the process behind an instance.
type handle interface {
	end(grace time.Duration)
	exited() <-chan struct{}
}

// instance is one process of an agent, configured and answering, until it is gone. Safe for
// concurrent use.
type instance struct {
	agentv1.AgentServiceClient
	name       string // of the agent
	generation uint64
	pid        int
	started    time.Time
	startTime  time.Duration // from exec to ready
	proc       handle
	terms      atomic.Pointer[terms]
	edition    atomic.Uint64 // of the spec that it has taken last
	program    string        // what it was started from
	log        *slog.Logger

	ctx    context.Context // of all its streams
	cancel context.CancelFunc
	gone   chan struct{} // closed when it cannot be used any more
	once   sync.Once
	cause  error // after gone
	lost   int64 // after gone: calls that were in flight

	answered atomic.Bool // it has given a verdict
	pardoned atomic.Bool // its early death counts no more
	degraded atomic.Bool
	beats    atomic.Uint64
	health   fitness
	faults   []time.Time // of protocol, in the last minute; guarded by the supervisor's mu
	undone   atomic.Bool // it failed on probation: its predecessor is asked in its place

	deciding atomic.Int64 // Invariant: calls in flight, while not retiring or until idle.
	holds    atomic.Int64 // Invariant: transactions that stay with it, while not retiring or until idle.
	retiring atomic.Bool
	idle     chan struct{} // closed when retiring and nobody needs it
	idleOnce sync.Once

	slots chan struct{} // one for each session it takes; nil: no limit
	mu    sync.Mutex
	free  []*stream // last in, first out: the warm ones
}

func newInstance(name string, client agentv1.AgentServiceClient, proc handle, t *terms, log *slog.Logger) *instance {
	i := &instance{
		AgentServiceClient: client, name: name, proc: proc, log: log, started: time.Now(),
		gone: make(chan struct{}), idle: make(chan struct{}), health: newFitness(),
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	i.terms.Store(t)
	if t.sessions > 0 {
		i.slots = make(chan struct{}, t.sessions)
	}
	return i
}

// watch opens the stream whose end tells of a crash, waits for the first status, and leaves
// the watching to the background. onStatus is called with each status.
func (i *instance) watch(ctx context.Context, onStatus func(*agentv1.AgentStatus)) error {
	w, err := i.Watch(i.ctx, &agentv1.WatchRequest{HeartbeatMs: uint32(heartbeat / time.Millisecond)})
	if err != nil {
		return fmt.Errorf("agent %s: watch: %w", i.name, err)
	}
	first := make(chan error, 1)
	go func() {
		status, err := w.Recv()
		first <- err
		for err == nil {
			i.beats.Add(1)
			i.health.heard(status)
			onStatus(status)
			status, err = w.Recv()
		}
		i.fail(errors.New("connection lost"))
	}()
	timer := time.NewTimer(configureTime)
	defer timer.Stop()
	select {
	case err = <-first:
	case <-timer.C:
		err = errors.New("no status in time")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("agent %s: watch: %w", i.name, err)
	}
	go i.guard()
	return nil
}

// guard ends the instance when its process ends or no heartbeat comes. It counts ticks
// without one, so that a pause of the relay itself does not look like three missed.
func (i *instance) guard() {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	missed, seen := 0, i.beats.Load()
	for {
		select {
		case <-i.gone:
			return
		case <-i.proc.exited():
			i.fail(errors.New("process ended"))
			return
		case <-tick.C:
		}
		if now := i.beats.Load(); now != seen {
			missed, seen = 0, now
			continue
		}
		if missed++; missed >= maxMissed {
			i.fail(errHung)
			return
		}
	}
}

// fail makes the instance gone and kills the process. The first cause counts.
func (i *instance) fail(cause error) {
	i.once.Do(func() {
		i.cause = cause
		i.lost = i.deciding.Load()
		close(i.gone)
		i.cancel()
		i.proc.end(0)
	})
}

// stop ends the instance politely. It returns when the process has ended or was killed.
func (i *instance) stop() {
	i.once.Do(func() {
		i.cause = errRetired
		close(i.gone)
		i.proc.end(politeTime)
		i.cancel()
	})
}

// dismiss is stop for one that is not trusted to come to an end of what it has in flight:
// that goes to its successor at once.
func (i *instance) dismiss() {
	i.once.Do(func() {
		i.cause = errRetired
		close(i.gone)
		i.cancel()
		i.proc.end(politeTime)
	})
}

func (i *instance) isGone() bool {
	select {
	case <-i.gone:
		return true
	default:
		return false
	}
}

// usable reports whether a new event may go to it.
func (i *instance) usable() bool { return !i.retiring.Load() && !i.isGone() }
