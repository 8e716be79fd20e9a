package event

import "fmt"

// Filter narrows the sessions and messages that an agent is asked about. All that is set must
// match; the zero value matches everything. What an event cannot know yet matches: a filter
// by recipients says nothing about OnConnect.
type Filter struct {
	Listeners        []string // addresses, as configured
	RecipientDomains []string // "example.org", "*.example.org": at least one recipient is in one of them
	SenderDomains    []string // the same for the sender; the null sender is in none
	Direction        Direction
	Login            Login
	MaxSize          uint64 // octets, of what MAIL says the message has; 0: no limit
}

// IsZero reports whether the filter matches everything.
func (f *Filter) IsZero() bool {
	return len(f.Listeners) == 0 && len(f.RecipientDomains) == 0 && len(f.SenderDomains) == 0 &&
		f.Direction == AnyDirection && f.Login == AnyLogin && f.MaxSize == 0
}

// Direction is where a client stands.
type Direction uint8

// The directions.
const (
	AnyDirection Direction = iota
	Inbound                // from a client that is not in networks.relay
	Internal               // from one that is
)

var directionNames = [...]string{"any", "inbound", "internal"}

// String returns the word operators use.
func (d Direction) String() string { return directionNames[d] }

// ParseDirection reads the word; "" is any.
func ParseDirection(word string) (Direction, error) {
	for i, name := range directionNames {
		if word == name {
			return Direction(i), nil
		}
	}
	if word == "" {
		return AnyDirection, nil
	}
	return 0, fmt.Errorf("direction %q: must be inbound, internal or any", word)
}

// Login is whether a client has logged in.
type Login uint8

// What a filter can want of it.
const (
	AnyLogin Login = iota
	LoggedIn
	Anonymous
)

var loginNames = [...]string{"any", "yes", "no"}

// String returns the word operators use: has the client logged in?
func (l Login) String() string { return loginNames[l] }

// ParseLogin reads the word; "" is any.
func ParseLogin(word string) (Login, error) {
	for i, name := range loginNames {
		if word == name {
			return Login(i), nil
		}
	}
	if word == "" {
		return AnyLogin, nil
	}
	return 0, fmt.Errorf("authenticated %q: must be yes, no or any", word)
}
