package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"example.org/relay/relay/event"
)

// Target names an installed agent.
type Target struct {
	Name    string
	Service string // empty: the one service that has the name
	WhatIf  bool   // check everything, change nothing
}

// drainPatience is how long sessions may go on with an agent that was disabled: as long as a
// client may keep a transaction open.
const drainPatience = 10 * time.Minute

// locate returns the agent that is meant and its place in the registry.
func (h *Host) locate(t Target) (*Agent, int, error) {
	var role event.Role
	if t.Service != "" {
		var err error
		if role, err = event.ParseRole(t.Service); err != nil {
			return nil, 0, err
		}
	}
	var found *Agent
	for _, a := range h.list() {
		e := a.entry.Load()
		if !strings.EqualFold(e.Name, t.Name) || role != "" && e.Service != role {
			continue
		}
		if found != nil {
			return nil, 0, fmt.Errorf("agent %s is installed for %s and %s: name one with --transport-service", e.Name, found.Service(), e.Service)
		}
		found = a
	}
	if found == nil {
		return nil, 0, h.notFound(t.Name, role)
	}
	return found, find(h.registry.entries, found.Name(), found.Service()), nil
}

func (h *Host) notFound(name string, role event.Role) error {
	where := ""
	if role != "" {
		where = " for " + string(role)
	}
	var names []string
	for _, a := range h.list() {
		names = append(names, a.Name()+" ("+string(a.Service())+")")
	}
	if len(names) == 0 {
		return fmt.Errorf("no agent %q is installed%s; none is at all", name, where)
	}
	return fmt.Errorf("no agent %q is installed%s; installed: %s", name, where, strings.Join(names, ", "))
}

// Enable starts the agent and, once it is ready, puts it in force for the transactions that
// begin from then on. Where it does not start nothing has changed.
func (h *Host) Enable(ctx context.Context, t Target) (Info, []string, error) {
	ctx, done, err := h.operation(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer done()
	a, at, err := h.locate(t)
	if err != nil {
		return Info{}, nil, err
	}
	entries := h.registry.Entries()
	e := &entries[at]
	if e.Enabled {
		return a.info(e, priority(entries, e)), []string{fmt.Sprintf("Agent %s is enabled already.", e.Name)}, nil
	}
	if err := h.CheckService(e.Service); err != nil {
		return Info{}, nil, fmt.Errorf("agent %s: %w", e.Name, err)
	}
	e.Enabled = true
	if t.WhatIf {
		return a.info(e, priority(entries, e)), nil, h.rehearse(ctx, a, h.spec(*e), asGranted)
	}
	v := a.supervisor(h.spec(*e))
	inst, err := v.launch(ctx, v.spec, a.gen.Add(1))
	if err != nil {
		return Info{}, nil, err
	}
	if h.options.Offline {
		inst.stop()
	}
	if err := h.registry.replace(entries); err != nil {
		inst.stop()
		return Info{}, nil, err
	}
	if !h.options.Offline {
		v.mu.Lock()
		v.adopt(inst, v.spec)
		v.bound = inst.terms.Load().subs
		v.mu.Unlock()
		a.sup.Store(v)
		go v.run()
	}
	h.sync()
	h.onChange(e.Service)
	a.log.Info("agent enabled")
	return a.info(e, priority(entries, e)), nil, nil
}

// rehearse starts the installed program, asks it whether it takes its settings, and ends it.
func (h *Host) rehearse(ctx context.Context, a *Agent, s *spec, permit func(*Entry) error) error {
	if err := checkPinned(s.Name, s.Path, s.SHA256); err != nil {
		return fmt.Errorf("agent %s: %w", s.Name, err)
	}
	return h.shop.probe(ctx, s, a.log, permit)
}

// Disable takes the agent out of the transactions that begin from then on; running ones keep
// it to their end. With now it is cut off at once: calls in flight give event.ErrDetached.
func (h *Host) Disable(ctx context.Context, t Target, now bool) (Info, []string, error) {
	_, done, err := h.operation(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer done()
	a, at, err := h.locate(t)
	if err != nil {
		return Info{}, nil, err
	}
	entries := h.registry.Entries()
	e := &entries[at]
	if !e.Enabled {
		if now && !t.WhatIf {
			a.sup.Load().halt(0) // it may still be finishing
		}
		return a.info(e, priority(entries, e)), []string{fmt.Sprintf("Agent %s is disabled already.", e.Name)}, nil
	}
	var notes []string
	if until := e.bypass(time.Now()); !until.IsZero() {
		notes = append(notes, fmt.Sprintf("The bypass of agent %s ends with that.", e.Name))
	}
	e.Enabled, e.BypassUntil = false, time.Time{}
	if t.WhatIf {
		return a.info(e, priority(entries, e)), notes, nil
	}
	if err := h.registry.replace(entries); err != nil {
		return Info{}, nil, err
	}
	a.disarm()
	h.sync()
	h.onChange(e.Service)
	notes = append(notes, h.release(a, now, true)...)
	a.log.Info("agent disabled", "now", now)
	return a.info(e, priority(entries, e)), notes, nil
}

// release ends the agent's process when nobody needs it any more, or now. The note says who
// does, and with canCut that it can be now.
func (h *Host) release(a *Agent, now, canCut bool) (notes []string) {
	v := a.sup.Load()
	if now {
		v.halt(0)
		return nil
	}
	if n := v.open.Load(); n > 0 {
		notes = append(notes, keepNote(n, a.Name(), canCut))
	}
	h.ending.Go(func() { v.drain(h.ctx, drainPatience) })
	return notes
}

func keepNote(sessions int64, agent string, canCut bool) string {
	note, cut := fmt.Sprintf("%d running sessions keep agent %s for their present transaction", sessions, agent), "; --now cuts them off"
	if sessions == 1 {
		note, cut = fmt.Sprintf("1 running session keeps agent %s for its present transaction", agent), "; --now cuts it off"
	}
	if canCut {
		note += cut
	}
	return note + "."
}

// Uninstall disables the agent and removes it from the registry. The files it kept stay.
func (h *Host) Uninstall(ctx context.Context, t Target) (Info, []string, error) {
	_, done, err := h.operation(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer done()
	a, at, err := h.locate(t)
	if err != nil {
		return Info{}, nil, err
	}
	entries := h.registry.Entries()
	e := entries[at]
	info := a.info(&e, priority(entries, &e))
	if t.WhatIf {
		return info, nil, nil
	}
	if err := h.registry.replace(slices.Delete(entries, at, at+1)); err != nil {
		return Info{}, nil, err
	}
	a.disarm()
	h.sync()
	h.onChange(e.Service)
	var notes []string
	if v := a.sup.Load(); v.open.Load() > 0 {
		notes = h.release(a, false, false)
	} else {
		v.halt(politeTime)
		h.shop.removeEmpty(&e)
	}
	if files, err := os.ReadDir(h.shop.home(&e)); err == nil && len(files) > 0 {
		notes = append(notes, fmt.Sprintf("The files that agent %s kept stay in %s.", e.Name, h.shop.home(&e)))
	}
	a.log.Info("agent uninstalled")
	return info, notes, nil
}

// SetRequest is what Set is asked for. A nil field stays as it is.
type SetRequest struct {
	Target
	Priority     *int           // 1 runs first
	Timeout      *time.Duration // 0: the default
	OnFailure    *string        // tempfail, continue; empty: the default
	Settings     *string        // as JSON; empty: none
	SettingsPath *string
	Path         *string // absolute; the same again takes a new file over
	Bounds
}

// maxTimeout is less than the patience of clients (RFC 5321 §4.5.3.2: 5 minutes a command).
const maxTimeout = 4 * time.Minute

// Set changes an agent, all of the request or nothing. A new program or new settings are in
// force for the next event; a running agent's calls in flight finish on the old process.
func (h *Host) Set(ctx context.Context, q SetRequest) (Info, []string, error) {
	ctx, done, err := h.operation(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer done()
	a, at, err := h.locate(q.Target)
	if err != nil {
		return Info{}, nil, err
	}
	entries := h.registry.Entries()
	e := &entries[at]
	old := *e
	if err := q.apply(e); err != nil {
		return Info{}, nil, fmt.Errorf("agent %s: %w", e.Name, err)
	}
	s := h.spec(*e)
	permit := func(e *Entry) error { return q.permit(e, old.Granted) }
	how := q.how(&old, e)
	if how != sameProcess {
		if err := h.try(ctx, a, s, how, permit); err != nil {
			return Info{}, nil, err
		}
		s.Edition = a.editions.Add(1)
		*e = s.Entry
	}
	notes := changeNotes(&old, e)
	if how >= newProcess {
		notes = append(notes, h.noWayBack(a, &old)...)
	}
	var clamped []string
	entries, clamped = move(entries, at, q.Priority)
	notes = append(notes, clamped...)
	e = &entries[find(entries, old.Name, old.Service)]
	if q.WhatIf {
		info := a.info(e, priority(entries, e))
		return info, append(notes, confineNotes(&info, &q.Confine)...), nil
	}
	before := h.registry.Entries()
	if err := h.registry.replace(entries); err != nil {
		return Info{}, nil, err
	}
	if err := h.take(ctx, a, s, how); err != nil {
		return Info{}, nil, errors.Join(err, h.registry.replace(before))
	}
	h.sync()
	h.onChange(e.Service)
	a.log.Info("agent set", q.changes(e, priority(entries, e))...)
	info := a.info(a.entry.Load(), priority(entries, e))
	return info, append(notes, confineNotes(&info, &q.Confine)...), nil
}

// changes are what was asked for, as it is now, for the log. Settings can hold secrets: only
// where they came from is said.
func (q *SetRequest) changes(e *Entry, priority int) (all []any) {
	if q.Priority != nil {
		all = append(all, "priority", priority)
	}
	if q.Timeout != nil {
		all = append(all, "timeout", orDefault(e.Timeout.String(), e.Timeout == 0))
	}
	if q.OnFailure != nil {
		all = append(all, "on_failure", orDefault(e.OnFailure, e.OnFailure == ""))
	}
	if q.Settings != nil {
		all = append(all, "settings", cmp.Or(e.SettingsPath, "changed"))
	}
	if q.Path != nil {
		all = append(all, "path", e.Path, "sha256", e.SHA256)
	}
	return append(all, q.Bounds.changes(e)...)
}

func orDefault(text string, isDefault bool) string {
	if isDefault {
		return "default"
	}
	return text
}

func checkTimeout(d time.Duration) error {
	if d < 0 || d > maxTimeout {
		return fmt.Errorf("timeout %s: must be from 0s, the default, to %s", d, maxTimeout)
	}
	return nil
}

// apply puts what is asked for into the entry.
func (q *SetRequest) apply(e *Entry) (err error) {
	if q.Timeout != nil {
		if err := checkTimeout(*q.Timeout); err != nil {
			return err
		}
		e.Timeout = *q.Timeout
	}
	if q.OnFailure != nil {
		if err := checkOnFailure(*q.OnFailure); err != nil {
			return err
		}
		e.OnFailure = *q.OnFailure
	}
	if q.Settings != nil {
		if err := checkSettings(*q.Settings); err != nil {
			return err
		}
		e.Settings, e.SettingsPath = *q.Settings, ""
	}
	if q.SettingsPath != nil {
		e.SettingsPath = *q.SettingsPath
	}
	if q.Path != nil {
		if e.SHA256, err = digest(*q.Path); err != nil {
			return err
		}
		e.Path = *q.Path
	}
	q.narrow(e)
	return nil
}

// effect is what a change comes to for the process of an agent.
type effect int

const (
	sameProcess effect = iota // it is not even told
	toldAnew                  // it is configured again
	newProcess                // of the same program
	newProgram
)

// how says what the change needs.
func (q *SetRequest) how(old, now *Entry) effect {
	switch {
	case q.Path != nil:
		return newProgram
	case !reflect.DeepEqual(old.Confine, now.Confine), q.changesNetwork(old):
		return newProcess
	case q.Settings != nil, q.Grant != nil, q.Deny != nil:
		return toldAnew
	}
	return sameProcess
}

// try asks a process of the spec whether it takes what is to be set: the running one, or for
// a new process, or where none runs, one that is started for it. permit grants it what it is
// then to have.
func (h *Host) try(ctx context.Context, a *Agent, s *spec, how effect, permit func(*Entry) error) error {
	inst := a.sup.Load().cur.Load()
	switch {
	case how == newProgram:
		return h.shop.probe(ctx, s, a.log, permit)
	case how == newProcess, inst == nil:
		return h.rehearse(ctx, a, s, permit)
	}
	if err := permit(&s.Entry); err != nil {
		return err
	}
	_, _, err := s.configure(ctx, inst, s.request(inst.generation, "", true, h.shop.home(&s.Entry)))
	return err
}

// take puts the spec in force where the agent is enabled.
func (h *Host) take(ctx context.Context, a *Agent, s *spec, how effect) error {
	v := a.sup.Load()
	switch {
	case !s.Enabled || h.options.Offline || !h.serves(s.Service):
		return nil
	case how == newProgram, how == newProcess:
		return v.swap(ctx, s)
	case how == toldAnew:
		return v.reconfigure(ctx, s, h.shop.home(&s.Entry))
	}
	return nil
}

// move puts the entry at the place among those of its service, from 1, that is wanted.
func move(entries []Entry, at int, to *int) ([]Entry, []string) {
	if to == nil {
		return entries, nil
	}
	e := entries[at]
	first, count := -1, 0
	for i := range entries {
		if entries[i].Service == e.Service {
			if first < 0 {
				first = i
			}
			count++
		}
	}
	var notes []string
	n := min(max(*to, 1), count)
	if n != *to {
		notes = append(notes, fmt.Sprintf("Priority %d is out of range: agent %s has priority %d of %d.", *to, e.Name, n, count))
	}
	entries = slices.Delete(entries, at, at+1)
	return slices.Insert(entries, first+n-1, e), notes
}

// operation gives the operation that asks for it the Host for itself. ctx ends also when the
// Host is closed.
func (h *Host) operation(ctx context.Context) (context.Context, func(), error) {
	h.change.Lock()
	if h.closed || h.ctx.Err() != nil {
		h.change.Unlock()
		return nil, nil, errors.New("the relay is going down")
	}
	if err := ctx.Err(); err != nil { // whoever asked has been told that it failed
		h.change.Unlock()
		return nil, nil, err
	}
	h.settle(h.ctx)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		h.change.Unlock()
	}, nil
}
