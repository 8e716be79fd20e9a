package agent

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// Handing an event from goroutine to goroutine is cheaper within one processor than across
// two: a quarter of the time and of the processor time of an event, where handlers do little.
// So an agent begins on one processor, and gets all of them for as long as it uses most of
// one. GOMAXPROCS in the environment decides otherwise.

const (
	shareTick = 200 * time.Millisecond
	// busyShare of one processor is when one is not enough, calmShare when it is again, once that
	// has lasted for calmTicks.
	busyShare = 0.6
	calmShare = 0.3
	calmTicks = 25
)

// shareProcessors adapts the number of processors to the work, for the life of the process.
func shareProcessors() {
	all := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") != "" || all == 1 {
		return
	}
	runtime.GOMAXPROCS(1)
	go func() {
		s := sharing{all: all, now: 1}
		last, at := processorTime(), time.Now()
		for range time.Tick(shareTick) {
			used, now := processorTime(), time.Now()
			if n := s.next(float64(used-last) / float64(now.Sub(at))); n != 0 {
				runtime.GOMAXPROCS(n)
			}
			last, at = used, now
		}
	}()
}

// sharing is the rule by which processors are given and taken.
type sharing struct {
	all, now int
	calm     int // ticks in a row
}

// next returns the number of processors to use from now on, 0 where it does not change. busy
// is the time used since the last tick, in processors.
func (s *sharing) next(busy float64) int {
	if busy >= calmShare {
		s.calm = 0
	} else {
		s.calm++
	}
	switch {
	case s.now == 1 && busy > busyShare:
		s.now = s.all
	case s.now > 1 && s.calm >= calmTicks:
		s.now = 1
	default:
		return 0
	}
	return s.now
}

// processorTime is what the process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
