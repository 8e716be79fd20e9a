package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/relay/relay/mail"
)

// Filter narrows the sessions and messages that an agent is asked about. All that is set must
// match; the zero value matches everything. What an event cannot know yet matches: a filter
// by recipients says nothing about OnConnect. Where an agent and the operator both narrow, both
// filters must match, by one and the same recipient where both are by recipients.
type Filter struct {
	Listeners        []string // addresses, as configured
	RecipientDomains []string // "example.org", "*.example.org": at least one recipient is in one of them
	SenderDomains    []string // the same for the sender; the null sender is in none
	Direction        Direction
	Login            Login
	MaxSize          uint64 // octets, of what MAIL says the message has or is known to have by now; 0: no limit
}

// Equal reports whether the filters say the same in the same order.
func (f Filter) Equal(g Filter) bool {
	return slices.Equal(f.Listeners, g.Listeners) && slices.Equal(f.RecipientDomains, g.RecipientDomains) &&
		slices.Equal(f.SenderDomains, g.SenderDomains) && f.Direction == g.Direction && f.Login == g.Login && f.MaxSize == g.MaxSize
}

// Within reports whether f matches nothing that g does not: f may be narrower than g, never wider.
func (f Filter) Within(g Filter) bool {
	return among(f.Listeners, g.Listeners) && covered(f.RecipientDomains, g.RecipientDomains) && covered(f.SenderDomains, g.SenderDomains) &&
		(g.Direction == AnyDirection || f.Direction == g.Direction) && (g.Login == AnyLogin || f.Login == g.Login) &&
		(g.MaxSize == 0 || f.MaxSize > 0 && f.MaxSize <= g.MaxSize)
}

// among reports whether all of these are among the others, of which none is no limit.
func among(these, others []string) bool {
	if len(others) == 0 {
		return true
	}
	return len(these) > 0 && !slices.ContainsFunc(these, func(s string) bool { return !slices.Contains(others, s) })
}

// covered is among for domains: "*.example.org" covers what is below it.
func covered(these, others []string) bool {
	if len(others) == 0 {
		return true
	}
	wide := mail.NewDomains(others...)
	return len(these) > 0 && !slices.ContainsFunc(these, func(s string) bool {
		below, wild := strings.CutPrefix(s, "*.")
		return !wide.Contains(s) && (!wild || !slices.ContainsFunc(others, func(o string) bool {
			return strings.EqualFold(o, "*."+below)
		}))
	})
}

// Check says what of the filter no session or message could match because it is written wrong.
func (f Filter) Check() error {
	var problems []error
	for _, l := range f.Listeners {
		if l == "" {
			problems = append(problems, errors.New(`listener "": must be the address of a listener, as configured`))
		}
	}
	for _, d := range slices.Concat(f.RecipientDomains, f.SenderDomains) {
		if mail.CheckDomain(strings.TrimPrefix(d, "*.")) != nil {
			problems = append(problems, fmt.Errorf(`domain %q: must be a name, such as example.org, or *.example.org for all below it`, d))
		}
	}
	return errors.Join(problems...)
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
