package main

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPacerChargesTheWaitToARelayThatFallsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		p := newPacer(10)
		at := func() time.Duration { return p.next().Sub(begin) }
		if got := at(); got != 0 {
			t.Errorf("first message due after %v, want at once", got)
		}
		if got := at(); got != 100*time.Millisecond {
			t.Errorf("second message due after %v, want 100ms", got)
		}
		time.Sleep(time.Second) // the relay takes so long
		if got := at(); got != 200*time.Millisecond {
			t.Errorf("message after the wait starts at %v, want when it was due, 200ms", got)
		}
	})
}

func TestPacerWithoutARateNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		p := newPacer(0)
		for range 3 {
			if got := p.next().Sub(begin); got != 0 {
				t.Errorf("message due after %v, want at once", got)
			}
		}
	})
}
