package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"example.org/relay/relay/event"
)

// MaxBagBytes is how much an agent may keep in the bags of a session, keys and values of both
// scopes together.
const MaxBagBytes = 64 << 10

// MaxProperties is in how many entries: each of them goes to every other agent with some octets of its
// own, and a frame has an end.
const MaxProperties = 1000

// maxKey is how long a key may be, in bytes.
const maxKey = 256

func (t *trial) setProperty(e *event.Edit) error {
	p := e.Property
	p.Agent = t.b.Name // nobody writes in another's namespace
	if p.Key == "" || len(p.Key) > maxKey || !utf8.ValidString(p.Key) || strings.ContainsFunc(p.Key, isControl) {
		return fmt.Errorf("key %.80q: must be 1 to %d bytes of UTF-8 without control characters", p.Key, maxKey)
	}
	switch {
	case p.Scope != event.ScopeSession && p.Scope != event.ScopeMessage:
		return fmt.Errorf("unknown scope %d", p.Scope)
	case p.Scope == event.ScopeMessage && t.s.State.Envelope == nil:
		return errors.New("there is no message whose bag it could go into")
	}
	if !t.bagged {
		t.bag, t.bagged = slices.Clone(t.s.State.Bag), true
	}
	i := slices.IndexFunc(t.bag, func(q event.Property) bool {
		return q.Scope == p.Scope && q.Agent == p.Agent && q.Key == p.Key
	})
	p.Value = bytes.Clone(p.Value)
	switch {
	case e.Removed && i >= 0:
		t.bag = slices.Delete(t.bag, i, i+1)
	case e.Removed:
	case i >= 0:
		t.bag[i] = p
	default:
		t.bag = append(t.bag, p)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// checkBag says whether an agent keeps too much.
func checkBag(bag []event.Property, agent string) error {
	n, entries := 0, 0
	for i := range bag {
		if bag[i].Agent == agent {
			entries++
			n += len(bag[i].Key) + len(bag[i].Value)
		}
	}
	if n > MaxBagBytes {
		return fmt.Errorf("properties of %d bytes: an agent may keep %d in a session", n, MaxBagBytes)
	}
	if entries > MaxProperties {
		return fmt.Errorf("%d properties: an agent may keep %d in a session", entries, MaxProperties)
	}
	return nil
}
