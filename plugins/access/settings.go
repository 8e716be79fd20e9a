package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
)

// settings are what the operator may say; README.md explains them.
type settings struct {
	Default string `json:"default"` // an action, for what no rule matches; "": allow
	Rules   []rule `json:"rules"`   // the first that matches counts
}

// rule is an action and when it is taken: all the conditions that are set must match.
type rule struct {
	Action   string `json:"action"`
	Text     string `json:"text"`     // of the reply; each line is one of it
	Code     int    `json:"code"`     // of the reply; 0: the usual one
	Enhanced string `json:"enhanced"` // of the reply; "": the usual one

	Client         []string `json:"client"`
	ClientFiles    []string `json:"client_files"`
	Hello          []string `json:"hello"`
	HelloFiles     []string `json:"hello_files"`
	Sender         []string `json:"sender"`
	SenderFiles    []string `json:"sender_files"`
	Recipient      []string `json:"recipient"`
	RecipientFiles []string `json:"recipient_files"`

	name       string // for log and settings errors
	conditions []condition
}

// The actions.
const (
	allow      = "allow"
	reject     = "reject"
	tempfail   = "tempfail"
	disconnect = "disconnect"
	discard    = "discard"
)

var actions = []string{allow, reject, tempfail, disconnect, discard}

// problems collects what is wrong with the settings.
type problems struct{ found []error }

func (p *problems) wrong(field, format string, args ...any) {
	p.found = append(p.found, agent.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// prepare reports every value that cannot be meant, and reads the lists.
func (s *settings) prepare(setup agent.Setup) error {
	p := &problems{}
	p.action(setup, "default", s.Default, true)
	refuses := s.Default != "" && s.Default != allow
	for i := range s.Rules {
		r := &s.Rules[i]
		r.name = fmt.Sprintf("rules[%d]", i)
		refuses = refuses || r.Action != allow
		p.action(setup, r.name+".action", r.Action, false)
		p.reply(r)
		p.lists(setup, r, client, r.Client, r.ClientFiles)
		p.lists(setup, r, hello, r.Hello, r.HelloFiles)
		p.lists(setup, r, sender, r.Sender, r.SenderFiles)
		p.lists(setup, r, recipient, r.Recipient, r.RecipientFiles)
		if len(r.conditions) == 0 && i < len(s.Rules)-1 {
			p.wrong(r.name, "has no condition, so that no rule after it would ever count: it must be the last")
		}
	}
	if !refuses {
		p.wrong("rules", "none of them refuses anything, and neither does the default: there is nothing to do")
	}
	return errors.Join(p.found...)
}

func (p *problems) action(setup agent.Setup, field, action string, optional bool) {
	switch {
	case optional && action == "":
	case !slices.Contains(actions, action):
		p.wrong(field, "must be one of %s, not %q", strings.Join(actions, ", "), action)
	case action == discard && !setup.May(agent.DiscardMail):
		p.wrong(field, "discard needs the permission discard, which was not granted")
	case action != allow && action != discard && !setup.May(agent.RejectMail):
		p.wrong(field, "%s needs the permission reject, which was not granted", action)
	}
}

// classes are the first digits a reply of an action may have.
var classes = map[string]string{reject: "5", tempfail: "4", disconnect: "45"}

func (p *problems) reply(r *rule) {
	class, replies := classes[r.Action]
	if !replies {
		if r.Text != "" || r.Code != 0 || r.Enhanced != "" {
			p.wrong(r.name+".text", "%s has no reply: text, code and enhanced are for reject, tempfail and disconnect", r.Action)
		}
		return
	}
	code := fmt.Sprint(r.Code)
	if r.Code != 0 && (len(code) != 3 || !strings.Contains(class, code[:1]) || code[1] > '5') {
		p.wrong(r.name+".code", "must have three digits and begin with %s for %s, not %d", strings.Join(strings.Split(class, ""), " or "), r.Action, r.Code)
		return
	}
	if r.Code == 0 {
		code = map[string]string{reject: "5", tempfail: "4", disconnect: "4"}[r.Action]
	}
	if r.Enhanced != "" && !isEnhanced(r.Enhanced, code[:1]) {
		p.wrong(r.name+".enhanced", `must be as %[1]s.7.1, its first digit that of the code, not %[2]q`, code[:1], r.Enhanced)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(r.Text, "\n"), "\n") {
		if len(line) > 400 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			p.wrong(r.name+".text", "must be printable ASCII, at most 400 characters a line, not %q", line)
		}
	}
}

// isEnhanced reports whether a text is an enhanced status code (RFC 3463 §2) of the class.
func isEnhanced(text, class string) bool {
	parts := strings.Split(text, ".")
	for _, p := range parts {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" || len(p) > 1 && p[0] == '0' {
			return false
		}
	}
	return len(parts) == 3 && parts[0] == class
}

// lists makes a condition of what the rule says of a fact.
func (p *problems) lists(setup agent.Setup, r *rule, k kind, entries, files []string) {
	if len(entries) == 0 && len(files) == 0 {
		return
	}
	c := condition{kind: k, set: newSet(k)}
	for i, entry := range entries {
		if err := c.set.add(strings.TrimSpace(entry), i); err != nil {
			p.wrong(fmt.Sprintf("%s.%s[%d]", r.name, k, i), "%v", err)
		}
	}
	for i, path := range files {
		field := fmt.Sprintf("%s.%s_files[%d]", r.name, k, i)
		if !filepath.IsAbs(path) {
			p.wrong(field, "must be a path that begins with /, not %q", path)
			continue
		}
		f, err := agent.OpenFile(path, readSet(k), setup.Log)
		if err != nil {
			p.wrong(field, "%v", err)
			continue
		}
		c.files = append(c.files, f)
	}
	r.conditions = append(r.conditions, c)
}
