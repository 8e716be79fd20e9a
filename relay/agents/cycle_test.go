package agents

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.org/relay/relay/event"
)

func entriesOf(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestEnablingAndDisablingAgainAndAgainLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.install(t, "good", "good")
	cycle := func(now bool) {
		if _, _, err := r.Enable(t.Context(), Target{Name: "good"}); err != nil {
			t.Fatal(err)
		}
		pid := r.pid(t, "good")
		c, state := r.Enabled(event.FrontEnd)[0].Open("s"), newState("s")
		if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if now {
			if _, err := mailFrom(t, c, state, 2, "crash", 5*time.Second); !errors.Is(err, event.ErrPoison) {
				t.Fatal(err) // a spare has come and gone
			}
		}
		if _, _, err := r.Disable(t.Context(), Target{Name: "good"}, now); err != nil {
			t.Fatal(err)
		}
		c.End(nil, state, event.DisconnectQuit)
		eventually(t, "the end of the process", func() bool { return !alive(pid) && entriesOf(t, r.shop.sockets) == 0 })
		for len(r.changes) > 0 {
			<-r.changes
		}
	}
	cycle(true)
	files, goroutines := entriesOf(t, "/proc/self/fd"), runtime.NumGoroutine()
	for i := range 6 {
		cycle(i%2 == 0)
	}
	eventually(t, "descriptors and goroutines as before", func() bool {
		return entriesOf(t, "/proc/self/fd") <= files && runtime.NumGoroutine() <= goroutines
	})
}

func TestNewDomainsThatAnAgentRefusesAreFoundBeforeAnythingChanges(t *testing.T) {
	r := newRig(t)
	r.enabled(t, "good")
	err := r.Check(t.Context(), Defaults{Hostname: "mx.example.org", Domains: []string{"bad.example"}})
	if err == nil || !strings.Contains(err.Error(), "agent good: settings refused: separator") {
		t.Errorf("error %v", err)
	}
	if d := r.defaults.Load().Domains; len(d) != 1 || d[0] != "example.org" {
		t.Errorf("domains %v", d)
	}
	if err := r.Check(t.Context(), Defaults{Hostname: "mx.example.org", Domains: []string{"example.net"}}); err != nil {
		t.Error(err)
	}
}

func TestEnableWhatIfConfiguresNothingForGood(t *testing.T) {
	r := newRig(t)
	r.install(t, "good", "good")
	if _, _, err := r.Enable(t.Context(), Target{Name: "good", WhatIf: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // all it wrote is in the log then
		t.Fatal(err)
	}
	if strings.Contains(r.log.String(), "configured for good") {
		t.Error("the agent was configured")
	}
}

func TestCommandThatWasGivenUpWhileItWaitedIsNotDone(t *testing.T) {
	r := newRig(t)
	r.enabled(t, "good")
	ctx, cancel := context.WithCancel(t.Context())
	r.change.Lock()
	ended := make(chan error)
	go func() {
		_, _, err := r.Disable(ctx, Target{Name: "good"}, false)
		ended <- err
	}()
	cancel()
	r.change.Unlock()
	if err := <-ended; !errors.Is(err, context.Canceled) || len(r.Enabled(event.FrontEnd)) != 1 {
		t.Errorf("error %v, enabled %s", err, names(r.Enabled(event.FrontEnd)))
	}
}
