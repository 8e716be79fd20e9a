package agents

import (
	"fmt"
	"strings"

	"example.org/relay/relay/event"
)

// Bounds are what can be said of an agent at install and changed later: what it may do, what
// it is asked about, what its processes may use. What is nil stays as it is, or at install is
// the default. The zero value says nothing.
type Bounds struct {
	// Grant and Deny are permissions among those that the agent asks for; event.AllPermissions
	// are all of these. At install only what is in Grant is granted, later that too.
	Grant, Deny *event.Permissions
	Only        Narrowing
	Confine     Confinement
}

// Narrowing changes Entry.Only.
type Narrowing struct {
	Listeners, RecipientDomains, SenderDomains *[]string // empty: any
	Direction                                  *event.Direction
	Login                                      *event.Login
	MaxSize                                    *uint64
}

// Confinement changes Entry.Confine.
type Confinement struct {
	Sessions, Processor, Processes Change[int]
	Memory                         Change[uint64]
	User                           Change[string]
	ReadOnly                       Change[bool]
	ReadPaths                      *[]string // empty: none
}

// Change is a new value for what has a default. The zero value leaves it as it is.
type Change[T any] struct {
	Made bool
	To   *T // nil: the default
}

func (c Change[T]) apply(to **T) {
	if c.Made {
		*to = c.To
	}
}

func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// narrow puts what is said of narrowing and confining into the entry.
func (b *Bounds) narrow(e *Entry) {
	set(&e.Only.Listeners, b.Only.Listeners)
	set(&e.Only.RecipientDomains, b.Only.RecipientDomains)
	set(&e.Only.SenderDomains, b.Only.SenderDomains)
	set(&e.Only.Direction, b.Only.Direction)
	set(&e.Only.Login, b.Only.Login)
	set(&e.Only.MaxSize, b.Only.MaxSize)
	b.Confine.Sessions.apply(&e.Confine.Sessions)
	b.Confine.Memory.apply(&e.Confine.Memory)
	b.Confine.Processor.apply(&e.Confine.Processor)
	b.Confine.Processes.apply(&e.Confine.Processes)
	b.Confine.User.apply(&e.Confine.User)
	b.Confine.ReadOnly.apply(&e.Confine.ReadOnly)
	set(&e.Confine.ReadPaths, b.Confine.ReadPaths)
	if len(e.Confine.ReadPaths) == 0 {
		e.Confine.ReadPaths = nil
	}
}

// permit grants the agent what it asks for, of what it has had and what is said now.
func (b *Bounds) permit(e *Entry, had event.Permissions) error {
	asks := e.Described.Asks
	e.Granted = had & asks
	if b.Grant != nil {
		more := *b.Grant
		if more == event.AllPermissions {
			more = asks
		}
		if beyond := more &^ asks; beyond != 0 {
			return fmt.Errorf("agent %s does not ask for %s, so it cannot be granted; it asks for %s",
				e.Name, strings.Join(beyond.List(), ", "), orNothing(asks))
		}
		e.Granted |= more
	}
	if b.Deny != nil {
		e.Granted &^= *b.Deny
	}
	return nil
}

// permitNew grants an agent that is to be installed what it asks for, or what is said.
func (b *Bounds) permitNew(e *Entry) error {
	if b.Grant == nil {
		return b.permit(e, e.Described.Asks)
	}
	return b.permit(e, 0)
}

// changesNetwork reports whether the agent gets the network or loses it, which is a matter of how
// its process was started.
func (b *Bounds) changesNetwork(old *Entry) bool {
	had := old.Granted.Has(event.MayNetwork)
	gets := !had && b.Grant != nil && b.Grant.Has(event.MayNetwork) && old.Described.Asks.Has(event.MayNetwork)
	loses := had && b.Deny != nil && b.Deny.Has(event.MayNetwork)
	return gets || loses
}

func orNothing(p event.Permissions) string {
	if p == 0 {
		return "nothing"
	}
	return strings.Join(p.List(), ", ")
}

// changes are what was said, as it is now, for the log.
func (b *Bounds) changes(e *Entry) (all []any) {
	if b.Grant != nil || b.Deny != nil {
		all = append(all, "granted", orNothing(e.Granted))
	}
	for _, c := range []struct {
		said bool
		name string
		now  any
	}{
		{b.Only.Listeners != nil, "only_listeners", e.Only.Listeners},
		{b.Only.RecipientDomains != nil, "only_recipient_domains", e.Only.RecipientDomains},
		{b.Only.SenderDomains != nil, "only_sender_domains", e.Only.SenderDomains},
		{b.Only.Direction != nil, "only_direction", e.Only.Direction},
		{b.Only.Login != nil, "only_authenticated", e.Only.Login},
		{b.Only.MaxSize != nil, "only_max_size", e.Only.MaxSize},
		{b.Confine.Sessions.Made, "max_sessions", orUnset(e.Confine.Sessions)},
		{b.Confine.Memory.Made, "max_memory", orUnset(e.Confine.Memory)},
		{b.Confine.Processor.Made, "max_processor", orUnset(e.Confine.Processor)},
		{b.Confine.Processes.Made, "max_processes", orUnset(e.Confine.Processes)},
		{b.Confine.User.Made, "user", orUnset(e.Confine.User)},
		{b.Confine.ReadOnly.Made, "read_only", orUnset(e.Confine.ReadOnly)},
		{b.Confine.ReadPaths != nil, "read_paths", e.Confine.ReadPaths},
	} {
		if c.said {
			all = append(all, c.name, c.now)
		}
	}
	return all
}

func orUnset[T any](value *T) any {
	if value == nil {
		return "default"
	}
	return *value
}
