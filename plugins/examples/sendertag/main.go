// Sendertag marks messages by who sends them: a tag before the Subject, a header field, or
// both. README.md is its manual.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
)

type settings struct {
	Senders map[string]mark `json:"senders"` // by address, domain, "*.domain" or "<>"
}

type mark struct {
	Subject string `json:"subject"` // "[partner] "
	Header  string `json:"header"`  // "X-Sender-Class: partner"
}

const nullSender = "<>"

func (s *settings) Validate() error {
	var problems []error
	wrong := func(field, problem string) {
		problems = append(problems, agent.FieldError{Field: field, Problem: problem})
	}
	if len(s.Senders) == 0 {
		wrong("senders", `must have at least one, as "example.net" = { subject = "[partner] " }`)
	}
	lower := make(map[string]mark, len(s.Senders))
	for key, m := range s.Senders {
		field := "senders." + key
		if _, there := lower[strings.ToLower(key)]; there {
			wrong(field, "is there twice, in other letters")
		}
		lower[strings.ToLower(key)] = m
		if name := strings.TrimPrefix(key, "*."); key != nullSender && (name == "" || strings.ContainsAny(name, "*<> ")) {
			wrong(field, `must be as "user@example.net", "example.net", "*.example.net" or "<>"`)
		}
		if m.Header != "" {
			if name, value, _ := strings.Cut(m.Header, ":"); !isName(name) || strings.TrimSpace(value) == "" {
				wrong(field+".header", fmt.Sprintf("must be as \"X-Sender-Class: partner\", and not Received, not %q", m.Header))
			}
		} else if strings.TrimSpace(agent.Showable(m.Subject)) == "" {
			wrong(field, "needs subject, header or both")
		}
	}
	s.Senders = lower
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// isName reports whether an agent may write a field of this name (RFC 5322 §2.2, RFC 5321 §4.4).
func isName(name string) bool {
	return name != "" && len(name) <= 70 && !strings.EqualFold(name, "Received") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

type sendertag struct{ settings settings }

func factory() agent.Factory {
	return agent.Build("sendertag", newSendertag,
		agent.Describe("marks messages by who sends them"),
		agent.Asks(agent.ChangeHeaders),
	)
}

func newSendertag(setup agent.Setup) (*sendertag, error) {
	t := &sendertag{}
	return t, setup.Settings(&t.settings)
}

// WantsHeaders limits what the agent is shown to the fields it writes.
func (t *sendertag) WantsHeaders() []string {
	names := []string{"Subject"}
	for _, m := range t.settings.Senders {
		if name, _, ok := strings.Cut(m.Header, ":"); ok {
			names = append(names, name)
		}
	}
	return names
}

// OnEndOfHeaders marks the message. A field that a stranger has written under the same name
// does not stay.
func (t *sendertag) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	h := m.Header()
	for _, other := range t.settings.Senders {
		if name, _, ok := strings.Cut(other.Header, ":"); ok {
			h.Remove(name)
		}
	}
	if own, ok := t.markOf(m.From()); ok {
		if name, value, ok := strings.Cut(own.Header, ":"); ok {
			h.Add(name, strings.TrimSpace(value))
		}
		if own.Subject != "" {
			h.TagSubject(own.Subject)
		}
	}
	return agent.Continue()
}

// markOf finds the nearest: the address, its domain, a domain above it.
func (t *sendertag) markOf(from agent.Mailbox) (mark, bool) {
	if from.IsNull() {
		m, ok := t.settings.Senders[nullSender]
		return m, ok
	}
	domain := strings.ToLower(from.Domain())
	for _, key := range []string{strings.ToLower(from.Address()), domain} {
		if m, ok := t.settings.Senders[key]; ok {
			return m, true
		}
	}
	for {
		_, above, found := strings.Cut(domain, ".")
		if !found {
			return mark{}, false
		}
		if m, ok := t.settings.Senders["*."+above]; ok {
			return m, true
		}
		domain = above
	}
}

func main() { agent.Serve(factory()) }
