package agents

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/relay/relay/event"
)

func (r *rig) install(t *testing.T, name, behaviour string) {
	t.Helper()
	if _, _, err := r.Install(t.Context(), InstallRequest{Name: name, Service: "FrontEnd", Path: program(t, behaviour)}); err != nil {
		t.Fatal(err)
	}
}

func names(all []*Agent) (s string) {
	for _, a := range all {
		s += a.Name() + " "
	}
	return strings.TrimSpace(s)
}

func TestInstallIsDisabledAndLast(t *testing.T) {
	r := newRig(t)
	r.install(t, "one", "good")
	info, notes, err := r.Install(t.Context(), InstallRequest{Name: "two", Service: "frontend", Path: program(t, "good"), Settings: `{"a":1,"b":{"c":["x"]}}`, SettingsPath: "/etc/x.toml"})
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Sandbox) == 0 {
		t.Error("nothing is said of what keeps it from what")
	}
	info.SHA256, info.Path, info.Sandbox = "", "", nil
	want := Info{
		Name: "two", Service: event.FrontEnd, Priority: 2, Factory: "test", Version: "1.0", Description: "behaves as told",
		Events:   []event.Kind{event.MailCommand, event.RcptCommand, event.EndOfHeaders, event.Disconnect},
		Notifies: []event.Kind{event.Disconnect}, Permissions: event.Permissions(0).With(event.ReadHeaders).With(event.MayReject),
		Asks:    event.Permissions(0).With(event.ReadHeaders).With(event.MayReject),
		Timeout: DefaultTimeout, OnFailure: "tempfail", SettingsPath: "/etc/x.toml", State: stateStopped, Isolation: Isolation,
	}
	if d := cmp.Diff(want, info); d != "" {
		t.Error(d)
	}
	if len(notes) != 2 || !strings.Contains(notes[1], "is granted what it asks for: read-headers (see the header section), reject (") {
		t.Errorf("notes %q", notes)
	}
	if e := r.registry.Entries()[1]; e.Settings != `{"a":1,"b":{"c":["x"]}}` || e.Enabled {
		t.Errorf("entry %+v", e)
	}
	if got := r.Enabled(event.FrontEnd); len(got) != 0 {
		t.Errorf("enabled: %s", names(got))
	}
}

func TestInstallRefusals(t *testing.T) {
	r := newRig(t)
	r.install(t, "there", "good")
	notExecutable := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(notExecutable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := program(t, "good")
	for _, tt := range []struct {
		name string
		q    InstallRequest
		want string
	}{
		{"name", InstallRequest{Name: "../x", Service: "FrontEnd", Path: good}, "letters, digits"},
		{"unknown service", InstallRequest{Name: "x", Service: "Middle", Path: good}, "must be FrontEnd, Hub, Edge"},
		{"service not configured", InstallRequest{Name: "x", Service: "Hub", Path: good}, "Hub is not configured; configured: FrontEnd"},
		{"mailbox service", InstallRequest{Name: "x", Service: "MailboxDelivery", Path: good}, "no agents in this service"},
		{"name taken, whatever the case", InstallRequest{Name: "THERE", Service: "FrontEnd", Path: good}, "installed for FrontEnd already"},
		{"no file", InstallRequest{Name: "x", Service: "FrontEnd", Path: "/nowhere/agent"}, "no such file"},
		{"relative", InstallRequest{Name: "x", Service: "FrontEnd", Path: "agent"}, "must be absolute"},
		{"directory", InstallRequest{Name: "x", Service: "FrontEnd", Path: t.TempDir()}, "not a regular file"},
		{"not executable", InstallRequest{Name: "x", Service: "FrontEnd", Path: notExecutable}, "chmod +x"},
		{"factory", InstallRequest{Name: "x", Service: "FrontEnd", Path: good, Factory: "none"}, `no factory "none", only test`},
		{"role matrix", InstallRequest{Name: "x", Service: "FrontEnd", Path: program(t, "endofdata")},
			"agent x binds OnEndOfData, which transport service FrontEnd does not have; it can be installed for Hub or Edge"},
		{"settings are no JSON", InstallRequest{Name: "x", Service: "FrontEnd", Path: good, Settings: "a\n"}, "settings are not JSON"},
		{"settings with which it does nothing", InstallRequest{Name: "x", Service: "FrontEnd", Path: good, Settings: `{"a":"idle"}`}, "agent x: binds no event with these settings"},
		{"settings refused", InstallRequest{Name: "x", Service: "FrontEnd", Path: good, Settings: `{"a":"bad"}`}, "settings refused: separator: must be one character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := r.Install(t.Context(), tt.q)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if all, _ := r.Get("", ""); len(all) != 1 {
		t.Errorf("half installed: %v", all)
	}
}

func TestInstallThatIsRefusedOrOnlyAskedLeavesNoFolder(t *testing.T) {
	r := newRig(t)
	agents := filepath.Join(r.registry.Dir(), "agents")
	kept := filepath.Join(agents, "FrontEnd", "earlier")
	try := func(name, behaviour string, whatIf bool) {
		t.Helper()
		_, _, err := r.Install(t.Context(), InstallRequest{Name: name, Service: "FrontEnd", Path: program(t, behaviour), WhatIf: whatIf})
		if whatIf != (err == nil) {
			t.Errorf("what-if %v: %v", whatIf, err)
		}
	}
	try("x", "exit", false)
	try("x", "endofdata", false)
	try("x", "good", true)
	if _, err := os.Stat(agents); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", agents, err)
	}
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	try("earlier", "exit", false)
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a folder that was there before: %v", err)
	}
	r.install(t, "there", "good")
	if _, err := os.Stat(filepath.Join(agents, "FrontEnd", "there")); err != nil {
		t.Errorf("the installed agent's folder: %v", err)
	}
}

func TestChangesByCommandAreLogged(t *testing.T) {
	r := newRig(t)
	r.install(t, "a", "good")
	if _, _, err := r.Enable(t.Context(), Target{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	first, none, policy, settings, source := 7, time.Duration(0), "continue", `{"password":"hidden"}`, "/etc/a.toml"
	path := program(t, "good")
	for _, q := range []SetRequest{
		{Priority: &first, Timeout: &none, OnFailure: &policy}, {Settings: &settings, SettingsPath: &source}, {Path: &path},
	} {
		q.Target = Target{Name: "a", WhatIf: true}
		if _, _, err := r.Set(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		q.WhatIf = false
		if _, _, err := r.Set(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.Disable(t.Context(), Target{Name: "a"}, false); err != nil {
		t.Fatal(err)
	}
	log, program := r.log.String(), "path="+path+" sha256="+r.registry.Entries()[0].SHA256
	for _, want := range []string{
		`msg="agent enabled" agent=a service=FrontEnd`,
		`msg="agent set" agent=a service=FrontEnd priority=1 timeout=default on_failure=continue` + "\n",
		`msg="agent set" agent=a service=FrontEnd settings=/etc/a.toml` + "\n",
		`msg="agent set" agent=a service=FrontEnd ` + program + "\n",
		`msg="agent disabled" agent=a service=FrontEnd now=false`,
	} {
		if strings.Count(log, want) != 1 {
			t.Errorf("%d times in the log: %s", strings.Count(log, want), want)
		}
	}
	if _, swapped, _ := strings.Cut(log, "agent swapped"); !strings.Contains(strings.SplitN(swapped, "\n", 2)[0], program) {
		t.Error("the line of the swap does not name the program")
	}
	if strings.Contains(log, "hidden") {
		t.Error("settings are in the log")
	}
}

func TestNotesOfRunningSessionsNameOnlyWhatTheCommandHas(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	c := a.Open("s")
	_, notes, err := r.Disable(t.Context(), Target{Name: "good"}, false)
	if want := "1 running session keeps agent good for its present transaction; --now cuts it off."; err != nil || len(notes) != 1 || notes[0] != want {
		t.Errorf("disable: %q, %v", notes, err)
	}
	_, notes, err = r.Uninstall(t.Context(), Target{Name: "good"})
	if want := "1 running session keeps agent good for its present transaction."; err != nil || len(notes) == 0 || notes[0] != want {
		t.Errorf("uninstall: %q, %v", notes, err)
	}
	c.End(nil, newState("s"), event.DisconnectQuit)
	if got, want := keepNote(2, "b", true), "2 running sessions keep agent b for their present transaction; --now cuts them off."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEnableAndDisable(t *testing.T) {
	r := newRig(t)
	r.install(t, "a", "good")
	if _, _, err := r.Enable(t.Context(), Target{Name: "a", WhatIf: true}); err != nil || len(r.Enabled(event.FrontEnd)) != 0 {
		t.Errorf("what-if: %v, enabled %s", err, names(r.Enabled(event.FrontEnd)))
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: "A"}); err != nil {
		t.Fatal(err)
	}
	if role := <-r.changes; role != event.FrontEnd || names(r.Enabled(role)) != "a" {
		t.Errorf("after enable: %s %s", role, names(r.Enabled(event.FrontEnd)))
	}
	a := r.Enabled(event.FrontEnd)[0]
	c, state := a.Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
		t.Error(err)
	}
	pid := r.pid(t, "a")
	_, notes, err := r.Disable(t.Context(), Target{Name: "a"}, false)
	if err != nil || len(notes) != 1 {
		t.Errorf("disable: %q, %v", notes, err)
	}
	<-r.changes
	if len(r.Enabled(event.FrontEnd)) != 0 {
		t.Error("still enabled")
	}
	if _, err := mailFrom(t, c, state, 2, "a", 5*time.Second); err != nil {
		t.Errorf("the running session: %v", err)
	}
	c.End(nil, state, event.DisconnectQuit)
	eventually(t, "end of the process", func() bool { return syscall.Kill(pid, 0) != nil })
	if i, _ := r.Get("a", ""); i[0].State != stateStopped || i[0].Enabled {
		t.Errorf("state %s", i[0].State)
	}
}

func TestDisableNowCutsEventsInFlight(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	failed := make(chan error)
	go func() {
		c, state := a.Open("s"), newState("s")
		_, err := mailFrom(t, c, state, 1, "never", 10*time.Second)
		if _, again := mailFrom(t, c, state, 2, "a", 10*time.Second); !errors.Is(again, event.ErrDetached) {
			err = again
		}
		c.End(nil, state, event.DisconnectQuit)
		failed <- err
	}()
	eventually(t, "an event in flight", func() bool { return a.sup.Load().cur.Load().deciding.Load() == 1 })
	if _, _, err := r.Disable(t.Context(), Target{Name: "good"}, true); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, event.ErrDetached) {
		t.Errorf("error %v, want detached", err)
	}
}

func TestSessionOutlivesDisableAndEnable(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Disable(t.Context(), Target{Name: "good"}, true); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: "good"}); err != nil {
		t.Error(err)
	}
	if v, err := mailFrom(t, c, state, 2, "a", 5*time.Second); err != nil || !strings.Contains(v.Reason, "resumed=true") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestEnableThatFailsChangesNothing(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "good")
	copyProgram(t, path)
	if _, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: path}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Enable(t.Context(), Target{Name: "a"})
	if err == nil || !strings.Contains(err.Error(), "relay set-agent a --path "+path) {
		t.Errorf("error %v", err)
	}
	if len(r.Enabled(event.FrontEnd)) != 0 || len(r.changes) != 0 || r.registry.Entries()[0].Enabled {
		t.Error("it is enabled all the same")
	}
}

func copyProgram(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(path, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSet(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b", "c"} {
		r.install(t, name, "good")
		if _, _, err := r.Enable(t.Context(), Target{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	first, timeout, policy, bad := 0, 3*time.Second, "continue", `{"x":"bad"}`
	info, notes, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "c"}, Priority: &first, Timeout: &timeout, OnFailure: &policy})
	if err != nil || info.Priority != 1 || len(notes) != 1 || !strings.Contains(notes[0], "out of range") {
		t.Errorf("priority %d, notes %q, %v", info.Priority, notes, err)
	}
	all := r.Enabled(event.FrontEnd)
	if names(all) != "c a b" || all[0].Timeout() != timeout || all[0].OnFailure() != policy || all[1].Timeout() != DefaultTimeout {
		t.Errorf("order %s, timeout %s, policy %s", names(all), all[0].Timeout(), all[0].OnFailure())
	}
	second := 2
	_, _, err = r.Set(t.Context(), SetRequest{Target: Target{Name: "c"}, Priority: &second, Settings: &bad})
	if err == nil || names(r.Enabled(event.FrontEnd)) != "c a b" {
		t.Errorf("bad settings: %v, order %s", err, names(r.Enabled(event.FrontEnd)))
	}
	fine := `{"x":"fine"}`
	if _, _, err = r.Set(t.Context(), SetRequest{Target: Target{Name: "c"}, Settings: &fine}); err != nil {
		t.Error(err)
	}
	if e := r.registry.Entries()[0]; e.Settings != `{"x":"fine"}` {
		t.Errorf("settings %s", e.Settings)
	}
	if err := r.Update(t.Context(), Defaults{Domains: []string{"example.net"}, Timeout: time.Second, OnFailure: "continue"}); err != nil {
		t.Error(err)
	}
	if all[1].Timeout() != time.Second || all[1].OnFailure() != "continue" {
		t.Error("defaults are not taken over")
	}
	if _, _, err := r.Uninstall(t.Context(), Target{Name: "c"}); err != nil || names(r.Enabled(event.FrontEnd)) != "a b" {
		t.Errorf("uninstall: %v, order %s", err, names(r.Enabled(event.FrontEnd)))
	}
	if _, _, err := r.Uninstall(t.Context(), Target{Name: "c"}); err == nil || !strings.Contains(err.Error(), "installed: a (FrontEnd), b (FrontEnd)") {
		t.Errorf("error %v", err)
	}
}

func TestOfflineEnableTriesTheAgentOnly(t *testing.T) {
	dir := t.TempDir()
	registry, err := OpenRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{Registry: registry, Services: []event.Role{event.FrontEnd}, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: program(t, "good")}); err != nil {
		t.Fatal(err)
	}
	info, _, err := h.Enable(t.Context(), Target{Name: "a"})
	if err != nil || !info.Enabled || info.PID != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	registry.Close()
	r := newRigIn(t, dir)
	if names(r.Enabled(event.FrontEnd)) != "a" {
		t.Error("not enabled in the registry")
	}
}

func TestAgentThatCannotStartIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(t.TempDir(), "good")
	if err := os.Symlink(program(t, "good"), path); err != nil {
		t.Fatal(err)
	}
	r := newRigIn(t, dir)
	if _, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: path}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	target, _ := os.Readlink(path)
	os.Remove(path)
	a := r.Enabled(event.FrontEnd)[0]
	c, state := a.Open("s"), newState("s")
	syscall.Kill(r.pid(t, "a"), syscall.SIGKILL)
	eventually(t, "the circuit to open", func() bool { i, _ := r.Get("a", ""); return i[0].State == stateFailed })
	if _, err := mailFrom(t, c, state, 1, "a", 10*time.Second); !errors.Is(err, event.ErrUnavailable) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v", err)
	}
	// A swap to a program that works ends the wait.
	if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "a"}, Path: &target}); err != nil {
		t.Fatal(err)
	}
	if _, err := mailFrom(t, c, state, 2, "a", 5*time.Second); err != nil {
		t.Error(err)
	}
	c.End(nil, state, event.DisconnectQuit)
}
