package agents

import (
	"math/rand/v2"
	"time"
)

// Limits of restarts.
const (
	firstBackOff  = 100 * time.Millisecond
	longestWait   = 30 * time.Second // between two starts; also how often an open circuit is tried
	circuitDeaths = 5                // early deaths in deathWindow that open the circuit
	deathsAllowed = 60               // deaths of any kind in deathWindow
	deathWindow   = time.Minute
)

// breaker decides when the next process of an agent is started. Only processes that die
// before their first verdict count for back-off and circuit: one bad message after the other
// must not switch an agent off. The zero value is ready. Not safe for concurrent use.
type breaker struct {
	early  []time.Time // of deaths before the first verdict and failed starts, within the window
	deaths []time.Time // of all, within the window
	row    int         // early deaths without a verdict between them
}

// died notes a death and returns how long to wait before the next start, and whether the
// circuit is open: the agent is given up but for a try now and then.
func (b *breaker) died(now time.Time, early bool) (wait time.Duration, open bool) {
	b.deaths = append(recent(b.deaths, now), now)
	b.early = recent(b.early, now)
	if !early {
		b.row = 0
		if n := len(b.deaths); n > deathsAllowed {
			return b.deaths[n-deathsAllowed].Add(deathWindow).Sub(now), false
		}
		return 0, false
	}
	b.early = append(b.early, now)
	b.row++
	if len(b.early) >= circuitDeaths {
		return longestWait, true
	}
	if b.row == 1 {
		return 0, false
	}
	wait = min(firstBackOff<<min(b.row-2, 10), longestWait)
	return wait*4/5 + rand.N(wait*2/5), false // ± 20 %, so that agents do not start in step
}

// pardon takes back the last early death: a message was to blame, not the agent.
func (b *breaker) pardon() {
	if n := len(b.early); n > 0 {
		b.early = b.early[:n-1]
	}
	b.row = max(b.row-1, 0)
}

// recent drops what is out of the window.
func recent(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) >= deathWindow {
		times = times[1:]
	}
	return times
}
