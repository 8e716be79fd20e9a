package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

func table(t *testing.T, s settings) (*seen, *settings) {
	t.Helper()
	return load(filepath.Join(t.TempDir(), "greylist.json"), slog.New(slog.DiscardHandler)), &s
}

var usual = settings{Wait: 5 * time.Minute, Window: 48 * time.Hour, Keep: 36 * 24 * time.Hour, AutoAllow: 2, Entries: 1000}

func TestATripleWaits(t *testing.T) {
	for _, tc := range []struct {
		name     string
		attempts string // the durations between them
		want     string // + passes, - waits
	}{
		{"comes back in time", "0s 10s 5m 1h", "--++"},
		{"to the second", "0s 5m", "-+"},
		{"too early does not begin anew", "0s 4m 1m", "--+"},
		{"never came back in time", "0s 49h 1m 5m", "---+"},
		{"known for long", "0s 5m 840h 840h", "-+++"},
		{"forgotten", "0s 5m 900h", "-+-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := table(t, usual)
				got := ""
				for word := range strings.FieldsSeq(tc.attempts) {
					d, err := time.ParseDuration(word)
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(d)
					if s.came("n", "triple", c, time.Now()) {
						got += "+"
					} else {
						got += "-"
					}
				}
				if got != tc.want {
					t.Errorf("%s: %s, want %s", tc.attempts, got, tc.want)
				}
			})
		})
	}
}

func TestANetworkThatCameBackOftenNeedNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := table(t, usual)
		for i := range 2 {
			s.came("n", fmt.Sprint(i), c, time.Now())
			time.Sleep(c.Wait)
			if !s.came("n", fmt.Sprint(i), c, time.Now()) {
				t.Error("came back in time and waits")
			}
		}
		if !s.came("n", "new", c, time.Now()) || s.came("m", "new too", c, time.Now()) {
			t.Error("want only the known network to pass at once")
		}
		time.Sleep(c.Keep + time.Second)
		if s.came("n", "newer", c, time.Now()) {
			t.Error("the network is known for ever")
		}
	})
}

func TestTheTableIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := table(t, usual)
		for i := range 5000 {
			time.Sleep(time.Second)
			s.came("n", fmt.Sprint(i), c, time.Now())
			if len(s.entries) > c.Entries {
				t.Fatalf("%d entries of %d", len(s.entries), c.Entries)
			}
		}
		if _, there := s.entries["4999"]; !there {
			t.Error("the newest was dropped")
		}
	})
}

func TestTheFileOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greylist.json")
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		s, c := load(path, log), usual
		s.came("n", "triple", &c, time.Now())
		time.Sleep(time.Minute)
		s.came("n", "other", &c, time.Now()) // saves
		if load(path, log) != s {
			t.Error("another value of the process has another table")
		}
		tables.Delete(path)
		time.Sleep(4 * time.Minute)
		if s = load(path, log); !s.came("n", "triple", &c, time.Now()) {
			t.Error("the triple is forgotten")
		}
		for _, broken := range []string{"{", "null", "[]", ""} {
			if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			tables.Delete(path)
			if s = load(path, log); s.came("n", "triple", &c, time.Now()) {
				t.Errorf("a file of %q let a triple pass", broken)
			}
		}
	})
}

func TestAtTheEvents(t *testing.T) {
	waits := agenttest.Verdict{Action: "tempfail", Code: 451, Enhanced: "4.7.1", Text: "greylisted, please try again later", Reason: "client, sender and recipient have not waited yet"}
	passes := agenttest.Verdict{Action: "continue"}
	h := agenttest.Start(t, factory(), agenttest.Config{})
	m := h.Connect("192.0.2.1").Mail("a@example.net")
	if v := m.Rcpt("b@example.org"); v != waits {
		t.Errorf("a stranger: %+v", v)
	}
	m = h.Connect("192.0.2.1").Mail("")
	if v := m.Rcpt("b@example.org"); v != passes {
		t.Errorf("the null sender at RCPT: %+v", v)
	}
	if v := m.EndOfHeaders("Subject: s\r\n").Verdict; v != waits {
		t.Errorf("a bounce: %+v", v)
	}
	if v := h.ConnectFrom(agenttest.Client{Address: "192.0.2.1", Internal: true}).Mail("a@example.net").Rcpt("b@example.org"); v != passes {
		t.Errorf("an internal client: %+v", v)
	}
	c := h.Connect("2001:db8::1")
	c.EndOfAuthentication("PLAIN", "user", true)
	if v := c.Mail("a@example.net").Rcpt("b@example.org"); v != passes {
		t.Errorf("a user: %+v", v)
	}
	// Waiting only as long as a nanosecond, everybody has.
	if err := h.Configure(agenttest.Config{Settings: map[string]any{"wait": "1ns"}}); err != nil {
		t.Fatal(err)
	}
	if v := h.Connect("192.0.2.77").Mail("A@example.net").Rcpt("B@example.org"); v != passes {
		t.Errorf("from another host of the network: %+v", v)
	}
}

func TestSettingsAreRefusedFieldByField(t *testing.T) {
	h := agenttest.Start(t, factory(), agenttest.Config{})
	for _, tc := range []struct {
		settings map[string]any
		want     agent.FieldError
	}{
		{map[string]any{"wait": 5}, agent.FieldError{Field: "wait", Problem: `must be a duration with a unit, such as "10s"`}},
		{map[string]any{"wait": "72h"}, agent.FieldError{Field: "wait", Problem: "must be shorter than window, and that no longer than keep"}},
		{map[string]any{"entries": 0}, agent.FieldError{Field: "entries", Problem: "must be at least 1, and auto_allow not negative"}},
	} {
		if err := h.Configure(agenttest.Config{Settings: tc.settings}); err == nil || err.Error() != tc.want.Error() {
			t.Errorf("Configure(%v) = %v, want %v", tc.settings, err, tc.want)
		}
	}
}
