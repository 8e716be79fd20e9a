package agents

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
)

// How long what kills an agent is remembered. A message is tempfailed, so its sender comes
// again, over another connection; each time the memory has ended it costs the agent one death
// more, to see whether it still does.
const (
	firstMemory = 15 * time.Minute
	longMemory  = 8 * time.Hour
	maxPoisons  = 1000
)

// poisonKey is what a retry has again: the client's address, the event, sender, recipients
// and, once there is a header section, the Message-ID, or all fields but the trace.
type poisonKey [sha256.Size]byte

// poisons remembers what killed an agent, until its program or settings change. The zero value
// is ready. Safe for concurrent use.
type poisons struct {
	some atomic.Bool // there may be any: without, nothing is looked up

	mu    sync.Mutex
	known map[poisonKey]*poison // Invariant: at most maxPoisons.
}

type poison struct {
	deaths int
	until  time.Time // afterwards it is shown again, but its deaths are remembered as long again
	spared int       // times it was not shown
}

// forgotten is when even the number of deaths is.
func (p *poison) forgotten() time.Time { return p.until.Add(memory(p.deaths)) }

func memory(deaths int) time.Duration {
	return min(firstMemory<<min(deaths-1, 10), longMemory)
}

// remember notes that what has this key has killed the agent, and returns for how long it is
// not shown again.
func (p *poisons) remember(k poisonKey, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[poisonKey]*poison{}
	}
	at := p.known[k]
	if at == nil || now.After(at.forgotten()) {
		p.makeRoom(now)
		at = &poison{}
		p.known[k] = at
	}
	at.deaths++
	d := memory(at.deaths)
	at.until = now.Add(d)
	p.some.Store(true)
	return d
}

// makeRoom drops what is forgotten, and where that is not enough what is forgotten next.
func (p *poisons) makeRoom(now time.Time) {
	var next poisonKey
	var when time.Time
	for k, at := range p.known {
		f := at.forgotten()
		if now.After(f) {
			delete(p.known, k)
			continue
		}
		if when.IsZero() || f.Before(when) {
			next, when = k, f
		}
	}
	if len(p.known) >= maxPoisons {
		delete(p.known, next)
	}
}

// kills reports whether what has this key is not to be shown, and how often it was not so far.
func (p *poisons) kills(k poisonKey, now time.Time) (spared int, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.known[k]
	if at == nil || !now.Before(at.until) {
		return 0, false
	}
	at.spared++
	return at.spared, true
}

// clear forgets all: another program, or other settings, may live through it.
func (p *poisons) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = nil
	p.some.Store(false)
}

// keyOf makes the key of an event that is shown with this state.
func keyOf(e *event.Event, state *event.State) poisonKey {
	h := sha256.New()
	if state.Connection != nil {
		fmt.Fprintf(h, "%s\n", state.Connection.Remote.Addr().Unmap())
	}
	fmt.Fprintf(h, "%d\n%q\n%q\n", e.Kind, e.From.String(), e.Argument)
	if env := state.Envelope; env != nil {
		fmt.Fprintf(h, "%q\n", env.From.String())
		for i := range env.Recipients {
			fmt.Fprintf(h, "%q\n", env.Recipients[i].Original.String())
		}
	}
	if e.Kind == event.RcptCommand {
		fmt.Fprintf(h, "%q\n", e.Recipient.Path.String())
	}
	addHeader(h, state)
	return poisonKey(h.Sum(nil))
}

func addHeader(h hash.Hash, state *event.State) {
	if state.Header == nil {
		return
	}
	if id, ok := state.Header.First("Message-ID"); ok {
		fmt.Fprintf(h, "id %q\n", strings.TrimSpace(string(id.Value())))
		return
	}
	for f := range state.Header.All() {
		if !f.Is("Received") { // ours has a time and an id
			h.Write(f.Raw)
		}
	}
}

// killedBefore reports whether the event has killed the agent on another connection.
func (c *Conversation) killedBefore(e *event.Event, state *event.State) bool {
	p := &c.sup.poisons
	if !p.some.Load() {
		return false
	}
	spared, yes := p.kills(keyOf(e, state), time.Now())
	if !yes {
		return false
	}
	c.markPoison(state)
	c.sup.log.Warn("message that killed the agent came again, it is not shown", "session", c.session,
		"message", messageID(state), "event", e.Kind.String(), "times", spared)
	return true
}
