package agent

import (
	"context"
	"sync"
	"time"
)

// deadline is the context of the handlers of one frame. It makes a timer only for a handler
// that waits on it: most never do, and a timer an event would cost more than the handler.
type deadline struct {
	context.Context // the stream's

	mu      sync.Mutex
	at      time.Time
	timed   context.Context // made by the first Done
	cancels []context.CancelFunc
	over    bool
}

func withDeadline(parent context.Context, timeout time.Duration) *deadline {
	return &deadline{Context: parent, at: time.Now().Add(timeout)}
}

func (d *deadline) Deadline() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at, true
}

// extend moves the deadline. What waits on it already keeps the earlier one.
func (d *deadline) extend(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = d.at.Add(by)
	d.timed = nil
}

func (d *deadline) Done() <-chan struct{} { return d.full().Done() }

func (d *deadline) Err() error {
	d.mu.Lock()
	timed, over, at := d.timed, d.over, d.at
	d.mu.Unlock()
	switch {
	case timed != nil:
		return timed.Err()
	case d.Context.Err() != nil:
		return d.Context.Err()
	case over:
		return context.Canceled
	case !time.Now().Before(at):
		return context.DeadlineExceeded
	}
	return nil
}

// Value lets package context find the timed context, which spares a goroutine for each
// context a handler derives.
func (d *deadline) Value(key any) any {
	d.mu.Lock()
	timed := d.timed
	d.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return d.Context.Value(key)
}

func (d *deadline) full() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		timed, cancel := context.WithDeadline(d.Context, d.at)
		d.timed, d.cancels = timed, append(d.cancels, cancel)
		if d.over {
			cancel()
		}
	}
	return d.timed
}

// end ends the context: the handlers of the frame have returned.
func (d *deadline) end() {
	d.mu.Lock()
	d.over = true
	cancels := d.cancels
	d.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
}
