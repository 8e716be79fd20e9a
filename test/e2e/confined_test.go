package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
)

// groupOf is the control group of a controller (or the one of version 2) that a process is in,
// if it is one of a relay's.
func groupOf(t *testing.T, pid int64, controller string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		names, path, _ := strings.Cut(rest, ":")
		if (names == controller || names == "") && strings.Contains(path, "/relay-") {
			return path
		}
	}
	return ""
}

func TestConfinedAgentThatTakesTooMuchMemoryIsReplaced(t *testing.T) {
	f := startFaulty(t, "marker", "memory = \"150MB\"")
	pid := f.Agent("fault").Pid
	if groupOf(t, pid, "memory") == "" {
		needs.Unable(t, "no control group for memory")
	}
	if reply := f.send(t, "fault: hog"); !strings.HasPrefix(reply, "451 ") {
		t.Errorf("answered %q, want 451", reply)
	}
	f.another(t, pid)
	f.load.more(50)
	f.load.stop(passed)
	relaytest.Eventually(t, "the log says why", func() bool { return f.Log.Contains("agent killed by its memory limit of 150 MB") })
	if problem := f.Agent("fault").Problem; !strings.Contains(problem, "killed by its memory limit of 150 MB") {
		t.Errorf("problem: %q", problem)
	}
}

func TestConfinedForkBombEndsAtTheLimitAndLeavesNothing(t *testing.T) {
	f := startFaulty(t, "marker", "processes = 60\ntimeout = \"5s\"")
	pid := f.Agent("fault").Pid
	group := groupOf(t, pid, "pids")
	if group == "" {
		needs.Unable(t, "no control group for processes")
	}
	if reply := f.send(t, "fault: forks"); !strings.HasPrefix(reply, "451 ") {
		t.Errorf("answered %q, want 451", reply)
	}
	// It may have died of it, or be at its limit still: an operator would end it.
	if now := f.Agent("fault"); now.Pid == pid {
		if !strings.Contains(now.Problem, "reached its limit of 60 processes") {
			t.Errorf("problem: %q", now.Problem)
		}
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	f.another(t, pid)
	relaytest.Eventually(t, "the log says why", func() bool { return f.Log.Contains("agent reached its limit of 60 processes") })
	f.load.more(50)
	f.load.stop("")
	f.Stop()
	if left := groupsLeft(filepath.Dir(group)); left != nil {
		t.Errorf("control groups left: %v", left)
	}
}

// groupsLeft finds a relay's group under any mount of control groups.
func groupsLeft(parent string) []string {
	all, _ := filepath.Glob("/sys/fs/cgroup/pids" + parent)
	more, _ := filepath.Glob("/sys/fs/cgroup" + parent)
	return append(all, more...)
}

func TestConfinedAgentWithAFullDirectoryCostsOnlyItsOwnMessages(t *testing.T) {
	needs.Root(t)
	f := startFaulty(t, "marker", "")
	home := filepath.Join(filepath.Dir(f.Config), "var/agents/FrontEnd/fault")
	if err := syscall.Mount("tmpfs", home, "tmpfs", 0, "size=1m"); err != nil {
		needs.Unable(t, "a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(home, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if reply := f.send(t, "fault: fill"); !strings.HasPrefix(reply, "451 ") {
		t.Errorf("answered %q, want 451", reply)
	}
	f.load.more(50)
	pid := f.Agent("fault").Pid // it is started again all the same
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.another(t, pid)
	f.load.more(50)
	f.load.stop(passed)
	f.Stop()
}

// What a relay costs an agent's start by confining it is a few milliseconds.
func TestConfinedStart(t *testing.T) {
	const lines = "memory = \"500MB\"\nprocessor = 90\nprocesses = 100\nread_only = true"
	f := startFaulty(t, "marker", lines)
	began := time.Now()
	for n := range 3 {
		pid := f.Agent("fault").Pid
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		f.another(t, pid)
		t.Logf("start %d: %v after the first kill", n, time.Since(began))
	}
	f.load.stop(passed)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.Agent("fault").Pid))
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") {
		t.Errorf("%v\n%s", err, status)
	}
	for line := range strings.Lines(f.Log.String()) {
		if strings.Contains(line, "agent started") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
