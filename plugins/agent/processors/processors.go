// Package processors gives a process of many short hand-overs as many processors as its work
// needs, and no more. The relay and its agents use it.
//
// Handing work from goroutine to goroutine is cheaper within one processor than across two: up
// to a quarter of the time and of the processor time of an event, where little is done with it.
// So a process begins on one processor, and gets all of them for as long as it uses most of one.
package processors

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

const (
	shareTick = 200 * time.Millisecond
	// busyShare of the one processor, for busyTicks in a row, is when it is not enough. calmShare,
	// for calmTicks, is when it is again: the same work takes more on several.
	busyShare = 0.85
	busyTicks = 2
	calmShare = 0.7
	calmTicks = 5
)

// Share adapts the number of processors to the work, for the life of the process. GOMAXPROCS
// in the environment decides otherwise.
func Share() {
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
	all, now   int
	busy, calm int // ticks in a row
}

// next returns the number of processors to use from now on, 0 where it does not change. busy
// is the time used since the last tick, in processors.
func (s *sharing) next(busy float64) int {
	if s.busy++; busy <= busyShare {
		s.busy = 0
	}
	if s.calm++; busy >= calmShare {
		s.calm = 0
	}
	switch {
	case s.now == 1 && s.busy >= busyTicks:
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
