package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.org/relay/relay/event"
)

// InstallRequest is what Install is asked for.
type InstallRequest struct {
	Name         string
	Service      string // a transport service's name
	Path         string // of the program; absolute
	Factory      string // empty: the only one
	Settings     string // as JSON; empty: none
	SettingsPath string // for messages and get-agent
	WhatIf       bool   // check everything, change nothing
	Bounds
}

// Install installs an agent: disabled, the last of its service, granted what its factory
// asks for and the request does not withhold. The program is started once, to be asked what it has and whether it takes the
// settings. The notes are sentences for the operator.
func (h *Host) Install(ctx context.Context, q InstallRequest) (Info, []string, error) {
	ctx, done, err := h.operation(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer done()
	e, err := h.candidate(q)
	if err != nil {
		return Info{}, nil, err
	}
	remains, installed := h.shop.missing(&e), false
	defer func() {
		if !installed {
			remains.remove()
		}
	}()
	s := h.spec(e)
	if err := h.shop.probe(ctx, s, h.log.With("agent", e.Name, "service", string(e.Service)), q.permitNew); err != nil {
		return Info{}, nil, err
	}
	e = s.Entry
	entries := append(h.registry.Entries(), e)
	notes := installNotes(&e)
	a := newAgent(h, e)
	if q.WhatIf {
		info := a.info(&e, priority(entries, &e))
		return info, append(notes, confineNotes(&info, &q.Confine)...), nil
	}
	if err := h.registry.replace(entries); err != nil {
		return Info{}, nil, err
	}
	installed = true
	h.sync(a)
	a.log.Info("agent installed", "path", e.Path, "sha256", e.SHA256, "asks", orNothing(e.Described.Asks), "granted", orNothing(e.Granted))
	info := a.info(&e, priority(entries, &e))
	return info, append(notes, confineNotes(&info, &q.Confine)...), nil
}

// candidate makes the entry of an agent that is to be installed, checked but for
// what the program says itself.
func (h *Host) candidate(q InstallRequest) (Entry, error) {
	e := Entry{Name: q.Name, Path: q.Path, Factory: q.Factory, Settings: q.Settings, SettingsPath: q.SettingsPath}
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
	if err := h.CheckService(e.Service); err != nil {
		return e, fmt.Errorf("agent %s: %w", e.Name, err)
	}
	if find(h.registry.entries, e.Name, e.Service) >= 0 {
		return e, fmt.Errorf("agent %s is installed for %s already; relay set-agent changes it", e.Name, e.Service)
	}
	if e.SHA256, err = digest(e.Path); err != nil {
		return e, err
	}
	q.narrow(&e)
	return e, checkSettings(q.Settings)
}

// madeDirs are directories that were not there, the inner first.
type madeDirs []string

// homes are the agent's home and what it is in, below the state directory.
func (w *workshop) homes(e *Entry) (dirs madeDirs) {
	for dir := w.home(e); dir != w.stateDir; dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	return dirs
}

// removeEmpty removes the home of an agent that is gone, unless it kept files there.
func (w *workshop) removeEmpty(e *Entry) { w.homes(e).remove() }

// missing returns what of the agent's home, below the state directory, is not there yet.
func (w *workshop) missing(e *Entry) (dirs madeDirs) {
	for _, dir := range w.homes(e) {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// remove removes those that are there now and empty.
func (d madeDirs) remove() {
	for _, dir := range d {
		_ = os.Remove(dir) // fails where an agent keeps files: they are its own
	}
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

// checkSettings refuses what the registry could not be read with.
func checkSettings(settings string) error {
	if settings != "" && !json.Valid([]byte(settings)) {
		return errors.New("settings are not JSON")
	}
	return nil
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
