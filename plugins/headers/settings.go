package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
)

// settings are what the operator may say; README.md explains them.
type settings struct {
	Rules []rule `json:"rules"`
}

// expression is what the text of a field must have.
type expression struct {
	name string
	find *regexp.Regexp
}

const nullSender = "<>"

// Validate reports every value that cannot be meant, and prepares the rules.
func (s *settings) Validate() error {
	if len(s.Rules) == 0 {
		return agent.FieldError{Field: "rules", Problem: "must have at least one: without rules there is nothing to do"}
	}
	p := problems{}
	for i := range s.Rules {
		p.at = fmt.Sprintf("rules[%d].", i)
		p.rule(&s.Rules[i])
	}
	return errors.Join(p.found...)
}

// problems collects what is wrong with the rules.
type problems struct {
	at    string // which rule
	found []error
}

func (p *problems) wrong(field, format string, args ...any) {
	p.found = append(p.found, agent.FieldError{Field: p.at + field, Problem: fmt.Sprintf(format, args...)})
}

func (p *problems) rule(r *rule) {
	if r.Direction != "" && r.Direction != "inbound" && r.Direction != "internal" {
		p.wrong("direction", `must be "inbound" or "internal", not %q`, r.Direction)
	}
	p.domains("sender_domains", r.SenderDomains, nullSender)
	p.domains("recipient_domains", r.RecipientDomains, "")
	p.names("has", r.Has)
	p.names("lacks", r.Lacks)
	for _, name := range slices.Sorted(maps.Keys(r.Matches)) {
		p.name("matches", name)
		find, err := regexp.Compile(r.Matches[name])
		if err != nil {
			p.wrong("matches."+name, "must be a regular expression: %v", err)
			continue
		}
		r.expressions = append(r.expressions, expression{name, find})
	}
	p.edits(r)
	if len(r.Remove)+len(r.Rename)+len(r.Set)+len(r.Add) == 0 && r.TagSubject == "" && !r.Stop {
		p.wrong("add", "the rule does nothing: it needs one of add, set, remove, rename, tag_subject, stop")
	}
}

func (p *problems) edits(r *rule) {
	for i, pattern := range r.Remove {
		p.written(fmt.Sprintf("remove[%d]", i), strings.ReplaceAll(pattern, "*", "x"), pattern)
	}
	for i, n := range r.Rename {
		p.written(fmt.Sprintf("rename[%d].from", i), n.From, n.From)
		p.written(fmt.Sprintf("rename[%d].to", i), n.To, n.To)
	}
	for i := range r.Set {
		f, at := &r.Set[i], fmt.Sprintf("set[%d].", i)
		p.field(f, at)
		if f.At != "" {
			p.wrong(at+"at", "is for add: set changes a field in its place, and adds it at the top where there is none")
		}
	}
	for i := range r.Add {
		f, at := &r.Add[i], fmt.Sprintf("add[%d].", i)
		p.field(f, at)
		if f.At != "" && f.At != "top" && f.At != "bottom" {
			p.wrong(at+"at", `must be "top" or "bottom", not %q`, f.At)
		}
	}
	if r.TagSubject != "" && strings.TrimSpace(agent.Showable(r.TagSubject)) == "" {
		p.wrong("tag_subject", `must have something to show, as in "[EXTERNAL] ", not %q`, r.TagSubject)
	}
}

func (p *problems) field(f *field, at string) {
	p.written(at+"name", f.Name, f.Name)
	var err error
	switch f.text, err = parseTemplate(f.Value); {
	case err != nil:
		p.wrong(at+"value", "%v", err)
	case strings.TrimSpace(f.Value) == "":
		p.wrong(at+"value", "must not be empty; to take a field away, remove it")
	case strings.ContainsFunc(f.Value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		p.wrong(at+"value", "must not contain line breaks and other control characters: a long value is folded by itself")
	}
}

// written checks the name of a field that is to be edited.
func (p *problems) written(field, name, given string) {
	if trace(name) {
		p.wrong(field, "Received is the trace of the servers, which only they write and nobody may change (RFC 5321 §4.4)")
		return
	}
	p.checkName(field, name, given)
}

func (p *problems) names(field string, names []string) {
	for i, name := range names {
		p.checkName(fmt.Sprintf("%s[%d]", field, i), name, name)
	}
}

func (p *problems) name(field, name string) { p.checkName(field, name, name) }

func (p *problems) checkName(field, name, given string) {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`:*?[]\/`, r) }
	if name == "" || len(name) > 70 || strings.ContainsFunc(name, bad) {
		p.wrong(field, "must be the name of a header field, without the colon, of at most 70 characters, not %q", given)
	}
}

func (p *problems) domains(field string, domains []string, also string) {
	for i, d := range domains {
		if d == also && also != "" {
			continue
		}
		if name := strings.TrimPrefix(d, "*."); name == "" || strings.ContainsAny(name, "@*<> ") {
			p.wrong(fmt.Sprintf("%s[%d]", field, i), `must be a name such as "example.org" or "*.example.org", not %q`, d)
		}
	}
}
