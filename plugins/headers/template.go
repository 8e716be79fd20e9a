package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"example.org/relay/plugins/agent"
)

// template is a value with placeholders: text, then a placeholder's name, then text again.
type template []string

// longestFact bounds what a client can put into a field by a placeholder.
const longestFact = 500

// facts are what the placeholders stand for.
var facts = map[string]func(m *agent.Message, hostname string) string{
	"client_ip":   func(m *agent.Message, _ string) string { return m.Session().RemoteAddr().Addr().String() },
	"client_name": func(m *agent.Message, _ string) string { return m.Session().RemoteHost() },
	"hello":       func(m *agent.Message, _ string) string { return m.Session().Hello() },
	"listener":    func(m *agent.Message, _ string) string { return m.Session().Listener() },
	"auth_user":   func(m *agent.Message, _ string) string { return m.Session().AuthUser() },
	"tls":         func(m *agent.Message, _ string) string { t, _ := m.Session().TLS(); return t.Version },
	"from":        func(m *agent.Message, _ string) string { return m.From().Address() },
	"id":          func(m *agent.Message, _ string) string { return m.ID() },
	"message_id":  func(m *agent.Message, _ string) string { return strings.Trim(m.Header().Text("Message-ID"), "<>") },
	"hostname":    func(_ *agent.Message, hostname string) string { return hostname },
}

// parseTemplate reads a value. {{ and }} are braces.
func parseTemplate(value string) (template, error) {
	t := template{""}
	for value != "" {
		i := strings.IndexAny(value, "{}")
		if i < 0 {
			i = len(value)
		}
		t[len(t)-1] += value[:i]
		if value = value[i:]; value == "" {
			break
		}
		if len(value) > 1 && value[1] == value[0] {
			t[len(t)-1] += value[:1]
			value = value[2:]
			continue
		}
		name, rest, closed := strings.Cut(value[1:], "}")
		if value[0] == '}' || !closed {
			return nil, fmt.Errorf("%q has a brace without its other half: {{ and }} are braces that are meant", value)
		}
		if facts[name] == nil {
			return nil, fmt.Errorf("there is no placeholder {%s}; there are {%s}", name, strings.Join(placeholders(), "}, {"))
		}
		t = append(t, name, "")
		value = rest
	}
	return t, nil
}

func placeholders() []string {
	var names []string
	for name := range facts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// headers are the header fields that the placeholders look at.
func (t template) headers() []string {
	for i := 1; i < len(t); i += 2 {
		if t[i] == "message_id" {
			return []string{"Message-ID"}
		}
	}
	return nil
}

// expand returns the text for a message. Where it has placeholders and none of them says
// anything, neither does the text: it is empty.
func (t template) expand(m *agent.Message, hostname string) string {
	var b strings.Builder
	says := len(t) == 1
	for i, part := range t {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		fact := quote(facts[part](m, hostname))
		says = says || fact != ""
		b.WriteString(fact)
	}
	if !says {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// quote makes what a client said fit to stand among other words: where it has more than the
// characters of addresses and names it becomes a quoted-string (RFC 5322 §3.2.4), so that a
// HELO name "x; spf=pass" adds nothing to a list of results. Line breaks and other controls
// are left out.
func quote(fact string) string {
	fact = agent.Showable(fact)
	for len(fact) > longestFact {
		_, last := utf8.DecodeLastRuneInString(fact)
		fact = fact[:len(fact)-last]
	}
	if !strings.ContainsFunc(fact, special) {
		return fact
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(fact) + `"`
}

func special(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>;,"\`, r)
}
