package relay

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/agents"
	"example.org/relay/relay/config"
	"example.org/relay/relay/event"
)

// CheckAgentOptions says what of the options is not written as it must be, all at once. What
// depends on the configuration or on the agent is not looked at.
func CheckAgentOptions(o *controlv1.AgentOptions) error {
	_, err := boundsOf(o)
	return err
}

// bounds are the options as the host of agents takes them, checked against the configuration.
func (c agentCommands) bounds(o *controlv1.AgentOptions) (agents.Bounds, error) {
	b, err := boundsOf(o)
	if err != nil {
		return b, err
	}
	only := event.Filter{
		Listeners: value(b.Only.Listeners), RecipientDomains: value(b.Only.RecipientDomains), SenderDomains: value(b.Only.SenderDomains),
	}
	return b, agents.CheckOnly(only, c.listeners())
}

// listeners are the addresses of those that run in this version.
func (c agentCommands) listeners() (all []string) {
	if c.cfg.FrontEnd == nil {
		return nil
	}
	for _, l := range c.cfg.FrontEnd.Listeners {
		all = append(all, l.Address)
	}
	return all
}

// reading collects what is wrong while options are read.
type reading struct{ problems []error }

func (r *reading) note(flag string, err error) {
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("%s: %w", flag, err))
	}
}

func boundsOf(o *controlv1.AgentOptions) (b agents.Bounds, err error) {
	if o == nil {
		return b, nil
	}
	r := &reading{}
	b.Grant, b.Deny = r.permissions("grant", o.Grant), r.permissions("deny", o.Deny)
	if b.Grant != nil && b.Deny != nil && *b.Grant != event.AllPermissions {
		if both := *b.Grant & *b.Deny; both != 0 {
			r.note("grant", fmt.Errorf("%s is both granted and denied", strings.Join(both.List(), ", ")))
		}
	}
	b.Only.Listeners, b.Only.RecipientDomains, b.Only.SenderDomains = values(o.OnlyListeners), values(o.OnlyRecipientDomains), values(o.OnlySenderDomains)
	b.Only.Direction = parsed(r, o.OnlyDirection, event.ParseDirection)
	b.Only.Login = parsed(r, o.OnlyAuthenticated, event.ParseLogin)
	b.Only.MaxSize = parsed(r, o.OnlyMaxSize, naming("only-max-size", octets))
	b.Confine.Sessions = changed(r, o.MaxSessions, naming("max-sessions", count))
	b.Confine.Memory = changed(r, o.MaxMemory, naming("max-memory", octets))
	b.Confine.Processor = changed(r, o.MaxProcessor, naming("max-processor", percent))
	b.Confine.Processes = changed(r, o.MaxProcesses, naming("max-processes", count))
	b.Confine.User = changed(r, o.User, func(name string) (string, error) { return name, nil })
	b.Confine.ReadOnly = changed(r, o.ReadOnly, naming("read-only", yesOrNo))
	b.Confine.ReadPaths = values(o.ReadPaths)
	for _, p := range value(b.Confine.ReadPaths) {
		if !filepath.IsAbs(p) {
			r.note("read-path", fmt.Errorf("%q: must be absolute", p))
		}
	}
	return b, errors.Join(r.problems...)
}

// permissions reads a list of words; "all" is all that the agent asks for.
func (r *reading) permissions(flag string, list *controlv1.StringList) *event.Permissions {
	if list == nil {
		return nil
	}
	var set event.Permissions
	for _, word := range list.Values {
		if word == "all" {
			if len(list.Values) > 1 {
				r.note(flag, errors.New("all stands for itself: no other permission beside it"))
			}
			set = event.AllPermissions
			continue
		}
		p, err := event.ParsePermissions([]string{word})
		r.note(flag, err)
		set |= p
	}
	return &set
}

func values(list *controlv1.StringList) *[]string {
	if list == nil {
		return nil
	}
	return &list.Values
}

func parsed[T any](r *reading, text *string, parse func(string) (T, error)) *T {
	if text == nil {
		return nil
	}
	v, err := parse(*text)
	if err != nil {
		r.problems = append(r.problems, err)
	}
	return &v
}

// changed reads what has a default, which "default" goes back to.
func changed[T any](r *reading, text *string, parse func(string) (T, error)) agents.Change[T] {
	if text != nil && *text == "default" {
		return agents.Change[T]{Made: true}
	}
	return agents.Change[T]{Made: text != nil, To: parsed(r, text, parse)}
}

func naming[T any](flag string, parse func(string) (T, error)) func(string) (T, error) {
	return func(text string) (T, error) {
		v, err := parse(text)
		if err != nil {
			err = fmt.Errorf("%s %q: %w", flag, text, err)
		}
		return v, err
	}
}

func octets(text string) (uint64, error) {
	n, err := config.ParseSize(text)
	if err != nil {
		return 0, errors.New(`must be a size with a unit, B, KB, MB or GB, as 35MB, or 0 for no limit`)
	}
	return uint64(n), nil
}

func count(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<20 {
		return 0, fmt.Errorf("must be a whole number up to %d, or 0 for no limit", 1<<20)
	}
	return n, nil
}

func percent(text string) (int, error) {
	n, err := count(strings.TrimSuffix(text, "%"))
	if err != nil {
		return 0, errors.New("must be percent of one processor, as 50 or 150%, or 0 for no limit")
	}
	return n, nil
}

func yesOrNo(text string) (bool, error) {
	switch text {
	case "yes":
		return true, nil
	case "no":
		return false, nil
	}
	return false, errors.New("must be yes, no or default")
}

func duration(what, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s %q: must be a duration with a unit, as 5s or 15m", what, text)
	}
	return d, nil
}
