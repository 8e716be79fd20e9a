package agents

import (
	"errors"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
)

// stats are an agent's counters, over all its supervisors.
type stats struct {
	calls    atomic.Uint64
	failures atomic.Uint64 // the next three among them, and others
	refused  atomic.Uint64
	timeouts atomic.Uint64
	overload atomic.Uint64
	crashes  atomic.Uint64
	poison   atomic.Uint64
	last     atomic.Pointer[Failure]
	limit    atomic.Pointer[string] // the last one that ended a process; nil: none has
}

// Failure is the last thing that the failure policy answered for an agent.
type Failure struct {
	At    time.Time
	Event event.Kind
	Text  string
}

// failed counts a failed event.
func (s *stats) failed(at event.Kind, err error) {
	s.failures.Add(1)
	switch {
	case errors.Is(err, event.ErrTimeout):
		s.timeouts.Add(1)
	case errors.Is(err, event.ErrOverloaded):
		s.overload.Add(1)
	}
	s.last.Store(&Failure{time.Now(), at, oneLine(err.Error(), 300)})
}
