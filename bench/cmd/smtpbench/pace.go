package main

import (
	"sync/atomic"
	"time"
)

// pacer hands out the instants at which messages are due, at an even rate, to
// sessions that share it. Without a rate a message is due at once.
type pacer struct {
	begin    time.Time
	interval time.Duration
	n        atomic.Int64
}

func newPacer(perSecond float64) *pacer {
	p := &pacer{begin: time.Now()}
	if perSecond > 0 {
		p.interval = time.Duration(float64(time.Second) / perSecond)
	}
	return p
}

// next waits until the next message is due and returns when its latency
// starts. A session that was still busy when the message fell due starts at
// that instant, so that a relay which falls behind is charged for the wait
// (no coordinated omission); one that waited for it starts when it woke, so
// that the timer's lateness is not the relay's.
func (p *pacer) next() time.Time {
	if p.interval == 0 {
		return time.Now()
	}
	due := p.due(p.n.Add(1) - 1)
	if wait := time.Until(due); wait > 0 {
		time.Sleep(wait)
		return time.Now()
	}
	return due
}

func (p *pacer) due(n int64) time.Time { return p.begin.Add(time.Duration(n) * p.interval) }
