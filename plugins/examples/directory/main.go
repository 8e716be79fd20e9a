// Directory replaces recipients by those that a file names for them. README.md is its manual.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
)

type settings struct {
	File    string `json:"file"`
	Unknown string `json:"unknown"` // reject, pass
}

func (s *settings) Validate() error {
	var problems []error
	if !filepath.IsAbs(s.File) {
		problems = append(problems, agent.FieldError{Field: "file", Problem: fmt.Sprintf("must be a path that begins with /, not %q", s.File)})
	}
	if s.Unknown != "reject" && s.Unknown != "pass" {
		problems = append(problems, agent.FieldError{Field: "unknown", Problem: fmt.Sprintf(`must be "reject" or "pass", not %q`, s.Unknown)})
	}
	return errors.Join(problems...)
}

// entries are the addresses of an address. A domain's own entry is "@domain".
type entries map[string][]string

type directory struct {
	settings settings
	file     *agent.File[entries]
	accepts  func(domain string) bool
}

func factory() agent.Factory {
	return agent.Build("directory", newDirectory,
		agent.Describe("replaces recipients by those that a file names for them"),
		agent.Asks(agent.ChangeRecipients, agent.RejectMail, agent.RelayMail),
	)
}

func newDirectory(setup agent.Setup) (*directory, error) {
	d := &directory{settings: settings{Unknown: "reject"}, accepts: setup.Accepts}
	if err := setup.Settings(&d.settings); err != nil {
		return nil, err
	}
	allowed := func(domain string) bool { return setup.May(agent.RelayMail) || setup.Accepts(domain) }
	var err error
	d.file, err = agent.OpenFile(d.settings.File, func(r io.Reader) (entries, error) { return read(r, allowed) }, setup.Log)
	if err != nil {
		return nil, agent.FieldError{Field: "file", Problem: err.Error()}
	}
	return d, nil
}

// read reads lines of an address and those it stands for: "sales@example.org  ann@example.org bob@example.org".
func read(r io.Reader, allowed func(domain string) bool) (entries, error) {
	table := entries{}
	var problems []error
	lines, failed := agent.Lines(r)
	for n, line := range lines {
		words := strings.Fields(line)
		if err := check(table, words, allowed); err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		table[key(words[0])] = words[1:]
	}
	return table, errors.Join(append(problems[:min(len(problems), 10)], failed())...)
}

func check(table entries, words []string, allowed func(domain string) bool) error {
	if local, domain := agent.Split(words[0]); domain == "" || local != "" && !isAddress(words[0]) {
		return fmt.Errorf("%q is no address: must be as user@example.org, or @example.org for the rest of a domain", words[0])
	}
	if len(words) == 1 {
		return fmt.Errorf("%s stands for nobody: addresses must follow it", words[0])
	}
	if _, there := table[key(words[0])]; there {
		return fmt.Errorf("%s is there already", words[0])
	}
	for _, to := range words[1:] {
		if _, domain := agent.Split(to); !isAddress(to) {
			return fmt.Errorf("%q is no address", to)
		} else if !allowed(domain) {
			return fmt.Errorf("%s is not in an accepted domain, and the permission relay was not granted", to)
		}
	}
	return nil
}

func isAddress(text string) bool {
	local, domain := agent.Split(text)
	return local != "" && domain != "" && agent.Join(local, domain) == text && !strings.ContainsAny(domain, "@<>,;\"") && text[0] != '<'
}

// key is an address for comparing, without regard to case.
func key(address string) string { return strings.ToLower(address) }

// OnRcptCommand looks the recipient up. Domains that the directory says nothing of, and those
// of others, are not its own.
func (d *directory) OnRcptCommand(_ context.Context, m *agent.Message, r agent.Recipient) agent.Verdict {
	if r.Domain() == "" || !d.accepts(r.Domain()) {
		return agent.Continue() // <postmaster> is everybody's (RFC 5321 §4.5.1)
	}
	table := d.file.Value()
	to, found := table[key(r.Address())]
	if !found {
		to, found = table[key("@"+r.Domain())]
	}
	switch {
	case found && !slices.Equal(to, []string{r.Address()}):
		m.ReplaceRecipient(r, to...)
	case !found && d.settings.Unknown == "reject" && !strings.EqualFold(r.Local(), "postmaster"):
		return agent.Reject("no such user here").Code(550, "5.1.1").Because("not in " + d.file.Path())
	}
	return agent.Continue()
}

func main() { agent.Serve(factory()) }
