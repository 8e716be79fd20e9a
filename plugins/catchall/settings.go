package main

import (
	"errors"
	"fmt"
	"strings"

	"example.org/relay/plugins/agent"
)

// settings are what the operator may say; README.md explains them.
type settings struct {
	Separator  string   `json:"separator"`
	Domains    []string `json:"domains"`     // none: all accepted domains
	TagFormat  string   `json:"tag_format"`  // {tag} stands for the tag
	LeaveAlone []string `json:"leave_alone"` // local parts
}

const placeholder = "{tag}"

func defaults() settings { return settings{Separator: "_", TagFormat: "[{tag}] "} }

// Validate reports every value that cannot be meant.
func (s *settings) Validate() error {
	var problems []error
	wrong := func(field, format string, args ...any) {
		problems = append(problems, agent.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if s.Separator == "" || strings.ContainsAny(s.Separator, "@\" \\") || strings.ContainsFunc(s.Separator, control) {
		wrong("separator", `must be one or more characters other than @, quote, backslash and space, such as "_" or "+", not %q`, s.Separator)
	}
	if !strings.Contains(s.TagFormat, placeholder) {
		wrong("tag_format", `must contain {tag}, as in "[{tag}] ", not %q`, s.TagFormat)
	}
	if strings.ContainsFunc(s.TagFormat, control) {
		wrong("tag_format", "must not contain control characters")
	}
	for _, d := range s.Domains {
		if name := strings.TrimPrefix(d, "*."); name == "" || strings.ContainsAny(name, "@* ") {
			wrong("domains", `must be names such as "example.org" or "*.example.org", not %q`, d)
		}
	}
	for _, l := range s.LeaveAlone {
		if l == "" || strings.Contains(l, "@") {
			wrong("leave_alone", "must be local parts, without @ and domain, not %q", l)
		}
	}
	return errors.Join(problems...)
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
