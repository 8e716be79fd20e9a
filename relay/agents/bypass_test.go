package agents

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
)

// bypassRig is a host of two enabled agents without processes, made in the bubble.
func bypassRig(t *testing.T, dir string, entries []Entry) *rig {
	t.Helper()
	registry, err := OpenRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	if entries != nil {
		if err := registry.replace(entries); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{registry: registry, log: &logBuffer{}, changes: make(chan event.Role, 100)}
	r.Host, err = New(Options{
		Registry: registry, Services: []event.Role{event.FrontEnd}, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		OnChange: func(role event.Role) { r.changes <- role },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) end(t *testing.T) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r.registry.Close()
}

func (r *rig) bypass(t *testing.T, wanted time.Duration) []string {
	t.Helper()
	_, notes, err := r.Bypass(t.Context(), Target{Name: "a"}, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

func twoEnabled() []Entry {
	return []Entry{{Name: "a", Service: event.FrontEnd, Enabled: true}, {Name: "b", Service: event.FrontEnd, Enabled: true}}
}

func TestBypassEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bypassRig(t, t.TempDir(), twoEnabled())
		defer r.end(t)
		if notes := r.bypass(t, 15*time.Minute); len(notes) != 1 || !strings.Contains(notes[0], "relay bypass-agent a --end") {
			t.Errorf("notes %q", notes)
		}
		if <-r.changes; names(r.InForce(event.FrontEnd)) != "b" || names(r.Enabled(event.FrontEnd)) != "a b" {
			t.Errorf("in force: %s", names(r.InForce(event.FrontEnd)))
		}
		if i, _ := r.Get("a", ""); time.Until(i[0].BypassUntil) != 15*time.Minute || !i[0].Enabled {
			t.Errorf("%+v", i[0])
		}
		time.Sleep(15*time.Minute - time.Second)
		if synctest.Wait(); names(r.InForce(event.FrontEnd)) != "b" || len(r.changes) > 0 {
			t.Error("it ended too early")
		}
		time.Sleep(time.Second)
		if synctest.Wait(); names(r.InForce(event.FrontEnd)) != "a b" || len(r.changes) != 1 {
			t.Error("it did not end")
		}
		if e := r.registry.Entries()[0]; !e.BypassUntil.IsZero() {
			t.Errorf("the registry has it still: %s", e.BypassUntil)
		}
		log := r.log.String()
		if !strings.Contains(log, `msg="agent bypassed" agent=a service=FrontEnd until=`) ||
			!strings.Contains(log, `msg="agent's bypass ended" agent=a service=FrontEnd by="itself: the time was over"`) {
			t.Error(log)
		}
	})
}

// An operation that takes long does not prolong a bypass.
func TestBypassEndsWhileAnotherCommandRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bypassRig(t, t.TempDir(), twoEnabled())
		defer r.end(t)
		r.bypass(t, time.Minute)
		<-r.changes
		_, done, err := r.operation(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if <-r.changes; names(r.InForce(event.FrontEnd)) != "a b" {
			t.Error("it did not end")
		}
		done()
		if synctest.Wait(); !r.registry.Entries()[0].BypassUntil.IsZero() {
			t.Error("the registry has it still")
		}
	})
}

func TestBypassIsChangedAndEndedByCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bypassRig(t, t.TempDir(), twoEnabled())
		defer r.end(t)
		if notes := r.bypass(t, 0); len(notes) != 1 || notes[0] != "Agent a was not bypassed before." {
			t.Errorf("notes %q", notes)
		}
		r.bypass(t, time.Hour)
		if notes := r.bypass(t, time.Minute); len(notes) != 2 || !strings.HasPrefix(notes[0], "Agent a was bypassed until ") {
			t.Errorf("notes %q", notes)
		}
		time.Sleep(time.Minute)
		if synctest.Wait(); names(r.InForce(event.FrontEnd)) != "a b" {
			t.Error("the first time counts still")
		}
		r.bypass(t, time.Hour)
		r.bypass(t, 0)
		if names(r.InForce(event.FrontEnd)) != "a b" || !r.registry.Entries()[0].BypassUntil.IsZero() {
			t.Error("it was not ended")
		}
		for range len(r.changes) {
			<-r.changes
		}
		time.Sleep(2 * time.Hour)
		if synctest.Wait(); len(r.changes) != 0 {
			t.Error("a timer was left")
		}
		if _, _, err := r.Bypass(t.Context(), Target{Name: "a", WhatIf: true}, time.Hour); err != nil || names(r.InForce(event.FrontEnd)) != "a b" {
			t.Errorf("what-if: %v, in force %s", err, names(r.InForce(event.FrontEnd)))
		}
		r.bypass(t, time.Hour)
		if _, notes, err := r.Disable(t.Context(), Target{Name: "a"}, false); err != nil || len(notes) != 1 || notes[0] != "The bypass of agent a ends with that." {
			t.Errorf("disable: %q, %v", notes, err)
		}
		for wanted, want := range map[time.Duration]string{
			time.Hour: "agent a is disabled: mail goes on without it anyway", MaxBypass + time.Second: "at most 168h", -time.Second: "more than 0s",
		} {
			if _, _, err := r.Bypass(t.Context(), Target{Name: "a"}, wanted); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %s", wanted, err, want)
			}
		}
	})
}

func TestBypassOutlivesTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := bypassRig(t, dir, twoEnabled())
		r.bypass(t, time.Hour)
		r.end(t)
		time.Sleep(30 * time.Minute)
		r = bypassRig(t, dir, nil)
		r.change.Lock()
		r.resumeBypasses()
		r.change.Unlock()
		if names(r.InForce(event.FrontEnd)) != "b" {
			t.Error("forgotten")
		}
		time.Sleep(30 * time.Minute)
		if synctest.Wait(); names(r.InForce(event.FrontEnd)) != "a b" || len(r.changes) != 1 {
			t.Error("it did not end")
		}
		r.bypass(t, time.Hour)
		r.end(t)
		time.Sleep(2 * time.Hour)
		r = bypassRig(t, dir, nil)
		defer r.end(t)
		r.change.Lock()
		r.resumeBypasses()
		r.change.Unlock()
		if names(r.InForce(event.FrontEnd)) != "a b" || !r.registry.Entries()[0].BypassUntil.IsZero() ||
			!strings.Contains(r.log.String(), "the time was over before the relay started") {
			t.Errorf("in force %s\n%s", names(r.InForce(event.FrontEnd)), r.log)
		}
	})
}

func TestBypassKeepsTheProcess(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	pid := r.pid(t, "good")
	c, state := a.Open("s"), newState("s")
	_, notes, err := r.Bypass(t.Context(), Target{Name: "good"}, time.Minute)
	if err != nil || len(notes) != 2 || notes[1] != "1 running session keeps agent good for its present transaction." {
		t.Errorf("notes %q, %v", notes, err)
	}
	if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
		t.Errorf("the transaction under way: %v", err)
	}
	c.End(nil, state, event.DisconnectQuit)
	if r.pid(t, "good") != pid {
		t.Error("its process was ended")
	}
}
