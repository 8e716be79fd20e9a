package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"

	"example.org/relay/relay/event"
)

// InstallRequest is what Install is asked for.
type InstallRequest struct {
	Name         string
	Service      string // a transport service's name
	Path         string // of the program; absolute
	Factory      string // empty: the only one
	SettingsTOML []byte // content of the settings file; empty: none
	SettingsPath string // for messages and get-agent
	WhatIf       bool   // check everything, change nothing
}

// maxSettings bounds a settings file: deep nesting costs the parser stack.
const maxSettings = 1 << 20

// Install installs an agent: disabled, the last of its service, granted what its factory
// asks for. The program is started once, to be asked what it has and whether it takes the
// settings. The notes are sentences for the operator.
func (h *Host) Install(ctx context.Context, q InstallRequest) (Info, []string, error) {
	ctx, done, err := h.operation(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer done()
	e, err := h.candidate(ctx, q)
	if err != nil {
		return Info{}, nil, err
	}
	entries := append(h.registry.Entries(), e)
	var notes []string
	if asks := e.Granted.List(); len(asks) > 0 {
		notes = append(notes, fmt.Sprintf("Agent %s is granted what it asks for: %s.", e.Name, strings.Join(asks, ", ")))
	}
	notes = append(notes, fmt.Sprintf("Agent %s is installed but not enabled: relay enable-agent %s", e.Name, e.Name))
	a := newAgent(h, e)
	if q.WhatIf {
		return a.info(&e, priority(entries, &e)), notes[:len(notes)-1], nil
	}
	if err := h.registry.replace(entries); err != nil {
		return Info{}, nil, err
	}
	h.sync(a)
	a.log.Info("agent installed", "path", e.Path, "sha256", e.SHA256)
	return a.info(&e, priority(entries, &e)), notes, nil
}

// candidate makes the entry of an agent that is to be installed, checked in every respect.
func (h *Host) candidate(ctx context.Context, q InstallRequest) (Entry, error) {
	e := Entry{Name: q.Name, Path: q.Path, Factory: q.Factory, SettingsPath: q.SettingsPath}
	if !namePattern.MatchString(q.Name) {
		return e, fmt.Errorf("agent name %q: must have 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first", q.Name)
	}
	var err error
	if e.Service, err = event.ParseRole(q.Service); err != nil {
		return e, err
	}
	if err := event.CheckRole(e.Name, e.Service, nil); err != nil {
		return e, err
	}
	if !h.serves(e.Service) {
		return e, fmt.Errorf("agent %s: transport service %s is not configured; configured: %s", e.Name, e.Service, roleNames(h.options.Services))
	}
	if find(h.registry.entries, e.Name, e.Service) >= 0 {
		return e, fmt.Errorf("agent %s is installed for %s already; relay set-agent changes it", e.Name, e.Service)
	}
	if e.SHA256, err = digest(e.Path); err != nil {
		return e, err
	}
	if e.Settings, err = settingsJSON(q.SettingsTOML); err != nil {
		return e, fmt.Errorf("settings %s: %w", q.SettingsPath, err)
	}
	s := h.spec(e)
	err = h.shop.probe(ctx, s, h.log.With("agent", e.Name, "service", string(e.Service)))
	return s.Entry, err
}

// checkDescribed says what of a factory the service does not have.
func (s *spec) checkDescribed() error {
	if err := event.CheckRole(s.Name, s.Service, s.Described.kinds()); err != nil {
		return err
	}
	if k := s.Described.ChangesRecipientsAt; k != 0 {
		if err := event.CheckRole(s.Name, s.Service, []event.Kind{k}); err != nil {
			return fmt.Errorf("declared as the last event at which it changes recipients: %w", err)
		}
		if !s.Described.Asks.Has(event.ChangeRecipients) {
			return fmt.Errorf("agent %s declares that it changes recipients at %s but does not ask for the permission %s", s.Name, k, event.ChangeRecipients)
		}
	}
	return nil
}

// settingsJSON turns a settings file into the JSON that goes to the agent.
func settingsJSON(file []byte) (string, error) {
	if len(bytes.TrimSpace(file)) == 0 {
		return "", nil
	}
	if len(file) > maxSettings {
		return "", fmt.Errorf("%d octets, at most %d are taken", len(file), maxSettings)
	}
	var settings map[string]any
	if err := toml.Unmarshal(file, &settings); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return "", fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
		}
		return "", err
	}
	text, err := json.Marshal(settings)
	return string(text), err
}

func roleNames(roles []event.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// priority returns the place of the entry among those of its service, from 1.
func priority(entries []Entry, e *Entry) int {
	n := 0
	for i := range entries {
		if entries[i].Service == e.Service {
			n++
			if strings.EqualFold(entries[i].Name, e.Name) {
				return n
			}
		}
	}
	return n
}

// sync puts the list of agents in the registry's order; added is one that is new.
func (h *Host) sync(added ...*Agent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	have := append(append([]*Agent(nil), h.agents...), added...)
	now := make([]*Agent, 0, len(have))
	for _, e := range h.registry.entries {
		for _, a := range have {
			if old := a.entry.Load(); old.Service == e.Service && old.Name == e.Name {
				a.entry.Store(&e)
				now = append(now, a)
				break
			}
		}
	}
	h.agents = now
}
