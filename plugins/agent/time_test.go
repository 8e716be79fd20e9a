package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheProcessEndsWhenNoRelayWatchesItAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan time.Time, 1)
		w := watches{gone: func() { gone <- time.Now() }}
		w.begin()
		w.begin()
		w.end()
		time.Sleep(2 * orphaned)
		w.end() // the last
		time.Sleep(orphaned / 2)
		w.begin() // a relay that came back
		time.Sleep(2 * orphaned)
		if len(gone) > 0 || !w.any() {
			t.Fatal("ended while it was watched")
		}
		left := time.Now()
		w.end()
		if got := (<-gone).Sub(left); got != orphaned {
			t.Errorf("ended after %v, want %v", got, orphaned)
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := withDeadline(t.Context(), time.Second)
		if at, ok := d.Deadline(); !ok || at != time.Now().Add(time.Second) || d.Err() != nil {
			t.Errorf("fresh: %v, %v, %v", at, ok, d.Err())
		}
		time.Sleep(time.Second)
		if d.Err() != context.DeadlineExceeded {
			t.Errorf("past, nobody waited: %v", d.Err())
		}
		d.end()

		d = withDeadline(t.Context(), time.Second)
		inner, cancel := context.WithTimeout(d, time.Minute)
		defer cancel()
		start := time.Now()
		<-inner.Done()
		if waited := time.Since(start); waited != time.Second || d.Err() != context.DeadlineExceeded {
			t.Errorf("waited %v: %v", waited, d.Err())
		}
		d.end()

		d = withDeadline(t.Context(), time.Second)
		d.end() // the handler has returned
		if <-d.Done(); d.Err() != context.Canceled {
			t.Errorf("after the handler: %v", d.Err())
		}

		d = withDeadline(t.Context(), time.Second)
		early := d.Done()
		d.extend(time.Second)
		start = time.Now()
		<-early // who waited before is told as before
		if waited := time.Since(start); waited != time.Second || d.Err() != nil {
			t.Errorf("waited %v: %v", waited, d.Err())
		}
		<-d.Done()
		if waited := time.Since(start); waited != 2*time.Second || d.Err() != context.DeadlineExceeded {
			t.Errorf("extended, waited %v: %v", waited, d.Err())
		}
		d.end()

		parent, cancelParent := context.WithCancel(t.Context())
		d = withDeadline(parent, time.Second)
		cancelParent() // the relay gave the session up
		if d.Err() != context.Canceled {
			t.Errorf("cancelled stream: %v", d.Err())
		}
		<-d.Done()
		d.end()
	})
}
