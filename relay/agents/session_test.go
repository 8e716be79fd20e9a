package agents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

func begin(state *event.State, id string) {
	state.Envelope = &mail.Envelope{ID: id}
	state.EnvelopeRevision++
}

func TestAgentEnabledAgainServesTheNextTransactionOfAnOldSession(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("s"), newState("s")
	defer c.End(nil, state, event.DisconnectQuit)
	begin(state, "m1")
	if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	old := r.pid(t, "good")
	if _, _, err := r.Disable(t.Context(), Target{Name: "good"}, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: "good"}); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		message string
		pid     int
	}{{"m1", old}, {"m2", r.pid(t, "good")}} {
		if tt.message == "m2" {
			begin(state, tt.message)
		}
		v, err := mailFrom(t, c, state, uint32(2+i), "a", 5*time.Second)
		if err != nil || !strings.Contains(v.Reason, fmt.Sprintf("pid=%d", tt.pid)) {
			t.Errorf("%s: %q, %v, want process %d", tt.message, v.Reason, err, tt.pid)
		}
	}
	eventually(t, "the end of the old process", func() bool { return !alive(old) })
}

func TestEventThatEndsStreamsIsShownTwiceAtMost(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	state := newState("s")
	var open []*Conversation
	for range 10 {
		c := a.Open("s")
		if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for _, c := range open {
		c.End(nil, state, event.DisconnectQuit)
	}
	c := a.Open("s")
	if _, err := mailFrom(t, c, state, 1, "ends", 5*time.Second); !errors.Is(err, event.ErrProtocol) {
		t.Errorf("error %v", err)
	}
	c.End(nil, state, event.DisconnectQuit)
	// go-plugin takes the agent's output over a call of its own, which the end cuts off.
	eventually(t, "the second line of the agent", func() bool { return strings.Count(r.log.String(), "shown and ended") >= 2 })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(r.log.String(), "shown and ended"); n != 2 {
		t.Errorf("shown %d times", n)
	}
}

func TestWatchedEventIsNotLostWithAnEventThatWasNotShown(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "onesession")
	busy, state := a.Open("busy"), newState("s")
	if _, err := mailFrom(t, busy, state, 1, "a", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	c := a.Open("s")
	events := []event.Event{
		{Seq: 1, Kind: event.RsetCommand, Notify: true},
		{Seq: 2, Kind: event.MailCommand, From: mail.Path{Local: "a", Domain: "example.org"}},
	}
	if _, err := c.Decide(context.Background(), events, state, 20*time.Millisecond); !errors.Is(err, event.ErrOverloaded) {
		t.Errorf("error %v", err)
	}
	busy.End(nil, state, event.DisconnectQuit)
	if v, err := mailFrom(t, c, state, 3, "a", 5*time.Second); err != nil || !strings.Contains(v.Reason, "events=2 ") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestNewSettingsDoNotStartAProgramThatHasChanged(t *testing.T) {
	r := newRig(t)
	r.install(t, "good", "good")
	path := r.registry.Entries()[0].Path
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("#!/bin/sh\ntouch "+path+".ran\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	settings := `{"x":1}`
	_, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Settings: &settings})
	if err == nil || !strings.Contains(err.Error(), "has changed since it was installed") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path + ".ran"); err == nil {
		t.Error("it was run")
	}
	if e := r.registry.Entries()[0]; e.Settings != "" {
		t.Errorf("settings %s", e.Settings)
	}
}

func TestAgentIsToldTheEndOfASessionThatWasCutOff(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("cut"), newState("cut")
	ctx, cancel := context.WithCancel(t.Context())
	e := event.Event{Seq: 1, Kind: event.MailCommand, From: mail.Path{Local: "a", Domain: "example.org"}}
	if _, err := c.Decide(ctx, []event.Event{e}, state, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	cancel()
	c.End([]event.Event{{Seq: 2, Kind: event.Disconnect, Disconnect: event.DisconnectDrain, Notify: true}}, state, event.DisconnectDrain)
	eventually(t, "the agent to hear of it", func() bool { return strings.Contains(r.log.String(), "told at the end: cut") })
}

func TestPoisonDoesNotSwitchAnAgentOff(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	for i := range circuitDeaths + 3 { // each kills a process before its first verdict
		c, state := a.Open("s"), newState("s")
		begin(state, fmt.Sprint("m", i))
		if _, err := mailFrom(t, c, state, 1, "crash", 10*time.Second); !errors.Is(err, event.ErrPoison) {
			t.Errorf("message %d: %v", i, err)
		}
		c.End(nil, state, event.DisconnectQuit)
	}
	c, state := a.Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "a", 10*time.Second); err != nil {
		t.Error(err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestAgentThatFloodsItsOutputHoldsNothingUp(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "flood", 10*time.Second); err != nil {
		t.Error(err)
	}
	c.End(nil, state, event.DisconnectQuit)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.log.String()); n > 1<<20 {
		t.Errorf("%d octets in the log", n)
	}
}

func TestAgentThatReadsNothingCostsItsTimeoutOnly(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "deaf").Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "a", 50*time.Millisecond); !errors.Is(err, event.ErrTimeout) {
		t.Errorf("error %v", err)
	}
	began := time.Now()
	argument := strings.Repeat("x", 100<<10)
	for i := range 100 { // more than all buffers hold
		c.Notify([]event.Event{{Seq: uint32(2 + i), Kind: event.HeloCommand, Argument: argument, Notify: true}}, state)
	}
	c.End([]event.Event{{Seq: 200, Kind: event.Disconnect, Notify: true}}, state, event.DisconnectQuit)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
