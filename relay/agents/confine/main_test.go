package confine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the confined program: it does what its arguments say and prints what came
// of it, a line each.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "confined" {
		for _, what := range os.Args[2:] {
			verb, arg, _ := strings.Cut(what, "=")
			fmt.Printf("%s: %v\n", what, attempts[verb](arg))
		}
		return
	}
	os.Exit(m.Run())
}

var attempts = map[string]func(arg string) any{
	"read":   func(path string) any { _, err := os.ReadFile(path); return cause(err) },
	"list":   func(path string) any { _, err := os.ReadDir(path); return cause(err) },
	"write":  func(path string) any { return cause(os.WriteFile(path, []byte("x"), 0o600)) },
	"remove": func(path string) any { return cause(os.Remove(path)) },
	"run":    func(path string) any { return cause(exec.Command(path).Run()) },
	"status": func(key string) any {
		data, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(data)) {
			if value, ok := strings.CutPrefix(line, key+":"); ok {
				return strings.Join(strings.Fields(value), " ")
			}
		}
		return "not there"
	},
	"tcp": func(addr string) any { _, err := net.Dial("tcp", addr); return cause(err) },
	"udp": func(addr string) any {
		c, err := net.Dial("udp", addr)
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		return cause(err)
	},
	"unix":   func(path string) any { _, err := net.Dial("unix", path); return cause(err) },
	"signal": func(pid string) any { var n int; fmt.Sscan(pid, &n); return cause(unix.Kill(n, 0)) },
	"ids":    func(string) any { return fmt.Sprint(os.Getuid(), os.Getgid(), len(must(os.Getgroups()))) },
	"allocate": func(mb string) any {
		var n int
		fmt.Sscan(mb, &n)
		held := bytes.Repeat([]byte("x"), n<<20)
		return len(held) >> 20
	},
	"threads": func(count string) any {
		var n int
		fmt.Sscan(count, &n)
		for range n {
			if err := exec.Command("/bin/sleep", "100").Start(); err != nil {
				return cause(err)
			}
		}
		return "ok"
	},
	"escape": func(string) any { // a process in a session of its own
		cmd := exec.Command("/bin/sleep", "100")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		return cmd.Process.Pid
	},
	"wait": func(string) any {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		fmt.Println("waiting")
		<-c
		return nil
	},
}

// open is a copy of a program that every user can reach.
func open(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, must(os.ReadFile(program)), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func cause(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// machine is the one the tests run on.
func machine(t *testing.T, protected ...string) *Machine {
	t.Helper()
	m := NewMachine(Options{
		ID: "confine-test-" + strings.ToLower(filepath.Base(filepath.Dir(t.TempDir()))), Record: filepath.Join(t.TempDir(), "groups"),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	m.Protect(protected)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// confined runs the test program under the policy and returns the lines it printed.
func confined(t *testing.T, m *Machine, p Policy, tries ...string) (got map[string]string, ended string) {
	t.Helper()
	p.Name = "test"
	plan, err := m.Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	f := must(os.Create(out))
	defer f.Close()
	self := must(os.Executable())
	if p.User != nil {
		self = open(t, self)
	}
	cmd := &exec.Cmd{Path: self, Args: append([]string{self, "confined"}, tries...), Dir: "/", Stdout: f, Stderr: f}
	c, err := plan.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	c.Kill()
	ended = c.Ended()
	c.Close()
	got = make(map[string]string)
	text := string(must(os.ReadFile(out)))
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			got[key] = value
		}
	}
	t.Log(text)
	return got, ended
}

func expect(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if !strings.HasPrefix(got[key], value) {
			t.Errorf("%s: %q, want %q", key, got[key], value)
		}
	}
}
