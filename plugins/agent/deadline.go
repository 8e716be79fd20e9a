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
	at              time.Time

	mu     sync.Mutex
	timed  context.Context // made by the first Done
	cancel context.CancelFunc
	over   bool
}

func withDeadline(parent context.Context, timeout time.Duration) *deadline {
	return &deadline{Context: parent, at: time.Now().Add(timeout)}
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) Done() <-chan struct{} { return d.full().Done() }

func (d *deadline) Err() error {
	d.mu.Lock()
	timed, over := d.timed, d.over
	d.mu.Unlock()
	switch {
	case timed != nil:
		return timed.Err()
	case d.Context.Err() != nil:
		return d.Context.Err()
	case over:
		return context.Canceled
	case !time.Now().Before(d.at):
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
		d.timed, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.over {
			d.cancel()
		}
	}
	return d.timed
}

// end ends the context: the handlers of the frame have returned.
func (d *deadline) end() {
	d.mu.Lock()
	d.over = true
	cancel := d.cancel
	d.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
