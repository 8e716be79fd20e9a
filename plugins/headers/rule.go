package main

import (
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
)

// rule is some edits and when they are made: all the conditions that are set must hold.
type rule struct {
	Direction        string            `json:"direction"` // inbound, internal; "": any
	Listeners        []string          `json:"listeners"`
	SenderDomains    []string          `json:"sender_domains"`    // "<>" is the null sender
	RecipientDomains []string          `json:"recipient_domains"` // of at least one recipient
	Authenticated    *bool             `json:"authenticated"`
	Has              []string          `json:"has"`     // all of these fields are there
	Lacks            []string          `json:"lacks"`   // none of these is
	Matches          map[string]string `json:"matches"` // a field of the name has text that the expression finds

	Remove     []string `json:"remove"` // names, patterns
	Rename     []rename `json:"rename"`
	Set        []field  `json:"set"`
	Add        []field  `json:"add"`
	TagSubject string   `json:"tag_subject"`
	Stop       bool     `json:"stop"` // no further rules after this one

	expressions []expression // of Matches
}

type rename struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	At    string `json:"at"` // top, bottom; add only

	text template // Value
}

func (r *rule) matches(m *agent.Message) bool {
	s := m.Session()
	switch {
	case r.Direction == "inbound" && s.Internal(), r.Direction == "internal" && !s.Internal(),
		len(r.Listeners) > 0 && !slices.Contains(r.Listeners, s.Listener()),
		len(r.SenderDomains) > 0 && !r.takesSender(m.From()),
		len(r.RecipientDomains) > 0 && !slices.ContainsFunc(m.Recipients(), r.takesRecipient),
		r.Authenticated != nil && *r.Authenticated != (s.AuthUser() != ""):
		return false
	}
	return r.matchesHeader(m.Header())
}

func (r *rule) takesSender(from agent.Mailbox) bool {
	if from.IsNull() {
		return slices.Contains(r.SenderDomains, nullSender)
	}
	return agent.Matches(r.SenderDomains, from.Domain())
}

func (r *rule) takesRecipient(to agent.Recipient) bool {
	return agent.Matches(r.RecipientDomains, to.Domain())
}

func (r *rule) matchesHeader(section *agent.Header) bool {
	for _, name := range r.Has {
		if !section.Has(name) {
			return false
		}
	}
	for _, name := range r.Lacks {
		if section.Has(name) {
			return false
		}
	}
	for _, e := range r.expressions {
		found := slices.ContainsFunc(section.Fields(), func(f *agent.Field) bool {
			return strings.EqualFold(f.Name(), e.name) && e.find.MatchString(f.Text())
		})
		if !found {
			return false
		}
	}
	return true
}

// names are the fields that the rule has to see; all: it cannot tell which. The place of a
// field at the bottom hangs on the last one, whatever its name.
func (r *rule) names() (names []string, all bool) {
	names = append(append(names, r.Has...), r.Lacks...)
	for _, e := range r.expressions {
		names = append(names, e.name)
	}
	for _, pattern := range r.Remove {
		if strings.Contains(pattern, "*") {
			return nil, true
		}
		names = append(names, pattern)
	}
	for _, n := range r.Rename {
		names = append(names, n.From, n.To)
	}
	for _, s := range r.Set {
		names = append(names, s.Name)
	}
	for _, a := range r.Add {
		if a.At == "bottom" {
			return nil, true
		}
		names = append(names, a.Name)
		names = append(names, a.text.headers()...)
	}
	for _, s := range r.Set {
		names = append(names, s.text.headers()...)
	}
	if r.TagSubject != "" {
		names = append(names, "Subject")
	}
	return names, false
}
