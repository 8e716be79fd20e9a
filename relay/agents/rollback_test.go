package agents

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/relay/relay/event"
)

func TestProgramThatCrashesOnProbationIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	registry := ""
	t.Run("relay", func(t *testing.T) {
		r := newRigIn(t, dir)
		registry = r.registry.Dir()
		a := r.enabled(t, "good")
		before, old := r.registry.Entries()[0], r.pid(t, "good")
		path, timeout := program(t, "shaky"), 7*time.Second
		if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Path: &path}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Timeout: &timeout}); err != nil {
			t.Fatal(err)
		}
		c, state := a.Open("s"), newState("s")
		c.Hold(a.Edition())
		begin(state, "m1")
		if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
			t.Error(err)
		}
		c.End(nil, state, event.DisconnectQuit)
		eventually(t, "the registry to have the old program", func() bool {
			i, err := r.Get("good", "")
			return err == nil && i[0].Path == before.Path
		})
		i, _ := r.Get("good", "")
		if i[0].PID != old || i[0].State != stateRunning || i[0].Timeout != timeout {
			t.Errorf("process %d (%s), timeout %s", i[0].PID, i[0].State, i[0].Timeout)
		}
		if want := "rolled back to " + before.Path; !strings.HasPrefix(i[0].Problem, want) || !strings.Contains(i[0].Problem, "because its process died") {
			t.Errorf("problem %q, want %q", i[0].Problem, want)
		}
		eventually(t, "the order of agents to be made again", func() bool { return len(r.changes) >= 3 })
		if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Path: &before.Path}); err != nil {
			t.Error(err)
		}
		if i, _ := r.Get("good", ""); i[0].Problem != "" {
			t.Errorf("after the next change: %q", i[0].Problem)
		}
	})
	again, err := OpenRegistry(registry)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if e := again.Entries()[0]; filepath.Base(e.Path) != "good" || e.Timeout != 7*time.Second {
		t.Errorf("kept: %s, %s", e.Path, e.Timeout)
	}
}

func TestProgramThatIsNotWellIsNotTaken(t *testing.T) {
	r := newRig(t)
	r.enabled(t, "good")
	old, path := r.pid(t, "good"), program(t, "unwell")
	_, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Path: &path})
	if want := "agent good: the new process asks for a restart as soon as it runs: no table"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if e := r.registry.Entries()[0]; filepath.Base(e.Path) != "good" || r.pid(t, "good") != old {
		t.Errorf("path %s, process %d", e.Path, r.pid(t, "good"))
	}
}

// The former process outlives its file: a program that was overwritten can be gone back to.
func TestOverwrittenProgramIsGoneBackToWhileItsProcessLives(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "good")
	copyProgram(t, path)
	if _, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: path}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	before, old := r.registry.Entries()[0], r.pid(t, "a")
	copyProgram(t, path+".new")
	f, err := os.OpenFile(path+".new", os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("another version")
		err = errors.Join(err, f.Close(), os.Rename(path+".new", path))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, notes, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "a"}, Path: &path})
	if err != nil || len(notes) != 1 || !strings.HasPrefix(notes[0], "The former program of agent a is not at "+path+" any more") {
		t.Errorf("notes %q, %v", notes, err)
	}
	if r.registry.Entries()[0].SHA256 == before.SHA256 {
		t.Fatal("it is the same file")
	}
	if err := syscall.Kill(r.pid(t, "a"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old one in its place", func() bool {
		i, err := r.Get("a", "")
		return err == nil && i[0].PID == old && i[0].SHA256 == before.SHA256
	})
}

// However a probation is cut short, nothing of it is left.
func TestEndsOfAProbationLeaveNothing(t *testing.T) {
	r := newRig(t)
	good, other := program(t, "good"), program(t, "other")
	cycle := func(end func() error) {
		if _, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: good}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Enable(t.Context(), Target{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		a := r.Enabled(event.FrontEnd)[0]
		c, state := a.Open("s"), newState("s")
		c.Hold(a.Edition())
		begin(state, "m1")
		if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "a"}, Path: &other}); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		c.End(nil, state, event.DisconnectQuit)
		if _, _, err := r.Uninstall(t.Context(), Target{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of all processes", func() bool { return entriesOf(t, r.shop.sockets) == 0 })
		for len(r.changes) > 0 {
			<-r.changes
		}
	}
	ends := []func() error{
		func() error { return nil },
		func() error {
			_, _, err := r.Disable(t.Context(), Target{Name: "a"}, true)
			return err
		},
		func() error {
			_, _, err := r.Disable(t.Context(), Target{Name: "a"}, false)
			return err
		},
		func() error { return syscall.Kill(r.pid(t, "a"), syscall.SIGKILL) },
		func() error {
			return r.Update(t.Context(), Defaults{Hostname: "mx.example.org", Domains: []string{time.Now().String()}})
		},
	}
	for _, end := range ends {
		cycle(end)
	}
	files, goroutines := entriesOf(t, "/proc/self/fd"), runtime.NumGoroutine()
	for _, end := range ends {
		cycle(end)
	}
	eventually(t, "descriptors and goroutines as before", func() bool {
		return entriesOf(t, "/proc/self/fd") <= files && runtime.NumGoroutine() <= goroutines
	})
}
