// Package relaytest runs a whole relay in a test's process, with agents in processes of
// their own.
package relaytest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay"
)

// Relay is a running relay. It ends with the test.
type Relay struct {
	*relay.Relay
	Addr   string // of its listener
	Config string // the configuration file
	Log    *Log
	t      testing.TB
	stop   func()
	ended  chan error
}

// Options change the configuration that Start writes. Zero values are the shipped defaults.
type Options struct {
	NextHop        string // host:port; required
	NextHopTLS     string // its tls; "" is "none"
	NextHopLines   string // further lines of it
	RecipientCheck string
	Hostname       string
	Agents         string // lines of [agents]
	Limits         string // lines of [limits]
	Networks       string // lines of [networks]
	TLS            string // of the listener
	Extra          string // further tables
}

// Start writes a configuration and runs a relay with it.
func Start(t testing.TB, o Options) *Relay {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	text := fmt.Sprintf(`hostname = %q
state_dir = "var"
[[accepted_domain]]
name = "example.org"
[next_hop.mailserver]
addresses = [%q]
tls = %q
%s
[frontend]
next_hop = "mailserver"
recipient_check = %q
[[frontend.listener]]
address = "127.0.0.1:0"
tls = %q
[limits]
%s
[networks]
%s
[agents]
%s
%s
`, or(o.Hostname, "mx.example.org"), o.NextHop, or(o.NextHopTLS, "none"), o.NextHopLines,
		or(o.RecipientCheck, "auto"), or(o.TLS, "none"), o.Limits, o.Networks, o.Agents, o.Extra)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Run(t, path)
}

// Run runs a relay with the configuration at path.
func Run(t testing.TB, path string) *Relay {
	t.Helper()
	log := &Log{}
	r, err := relay.New(path, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started := &Relay{Relay: r, Config: path, Log: log, t: t, ended: make(chan error, 1)}
	go func() { started.ended <- r.Run(ctx) }()
	var once sync.Once
	started.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-started.ended:
				if err != nil {
					t.Errorf("the relay ended with %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("the relay did not end within a minute")
			}
		})
	}
	t.Cleanup(func() {
		started.stop()
		if t.Failed() {
			t.Logf("the relay's log:\n%s", log.Tail(16000))
		}
	})
	Eventually(t, "the relay listens", func() bool {
		select {
		case err := <-started.ended:
			t.Fatalf("the relay ended at start: %v\n%s", err, log)
		default:
		}
		return len(r.Addresses()) > 0
	})
	started.Addr = r.Addresses()[0].String()
	return started
}

// Stop drains and ends the relay.
func (r *Relay) Stop() { r.stop() }

// Install installs an agent for the FrontEnd and enables it.
func (r *Relay) Install(name, path, factory string) {
	r.t.Helper()
	ctx := context.Background()
	if _, err := r.InstallAgent(ctx, &controlv1.InstallAgentRequest{Name: name, Service: "FrontEnd", Path: path, Factory: factory}); err != nil {
		r.t.Fatalf("install %s: %v", name, err)
	}
	if _, err := r.EnableAgent(ctx, &controlv1.AgentRequest{Name: name}); err != nil {
		r.t.Fatalf("enable %s: %v", name, err)
	}
}

// Agent returns how the agent is now.
func (r *Relay) Agent(name string) *controlv1.Agent {
	r.t.Helper()
	all, err := r.GetAgents(context.Background(), &controlv1.GetAgentsRequest{Name: name})
	if err != nil || len(all.Agents) != 1 {
		r.t.Fatalf("get agent %s: %v, %v", name, all, err)
	}
	return all.Agents[0]
}

// Log is the relay's log in memory. Safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Tail returns the last n octets.
func (l *Log) Tail(n int) string {
	s := l.String()
	return s[max(0, len(s)-n):]
}

// Contains reports whether the text has been logged.
func (l *Log) Contains(text string) bool { return strings.Contains(l.String(), text) }

// Eventually waits for a condition that another goroutine or process will bring about.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

var built struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

// Build builds a program of the module, once for all tests of a run, and returns its path.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if p := built.paths[pkg]; p != "" {
		return p
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "relaytest-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.paths = dir, map[string]string{}
	}
	path := filepath.Join(built.dir, filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", path, "example.org/relay/"+pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	built.paths[pkg] = path
	return path
}

// Main is TestMain for packages that use Build: it removes what was built.
func Main(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}
