package main

import (
	"context"
	"path"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
)

// headers edits the header section by its rules. What no rule names leaves byte for byte.
type headers struct {
	settings settings
	hostname string
}

func factory() agent.Factory {
	return agent.Build("headers", newHeaders,
		agent.Describe("adds, removes, renames and sets header fields by rules"),
		agent.Asks(agent.ChangeHeaders),
	)
}

func newHeaders(setup agent.Setup) (*headers, error) {
	h := &headers{hostname: setup.Hostname}
	return h, setup.Settings(&h.settings)
}

// WantsHeaders limits what the agent is shown to what its rules name, where that can be told.
func (h *headers) WantsHeaders() []string {
	var names []string
	for i := range h.settings.Rules {
		more, all := h.settings.Rules[i].names()
		if all {
			return nil
		}
		names = append(names, more...)
	}
	return names
}

// OnEndOfHeaders applies the rules in their order; each sees what those before it did.
func (h *headers) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	for i := range h.settings.Rules {
		r := &h.settings.Rules[i]
		if !r.matches(m) {
			continue
		}
		h.apply(r, m)
		if r.Stop {
			break
		}
	}
	return agent.Continue()
}

func (h *headers) apply(r *rule, m *agent.Message) {
	section := m.Header()
	for _, pattern := range r.Remove {
		for _, f := range section.Fields() {
			if named(f, pattern) && !trace(f.Name()) {
				section.Remove(f.Name()) // all of the name at once: a verdict has room for 1000 edits
			}
		}
	}
	for _, n := range r.Rename {
		for _, f := range section.Fields() {
			if strings.EqualFold(f.Name(), n.From) {
				f.Rename(n.To)
			}
		}
	}
	for _, s := range r.Set {
		set(section, s.Name, s.text.expand(m, h.hostname))
	}
	for _, a := range r.Add {
		text := a.text.expand(m, h.hostname)
		switch {
		case text == "": // says nothing
		case a.At == "bottom":
			section.AddLast(a.Name, text)
		default:
			section.Add(a.Name, text)
		}
	}
	if r.TagSubject != "" {
		section.TagSubjectOnce(r.TagSubject)
	}
}

// set leaves one field of the name, with the text, or none where there is no text: what a
// stranger wrote there must not stay.
func set(section *agent.Header, name, text string) {
	same := slices.DeleteFunc(section.Fields(), func(f *agent.Field) bool { return !strings.EqualFold(f.Name(), name) })
	switch {
	case text == "":
		section.Remove(name)
	case len(same) == 1:
		same[0].SetText(text)
	default: // the first of several has no better claim to its place than the others
		section.Remove(name)
		section.Add(name, text)
	}
}

// named reports whether a field has the name, or one that the pattern takes.
func named(f *agent.Field, pattern string) bool {
	if f.Name() == "" {
		return false // a line that is no field
	}
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(strings.ReplaceAll(f.Name(), "/", "_")))
	return ok && err == nil
}

// trace are the fields that only servers write (RFC 5321 §4.4).
func trace(name string) bool { return strings.EqualFold(name, "Received") }
