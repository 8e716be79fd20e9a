package agents

import (
	"context"
	"fmt"
	"time"

	"example.org/relay/relay/event"
)

// MaxBypass is how long an agent can be bypassed at a time: longer is disable-agent's.
const MaxBypass = 7 * 24 * time.Hour

// bypass is when the agent is asked again; zero where it is now.
func (e *Entry) bypass(now time.Time) time.Time {
	if e.BypassUntil.After(now) {
		return e.BypassUntil
	}
	return time.Time{}
}

// Bypassed returns until when mail goes on without the agent; zero: it does not.
func (a *Agent) Bypassed() time.Time { return a.entry.Load().bypass(time.Now()) }

// InForce returns the enabled agents of a service that are not bypassed, the first to run first.
func (h *Host) InForce(role event.Role) []*Agent {
	var all []*Agent
	for _, a := range h.Enabled(role) {
		if a.Bypassed().IsZero() {
			all = append(all, a)
		}
	}
	return all
}

// Bypass lets the transactions that begin from now on go on without the agent, for a while that
// ends by itself, or with 0 ends that. Its process is kept, so that it is ready then.
func (h *Host) Bypass(ctx context.Context, t Target, wanted time.Duration) (Info, []string, error) {
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
	now := time.Now()
	was := e.bypass(now)
	switch {
	case wanted < 0 || wanted > MaxBypass:
		return Info{}, nil, fmt.Errorf("agent %s: bypass for %s: must be more than 0s and at most %dh; for longer: relay disable-agent %s",
			e.Name, wanted, int(MaxBypass.Hours()), e.Name)
	case wanted > 0 && !e.Enabled:
		return Info{}, nil, fmt.Errorf("agent %s is disabled: mail goes on without it anyway", e.Name)
	case wanted == 0 && was.IsZero():
		return a.info(e, priority(entries, e)), []string{fmt.Sprintf("Agent %s was not bypassed before.", e.Name)}, nil
	}
	if e.BypassUntil = (time.Time{}); wanted > 0 {
		e.BypassUntil = now.Add(wanted).UTC().Truncate(time.Millisecond)
	}
	notes := bypassNotes(a, e, was)
	if t.WhatIf {
		return a.info(e, priority(entries, e)), notes, nil
	}
	if err := h.registry.replace(entries); err != nil {
		return Info{}, nil, err
	}
	h.sync()
	h.armBypass(a)
	h.onChange(e.Service)
	if wanted > 0 {
		a.log.Warn("agent bypassed", "until", e.BypassUntil, "by", "relay bypass-agent")
	} else {
		a.log.Info("agent's bypass ended", "by", "relay bypass-agent --end")
	}
	return a.info(e, priority(entries, e)), notes, nil
}

func bypassNotes(a *Agent, e *Entry, was time.Time) (notes []string) {
	if e.BypassUntil.IsZero() {
		return nil
	}
	if !was.IsZero() {
		notes = append(notes, fmt.Sprintf("Agent %s was bypassed until %s.", e.Name, was.Local().Format(time.RFC3339)))
	}
	notes = append(notes, fmt.Sprintf("Mail goes on without agent %s until %s; then it is asked again. To end that before: relay bypass-agent %s --end",
		e.Name, e.BypassUntil.Local().Format(time.RFC3339), e.Name))
	if n := a.sup.Load().open.Load(); n > 0 && was.IsZero() {
		notes = append(notes, keepNote(n, e.Name, false))
	}
	return notes
}

// armBypass sets the timer that ends the agent's bypass, as its entry has it. h.change is held.
func (h *Host) armBypass(a *Agent) {
	a.disarm()
	until := a.entry.Load().BypassUntil
	if until.IsZero() || h.options.Offline || h.ctx.Err() != nil {
		return
	}
	a.unbypass = time.AfterFunc(time.Until(until), func() { h.endBypass(a, until) })
}

// endBypass puts an agent in force again whose time is over. That does not wait for an operation
// that is under way; only the registry is tidied after it.
func (h *Host) endBypass(a *Agent, until time.Time) {
	ended := a.entry.Load().BypassUntil.Equal(until) && h.ctx.Err() == nil
	if ended && time.Now().Before(until) { // the clock was set back
		ended = false
	}
	if ended {
		h.onChange(a.Service())
		a.log.Info("agent's bypass ended", "by", "itself: the time was over")
	}
	_, done, err := h.operation(h.ctx)
	if err != nil {
		return
	}
	defer done()
	if !a.entry.Load().BypassUntil.Equal(until) {
		return
	}
	if !ended {
		h.armBypass(a)
		return
	}
	if err := h.forgetBypasses(time.Now()); err != nil {
		h.log.Warn("agent's bypass that ended stays in the registry", "error", err)
	}
}

// forgetBypasses takes those that have ended out of the registry. h.change is held.
func (h *Host) forgetBypasses(now time.Time) error {
	entries, ended := h.registry.Entries(), false
	for i := range entries {
		if e := &entries[i]; !e.BypassUntil.IsZero() && e.bypass(now).IsZero() {
			e.BypassUntil, ended = time.Time{}, true
		}
	}
	if !ended {
		return nil
	}
	err := h.registry.replace(entries)
	if err == nil {
		h.sync()
	}
	return err
}

// resumeBypasses goes on with those that a relay before this one was asked for. h.change is held.
func (h *Host) resumeBypasses() {
	for _, a := range h.list() {
		switch e := a.entry.Load(); {
		case e.BypassUntil.IsZero():
		case e.bypass(time.Now()).IsZero():
			a.log.Info("agent's bypass ended", "by", "itself: the time was over before the relay started", "until", e.BypassUntil)
		default:
			a.log.Warn("agent bypassed", "until", e.BypassUntil, "by", "relay bypass-agent, before the relay started")
			h.armBypass(a)
		}
	}
	if err := h.forgetBypasses(time.Now()); err != nil {
		h.log.Warn("agent's bypass that ended stays in the registry", "error", err)
	}
}

// disarm stops the timer of a bypass. host.change is held.
func (a *Agent) disarm() {
	if a.unbypass != nil {
		a.unbypass.Stop()
		a.unbypass = nil
	}
}
