package agents

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

func permissions(all ...event.Permission) *event.Permissions {
	var set event.Permissions
	for _, p := range all {
		set = set.With(p)
	}
	return &set
}

func TestGrants(t *testing.T) {
	everything := event.AllPermissions
	for _, tt := range []struct {
		name        string
		had         event.Permissions
		grant, deny *event.Permissions
		install     bool
		want        *event.Permissions
		refused     string
	}{
		{name: "at install all it asks for", install: true, want: permissions(event.ReadHeaders, event.MayReject)},
		{name: "at install only what is granted", install: true, grant: permissions(event.MayReject), want: permissions(event.MayReject)},
		{name: "at install nothing", install: true, grant: permissions(), want: permissions()},
		{name: "at install all but one", install: true, deny: permissions(event.MayReject), want: permissions(event.ReadHeaders)},
		{name: "what it does not ask for can be withheld", install: true, deny: permissions(event.MaySubmit), want: permissions(event.ReadHeaders, event.MayReject)},
		{name: "what it does not ask for cannot be granted", install: true, grant: permissions(event.MayReject, event.MaySubmit, event.MayNetwork),
			refused: "agent a does not ask for submit, network, so it cannot be granted; it asks for read-headers, reject"},
		{name: "all", install: true, grant: &everything, deny: permissions(event.ReadHeaders), want: permissions(event.MayReject)},
		{name: "later one more", had: *permissions(event.ReadHeaders), grant: permissions(event.MayReject), want: permissions(event.ReadHeaders, event.MayReject)},
		{name: "later one less", had: *permissions(event.ReadHeaders, event.MayReject), deny: permissions(event.ReadHeaders), want: permissions(event.MayReject)},
		{name: "later all", grant: &everything, want: permissions(event.ReadHeaders, event.MayReject)},
		{name: "later none", had: *permissions(event.ReadHeaders), deny: &everything, want: permissions()},
		{name: "what it does not ask for any more is gone", had: *permissions(event.ReadHeaders, event.MaySubmit), want: permissions(event.ReadHeaders)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := Entry{Name: "a", Described: Described{Asks: *permissions(event.ReadHeaders, event.MayReject)}}
			b := Bounds{Grant: tt.grant, Deny: tt.deny}
			err := b.permit(&e, tt.had)
			if tt.install {
				err = b.permitNew(&e)
			}
			switch {
			case tt.refused != "" && (err == nil || err.Error() != tt.refused):
				t.Errorf("error %v, want %s", err, tt.refused)
			case tt.refused == "" && (err != nil || e.Granted != *tt.want):
				t.Errorf("granted %v, %v, want %v", e.Granted.List(), err, tt.want.List())
			}
		})
	}
}

// read shows a message's header section to the agent and returns which parts it saw.
func read(t *testing.T, c *Conversation, state *event.State, seq uint32) string {
	t.Helper()
	e := event.Event{Seq: seq, Kind: event.EndOfHeaders}
	v, err := c.Decide(t.Context(), []event.Event{e}, state, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, parts, _ := strings.Cut(v.Reason, "parts=")
	parts, _, _ = strings.Cut(parts, " ")
	return parts
}

func headerState(session string) *event.State {
	s := newState(session)
	s.Envelope, s.EnvelopeRevision = &mail.Envelope{ID: session + "-1"}, 1
	s.Header, s.HeaderRevision = mail.ParseHeader([]byte("Subject: secret\r\n\r\n")), 1
	return s
}

func TestHeadersGoOnlyToWhoMayReadThem(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	pid := r.pid(t, "good")
	see := func(session string) string {
		c, state := a.Open(session), headerState(session)
		defer c.End(nil, state, event.DisconnectQuit)
		return read(t, c, state, 1)
	}
	if got := see("s1"); !strings.Contains(got, "h") {
		t.Errorf("granted, and it sees %s", got)
	}
	if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Bounds: Bounds{Deny: permissions(event.ReadHeaders)}}); err != nil {
		t.Fatal(err)
	}
	if got := see("s2"); strings.Contains(got, "h") {
		t.Errorf("withheld, and it sees %s", got)
	}
	if a.Granted().Has(event.ReadHeaders) || r.registry.Entries()[0].Granted.Has(event.ReadHeaders) {
		t.Error("still granted")
	}
	if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Bounds: Bounds{Grant: permissions(event.ReadHeaders)}}); err != nil {
		t.Fatal(err)
	}
	if got := see("s3"); !strings.Contains(got, "h") {
		t.Errorf("granted again, and it sees %s", got)
	}
	if r.pid(t, "good") != pid {
		t.Error("it has another process")
	}
}

func TestProgramThatAsksForMoreIsNotGrantedIt(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	path := program(t, "wants-more")
	set := func(q SetRequest) (Info, []string) {
		t.Helper()
		q.Target.Name = "good"
		info, notes, err := r.Set(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return info, notes
	}
	for _, whatIf := range []bool{true, false} {
		info, notes := set(SetRequest{Target: Target{WhatIf: whatIf}, Path: &path})
		want := []string{
			"Agent good asks for more than before, which it is not granted: change-recipients (add, replace and drop recipients), submit (send mail of its own). " +
				"To grant it: relay set-agent good --grant change-recipients,submit --transport-service FrontEnd",
			"Agent good is shown OnEhloCommand, OnMailCommand, OnRcptCommand, OnEndOfHeaders, OnDisconnect (watches); before it was OnMailCommand, OnRcptCommand, OnEndOfHeaders, OnDisconnect (watches).",
		}
		if d := cmp.Diff(want, notes); d != "" {
			t.Error(d)
		}
		if info.Permissions != *permissions(event.ReadHeaders, event.MayReject) {
			t.Errorf("granted %v", info.Permissions.List())
		}
	}
	if a.ChangesRecipientsAt() != 0 {
		t.Error("recipients wait for an agent that may not change them")
	}
	_, notes := set(SetRequest{Bounds: Bounds{Grant: permissions(event.ChangeRecipients)}})
	if len(notes) != 3 || !strings.Contains(notes[0], "changes recipients up to OnEndOfHeaders") ||
		notes[2] != "Agent good is not granted: submit (send mail of its own). What it does without is refused." || a.ChangesRecipientsAt() != event.EndOfHeaders {
		t.Errorf("notes %q, at %s", notes, a.ChangesRecipientsAt())
	}
	// The same program again changes nothing of it, and what it does not ask for is gone with the old one.
	info, notes := set(SetRequest{Path: &path})
	if len(notes) != 0 || info.Permissions != *permissions(event.ReadHeaders, event.MayReject, event.ChangeRecipients) {
		t.Errorf("granted %v, notes %q", info.Permissions.List(), notes)
	}
	path = program(t, "good")
	info, notes = set(SetRequest{Path: &path, Bounds: Bounds{Deny: permissions(event.MayReject)}})
	if len(notes) != 3 || !strings.Contains(notes[0], "does not ask for change-recipients any more") || info.Permissions != *permissions(event.ReadHeaders) {
		t.Errorf("granted %v, notes %q", info.Permissions.List(), notes)
	}
	// What is withheld stays so, whatever makes a process be asked.
	settings := `{"a":1}`
	if info, _ = set(SetRequest{Settings: &settings}); info.Permissions != *permissions(event.ReadHeaders) {
		t.Errorf("after new settings: granted %v", info.Permissions.List())
	}
	if _, _, err := r.Disable(t.Context(), Target{Name: "good"}, true); err != nil {
		t.Fatal(err)
	}
	if info, _ = set(SetRequest{Settings: &settings}); info.Permissions != *permissions(event.ReadHeaders) {
		t.Errorf("after new settings while disabled: granted %v", info.Permissions.List())
	}
	if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Bounds: Bounds{Grant: permissions(event.MayNetwork)}}); err == nil ||
		!strings.Contains(err.Error(), "does not ask for network") {
		t.Errorf("error %v", err)
	}
}

func TestSetConfinesByANewProcess(t *testing.T) {
	r := newRig(t)
	r.enabled(t, "good")
	pid, n, listeners := r.pid(t, "good"), 7, []string{":25"}
	if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Bounds: Bounds{Only: Narrowing{Listeners: &listeners}}}); err != nil {
		t.Fatal(err)
	}
	if r.pid(t, "good") != pid || r.registry.Entries()[0].Only.Listeners[0] != ":25" {
		t.Error("narrowing made a new process, or is not kept")
	}
	set := func(c Change[int]) Info {
		t.Helper()
		info, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Bounds: Bounds{Confine: Confinement{Sessions: c}}})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if info := set(Change[int]{Made: true, To: &n}); info.PID == pid || info.Confine.Sessions == nil || *info.Confine.Sessions != 7 {
		t.Errorf("pid %d, %+v", info.PID, info.Confine)
	}
	pid = r.pid(t, "good")
	if info := set(Change[int]{Made: true, To: &n}); info.PID != pid {
		t.Error("the same again made a new process")
	}
	if info := set(Change[int]{Made: true}); info.PID == pid || r.registry.Entries()[0].Confine.Sessions != nil {
		t.Error("the default did not come back")
	}
}

func TestScriptIsSaidToBePinnedAlone(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]bool{"#!/usr/bin/env python3\nimport x\n": true, "\x7fELF\n": false, "": false, "#!": false} {
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
		notes := scriptNote(&Entry{Path: path})
		if (len(notes) == 1) != want || want && !strings.Contains(notes[0], "is a script for /usr/bin/env python3: its SHA-256 covers neither that nor what it imports") {
			t.Errorf("%q: %q", name, notes)
		}
	}
}

func TestProgramThatChangedIsNotStartedAfterACrash(t *testing.T) {
	r := newRig(t)
	path, ran := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "ran")
	copyProgram(t, path)
	if _, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: path}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n: > "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(r.pid(t, "a"), syscall.SIGKILL)
	get := func() Info { i, _ := r.Get("a", ""); return i[0] }
	eventually(t, "the circuit to open", func() bool { return get().State == stateFailed })
	const what = "has changed since it was installed"
	if i := get(); !strings.Contains(i.Problem, what) || !strings.Contains(i.Problem, "relay set-agent a --path "+path) || i.RetryAt.IsZero() {
		t.Errorf("problem %q, next start %s", i.Problem, i.RetryAt)
	}
	if !strings.Contains(r.log.String(), what) {
		t.Error("the log does not say why")
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the changed program was run")
	}
}

func TestFailuresAreCountedByKind(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	c, state := a.Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "never", 50*time.Millisecond); err == nil {
		t.Error("no timeout")
	}
	if _, err := mailFrom(t, c, state, 2, "fails", 5*time.Second); err == nil {
		t.Error("no failure")
	}
	a.Fault("s", event.EndOfHeaders, os.ErrPermission)
	c.End(nil, state, event.DisconnectQuit)
	i, err := r.Get("good", "")
	if err != nil {
		t.Fatal(err)
	}
	if i[0].Failures != 3 || i[0].Timeouts != 1 || i[0].Refused != 1 || i[0].Poison != 0 || i[0].Overloaded != 0 {
		t.Errorf("%+v", i[0])
	}
	if f := i[0].LastFailure; f == nil || f.Event != event.EndOfHeaders || f.Text != "permission denied" || time.Since(f.At) > time.Minute {
		t.Errorf("last failure %+v", f)
	}
}

func TestUninstallLeavesNoEmptyFolder(t *testing.T) {
	r := newRig(t)
	home := filepath.Join(r.registry.Dir(), "agents", "FrontEnd")
	for _, name := range []string{"one", "two"} {
		r.install(t, name, "good")
		if _, _, err := r.Enable(t.Context(), Target{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "two", "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, stays := range map[string]bool{"one": false, "two": true} {
		_, notes, err := r.Uninstall(t.Context(), Target{Name: name})
		if err != nil || len(notes) > 0 != stays {
			t.Errorf("%s: %q, %v", name, notes, err)
		}
		if _, err := os.Stat(filepath.Join(home, name)); (err == nil) != stays {
			t.Errorf("folder of %s: %v", name, err)
		}
	}
}
