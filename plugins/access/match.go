package main

import (
	"fmt"
	"net/netip"

	"example.org/relay/plugins/agent"
)

// stage is how far a session has come, and so which facts are known.
type stage int

const (
	atConnect stage = iota
	atHello
	atMail
	atRcpt
	stages
)

// facts are what is known of a session and its message.
type facts struct {
	stage      stage
	client     netip.Addr
	hello      string
	sender     string // "" is the null sender
	recipients []string
}

// answer is whether a rule matches.
type answer int

const (
	no answer = iota
	yes
	unknown // a fact is missing that it looks at, and the others match
)

// condition is what a rule says of one fact: it is in one of the lists.
type condition struct {
	kind  kind
	set   *set // of the settings
	files []*agent.File[*set]
}

// match asks all conditions of the rule; why says what matched, for the log.
func (r *rule) match(f *facts) (result answer, why string) {
	result = yes
	if f.stage < r.stage() {
		result = unknown
	}
	for i := range r.conditions {
		c := &r.conditions[i]
		if c.kind.stage() > f.stage {
			continue
		}
		found, words := c.find(f)
		if !found {
			return no, ""
		}
		why += ": " + words
	}
	return result, why
}

func (c *condition) find(f *facts) (found bool, why string) {
	facts := []string{f.hello}
	switch c.kind {
	case client:
		if entry, line, ok := c.lookup(func(s *set) (string, int, bool) { return s.findAddr(f.client) }); ok {
			return true, fmt.Sprintf("client %s is %s%s", f.client, entry, line)
		}
		return false, ""
	case sender:
		facts = []string{f.sender}
	case recipient:
		facts = f.recipients
	}
	for _, fact := range facts {
		if entry, line, ok := c.lookup(func(s *set) (string, int, bool) { return s.find(fact) }); ok {
			return true, fmt.Sprintf("%s <%s> is %s%s", c.kind, fact, entry, line)
		}
	}
	return false, ""
}

// lookup asks the list of the settings, then the files. at says where in a file the entry is.
func (c *condition) lookup(find func(*set) (string, int, bool)) (entry, at string, found bool) {
	if entry, _, found := find(c.set); found {
		return entry, "", true
	}
	for _, file := range c.files {
		if entry, line, found := find(file.Value()); found {
			return entry, fmt.Sprintf(" (%s:%d)", file.Path(), line), true
		}
	}
	return "", "", false
}
