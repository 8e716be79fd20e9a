package main

import (
	"errors"
	"fmt"
	"strings"

	"example.org/relay/plugins/agent"
)

// settings are what the operator may say; README.md explains them.
type settings struct {
	Separators     []string `json:"separators"`
	Domains        []string `json:"domains"`         // none: all accepted domains
	LeaveAlone     []string `json:"leave_alone"`     // local parts or addresses; a star at the end of the local part
	OriginalHeader string   `json:"original_header"` // "": none
}

func defaults() settings { return settings{Separators: []string{"+"}} }

// Validate reports every value that cannot be meant.
func (s *settings) Validate() error {
	var problems []error
	wrong := func(field, format string, args ...any) {
		problems = append(problems, agent.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if len(s.Separators) == 0 {
		wrong("separators", `must have at least one, such as "+"`)
	}
	for i, sep := range s.Separators {
		if sep == "" || strings.ContainsAny(sep, "@\" \\") || strings.ContainsFunc(sep, control) {
			wrong(fmt.Sprintf("separators[%d]", i), `must be one or more characters other than @, quote, backslash and space, such as "+" or "-", not %q`, sep)
		}
	}
	for i, d := range s.Domains {
		if name := strings.TrimPrefix(d, "*."); name == "" || strings.ContainsAny(name, "@* ") {
			wrong(fmt.Sprintf("domains[%d]", i), `must be a name such as "example.org" or "*.example.org", not %q`, d)
		}
	}
	for i, entry := range s.LeaveAlone {
		if local, domain := agent.Split(entry); local == "" || strings.ContainsAny(domain, "@* ") || domain == "" && strings.Contains(entry, "@") {
			wrong(fmt.Sprintf("leave_alone[%d]", i), `must be a local part or an address, such as "bounce+*" or "sales+eu@example.org", not %q`, entry)
		}
	}
	if h := s.OriginalHeader; len(h) > 70 || strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		wrong("original_header", `must be the name of a header field, such as "X-Original-To", not %q`, h)
	} else if strings.EqualFold(h, "Received") {
		wrong("original_header", "Received is the trace of the servers (RFC 5321 §4.4) and none of an agent's")
	}
	return errors.Join(problems...)
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
