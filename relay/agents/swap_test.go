package agents

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

func TestTransactionStaysWithTheProcessItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		c, state := s.Open("s"), newState("s")
		state.Bag = []event.Property{{Agent: "a", Key: "k", Value: []byte("kept"), Private: true}}
		c.Hold(1)
		begin(state, "m1")
		ask := func(seq uint32, want string) {
			t.Helper()
			if got, says := who(t, c, state, seq); got != want {
				t.Errorf("event %d went to %s, want %s", seq, says, want)
			}
		}
		ask(1, "v1.1")
		s.swap(t, 2)
		time.Sleep(retireTime - time.Second)
		ask(2, "v1.1")
		state.Envelope = nil
		c.Release()
		ask(3, "v2.2") // of the session
		c.Hold(2)
		begin(state, "m2")
		if got, says := who(t, c, state, 4); got != "v2.2" || !strings.Contains(says, "bag=a/k=kept") {
			t.Errorf("the next transaction: %s", says)
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}

// A transaction that takes the order of agents that was in force before a swap is judged by
// the process that order speaks of, though its first event comes after the swap.
func TestTransactionBegunInTheOldOrderHasTheOldProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		c, state := s.Open("s"), newState("s")
		c.Hold(1)
		s.swap(t, 2)
		begin(state, "m1")
		if got, says := who(t, c, state, 1); got != "v1.1" {
			t.Errorf("held before the swap: %s", says)
		}
		c.Hold(1)
		begin(state, "m2")
		if got, says := who(t, c, state, 2); got != "v1.1" {
			t.Errorf("held with the old order: %s", says)
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}

func TestLongTransactionIsHandedOverWhenTheRetireTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		c, state := s.Open("s"), newState("s")
		state.Bag = []event.Property{{Agent: "a", Key: "k", Value: []byte("kept")}}
		c.Hold(1)
		begin(state, "m1")
		who(t, c, state, 1)
		s.swap(t, 2)
		time.Sleep(probationTime + retireTime - time.Second)
		if got, says := who(t, c, state, 2); got != "v1.1" {
			t.Errorf("too early: %s", says)
		}
		time.Sleep(2 * time.Second)
		if !s.cast[0].inst.isGone() {
			t.Error("the old process lives on")
		}
		if got, says := who(t, c, state, 3); got != "v2.2" || !strings.HasSuffix(says, "resumed=true events=1 bag=a/k=kept") {
			t.Errorf("handed over: %s", says)
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}

func TestEventInFlightWhenTheRetireTimeEndsIsShownToTheSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		s.cast[0].set(func() { s.cast[0].mute = true })
		c, state := s.Open("s"), newState("s")
		c.Hold(1)
		begin(state, "m1")
		s.swap(t, 2)
		v, err := mailFrom(t, c, state, 1, "a", 4*time.Minute)
		if err != nil || !strings.HasPrefix(v.Reason, "v2.2 resumed=true") {
			t.Errorf("%q, %v", v.Reason, err)
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}

func TestIdleSessionOfHoursOverThreeSwaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		c, state := s.Open("s"), newState("s")
		c.Hold(1)
		begin(state, "m1")
		who(t, c, state, 1)
		state.Envelope = nil
		c.Release()
		state.Bag = []event.Property{{Agent: "a", Key: "k", Value: []byte("kept"), Private: true}}
		for n := uint64(2); n <= 4; n++ {
			s.swap(t, n)
			time.Sleep(2 * time.Hour)
			if !s.cast[n-2].inst.isGone() {
				t.Errorf("process %d lives on, and nobody needs it", n-1)
			}
		}
		c.Hold(4)
		begin(state, "m2")
		if got, says := who(t, c, state, 2); got != "v4.4" || !strings.HasSuffix(says, "resumed=true events=1 bag=a/k=kept") {
			t.Errorf("handed over: %s", says)
		}
		if n := s.stats.failures.Load(); n != 0 {
			t.Errorf("%d failures", n)
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}

func TestSwapWaitsUntilTheNewOneIsReady(t *testing.T) {
	for _, tt := range []struct {
		name   string
		states []agentv1.AgentStatus_State
		want   string
	}{
		{"degraded for ever", []agentv1.AgentStatus_State{agentv1.AgentStatus_STATE_DEGRADED}, "does not say that it is ready within 5s: loading"},
		{"asks for a restart", []agentv1.AgentStatus_State{agentv1.AgentStatus_STATE_RESTART_ME}, "asks for a restart as soon as it runs: loading"},
		{"ready after a while", []agentv1.AgentStatus_State{agentv1.AgentStatus_STATE_DEGRADED, agentv1.AgentStatus_STATE_READY}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				defer s.close(t)
				s.next = func(a *voice) {
					a.inst.health.well = make(chan struct{})
					a.inst.health.once = [2]sync.Once{}
					go func() {
						for _, state := range tt.states {
							a.inst.health.heard(&agentv1.AgentStatus{State: state, Detail: "loading"})
							time.Sleep(time.Second)
						}
					}()
				}
				err := s.v.swap(t.Context(), edition(2))
				time.Sleep(time.Second) // the last status is out
				switch {
				case tt.want == "" && (err != nil || s.v.running(t) != s.cast[1].inst):
					t.Errorf("not taken: %v", err)
				case tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.want) || s.v.running(t) != s.cast[0].inst):
					t.Errorf("error %v, want %s", err, tt.want)
				}
			})
		})
	}
}

func TestEndOfASessionIsToldToTheProcessThatSawIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		c, state := s.Open("s"), newState("s")
		who(t, c, state, 1)
		s.swap(t, 2)
		c.End(nil, state, event.DisconnectQuit)
		if n := len(s.cast[0].inst.free); n != 1 {
			t.Errorf("%d streams are kept, want the one whose session has ended", n)
		}
		// One whose process has been replaced and is gone leaves no stream that looks unused.
		c = s.Open("s2")
		who(t, c, state, 1)
		time.Sleep(2 * probationTime)
		c.End(nil, state, event.DisconnectQuit)
	})
}

func TestHaltLeavesNothingOfASwap(t *testing.T) {
	for _, grace := range []time.Duration{0, politeTime} {
		t.Run(fmt.Sprint(grace), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				c, state := s.Open("s"), newState("s")
				c.Hold(1)
				begin(state, "m1")
				s.cast[0].set(func() { s.cast[0].mute = true })
				failed := make(chan error)
				go func() {
					_, err := mailFrom(t, c, state, 1, "a", 4*time.Minute)
					failed <- err
				}()
				synctest.Wait()
				s.swap(t, 2)
				s.v.halt(grace)
				if err := <-failed; !errors.Is(err, event.ErrDetached) {
					t.Errorf("the event in flight: %v", err)
				}
				c.End(nil, state, event.DisconnectQuit)
				s.close(t)
			})
		})
	}
}
