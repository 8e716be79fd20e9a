package agents

import (
	"testing"
	"time"
)

func TestEarlyDeathsBackOffAndOpenTheCircuit(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{0, firstBackOff, 2 * firstBackOff, 4 * firstBackOff} {
		wait, open := b.died(now, true)
		if wait < want*4/5 || wait > want*6/5 || open {
			t.Errorf("death %d: wait %s, open %t, want about %s", i+1, wait, open, want)
		}
		now = now.Add(wait)
	}
	if wait, open := b.died(now, true); wait != longestWait || !open {
		t.Errorf("fifth death: wait %s, open %t", wait, open)
	}
	now = now.Add(deathWindow)
	if wait, open := b.died(now, true); open || wait > longestWait {
		t.Errorf("a minute later: wait %s, open %t", wait, open)
	}
}

func TestLateDeathsRestartAtOnceUpToACap(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	for i := range deathsAllowed {
		if wait, open := b.died(now, false); wait != 0 || open {
			t.Fatalf("death %d: wait %s, open %t", i+1, wait, open)
		}
		now = now.Add(500 * time.Millisecond)
	}
	wait, open := b.died(now, false)
	if open || wait <= 0 || wait > deathWindow {
		t.Errorf("above the cap: wait %s, open %t", wait, open)
	}
	if wait, _ := b.died(now.Add(2*deathWindow), false); wait != 0 {
		t.Errorf("two minutes later: wait %s", wait)
	}
}

func TestAVerdictEndsTheBackOff(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	b.died(now, true)
	b.died(now, true)
	b.died(now, false)
	if wait, _ := b.died(now, true); wait != 0 {
		t.Errorf("wait %s, want none", wait)
	}
}
