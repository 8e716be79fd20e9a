package agent

import (
	"encoding/json"
	"fmt"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Key names a value of type T in the bag of a session or a message. The relay keeps the bags:
// later agents of the same event and later events see what was set, also after the agent
// was restarted or replaced. Values are JSON; all that an agent sets in a session may be
// 64 KiB. A Key is safe for concurrent use.
type Key[T any] struct {
	name    string
	scope   agentv1.Property_Scope
	private bool
}

// SessionKey names a value that lives as long as the session. "other/score" reads the value
// that the agent installed as "other" has set; an agent writes only its own.
func SessionKey[T any](name string) Key[T] {
	return Key[T]{name: name, scope: agentv1.Property_SCOPE_SESSION}
}

// MessageKey names a value that lives as long as the message, also in the queue.
func MessageKey[T any](name string) Key[T] {
	return Key[T]{name: name, scope: agentv1.Property_SCOPE_MESSAGE}
}

// Private returns the key for a value that no other agent reads.
func (k Key[T]) Private() Key[T] {
	k.private = true
	return k
}

// Carrier is what has bags: a *Session or a *Message. A session's message bag is that of its
// running message.
type Carrier interface{ session() *Session }

func (s *Session) session() *Session { return s }
func (m *Message) session() *Session { return m.s }

// Get returns the value, the zero T where there is none or it is of another type.
func (k Key[T]) Get(c Carrier) T {
	v, _ := k.Lookup(c)
	return v
}

// Lookup returns the value and whether it is there.
func (k Key[T]) Lookup(c Carrier) (T, bool) {
	var v T
	s := c.session()
	b := k.bag(s)
	if b == nil {
		return v, false
	}
	data, ok := b.values[s.qualified(k.name)]
	if !ok || json.Unmarshal(data, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// Set stores v. It goes to the relay with the next verdict; a watching handler may set too.
// It panics where T is no JSON, where the key is another agent's, and where there is no
// message for a message's key: faults of the program, reported as the handler's failure.
func (k Key[T]) Set(c Carrier, v T) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("bag: %s: %v", k.name, err))
	}
	k.write(c.session(), data, false)
}

// Delete removes the value. It panics as Set does.
func (k Key[T]) Delete(c Carrier) { k.write(c.session(), nil, true) }

func (k Key[T]) bag(s *Session) *bag {
	if k.scope == agentv1.Property_SCOPE_SESSION {
		return &s.bag
	}
	if s.message == nil {
		return nil
	}
	return &s.message.bag
}

func (k Key[T]) write(s *Session, data []byte, removed bool) {
	if strings.Contains(k.name, "/") {
		panic(fmt.Sprintf("bag: %s: an agent writes only keys of its own", k.name))
	}
	b := k.bag(s)
	if b == nil {
		panic(fmt.Sprintf("bag: %s: there is no message", k.name))
	}
	before := b.clone()
	s.onFailure(func() { *b = before })
	b.put(s.qualified(k.name), data, removed)
	s.record(&agentv1.Edit{Op: &agentv1.Edit_SetProperty{SetProperty: &agentv1.SetProperty{
		Private:  k.private,
		Property: &agentv1.Property{Scope: k.scope, Key: k.name, Value: data, Removed: removed},
	}}})
}
