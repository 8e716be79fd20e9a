package agents

import (
	"context"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// fitness is what an instance says of itself and how its last calls ended. Safe for concurrent use.
type fitness struct {
	well chan struct{} // closed at the first status that says so
	bad  chan struct{} // closed at a status that asks for a restart
	once [2]sync.Once
	says atomic.Pointer[string] // of the last status

	calls    atomic.Uint64
	outcomes atomic.Uint64 // a bit for each of the last 64 calls, the last one lowest: 1 has failed
}

func newFitness() fitness {
	return fitness{well: make(chan struct{}), bad: make(chan struct{})}
}

// heard takes a status. One without a state is of an agent that has nothing to say, and well.
func (h *fitness) heard(s *agentv1.AgentStatus) {
	detail := oneLine(s.Detail, 200)
	h.says.Store(&detail)
	switch s.State {
	case agentv1.AgentStatus_STATE_READY, agentv1.AgentStatus_STATE_UNSPECIFIED:
		h.once[0].Do(func() { close(h.well) })
	case agentv1.AgentStatus_STATE_RESTART_ME:
		h.once[1].Do(func() { close(h.bad) })
	}
}

// ready waits until the instance says that it is well, for as long as Configure may take. One
// that says less, or asks for another process, is not to be put in the place of one that works.
func (i *instance) ready(ctx context.Context) error {
	timer := time.NewTimer(configureTime)
	defer timer.Stop()
	problem := fmt.Sprintf("does not say that it is ready within %s", configureTime)
	select {
	case <-i.health.well:
		return nil
	case <-i.gone:
		return fmt.Errorf("agent %s: the new process died before it was ready: %w", i.name, i.cause)
	case <-ctx.Done():
		return ctx.Err()
	case <-i.health.bad:
		problem = "asks for a restart as soon as it runs"
	case <-timer.C:
	}
	if says := i.health.says.Load(); says != nil && *says != "" {
		problem += ": " + *says
	}
	return fmt.Errorf("agent %s: the new process %s", i.name, problem)
}

// ended notes how a call has ended.
func (h *fitness) ended(failed bool) {
	h.calls.Add(1)
	var bit uint64
	if failed {
		bit = 1
	}
	for {
		old := h.outcomes.Load()
		if h.outcomes.CompareAndSwap(old, old<<1|bit) {
			return
		}
	}
}

// recant says that the last call, which looked well, has failed: its verdict could not be used.
func (h *fitness) recant() { h.outcomes.Or(1) }

// share returns how many of the last calls, 64 at most, have failed.
func (h *fitness) share() (failed, of int) {
	return bits.OnesCount64(h.outcomes.Load()), int(min(h.calls.Load(), 64))
}

// What is held to be clearly worse: one failure may be chance, and so may a few in a hundred;
// and where the predecessor has failed as well, as when a server that both ask is away, going
// back to it mends nothing.
const (
	leastFailures = 3
	leastShare    = 10 // per cent
)

// worseThan reports whether clearly more of the last calls have failed than of the other's: at
// least three, a tenth of all, and more than twice the other's share.
func (h *fitness) worseThan(other *fitness) bool {
	failed, of := h.share()
	if failed < leastFailures || failed*100 < of*leastShare {
		return false
	}
	was, wasOf := other.share()
	return failed*max(wasOf, 1) > 2*was*of
}
