package agents

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// slowClient is an agent that takes a second to be configured.
type slowClient struct {
	agentv1.AgentServiceClient
	settings atomic.Value // in force
}

func (c *slowClient) Configure(ctx context.Context, q *agentv1.ConfigureRequest, _ ...grpc.CallOption) (*agentv1.ConfigureResponse, error) {
	if !q.ValidateOnly {
		c.settings.Store(string(q.Settings))
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &agentv1.ConfigureResponse{Subscriptions: []*agentv1.Subscription{{Event: agentv1.EventType_EVENT_TYPE_CONNECT}}}, nil
}

func slowInstance(s *spec) *instance {
	c := &slowClient{}
	c.settings.Store(s.Settings)
	i := newInstance("a", c, &fakeProcess{make(chan struct{})}, &terms{}, slog.New(slog.DiscardHandler))
	i.program = s.program()
	return i
}

func settingsOf(i *instance) string {
	return i.AgentServiceClient.(*slowClient).settings.Load().(string)
}

func withSettings(settings string) *spec {
	e := Entry{Name: "a", Service: event.FrontEnd, Settings: settings}
	e.Described.Subscriptions = []event.Subscription{{Kind: event.Connect}}
	return &spec{Entry: e}
}

// slowStart is a launcher that takes a second.
func slowStart(ctx context.Context, s *spec, _ uint64) (*instance, error) {
	select {
	case <-time.After(time.Second):
		return slowInstance(s), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (v *supervisor) running(t *testing.T) *instance {
	t.Helper()
	inst, err := v.await(t.Context(), time.Now().Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func TestNewProgramIsNotUndoneByARestartUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTestSupervisor(slowStart)
		go v.run()
		first := v.running(t)
		v.renew(first, "it misbehaves")
		time.Sleep(time.Second / 2)
		now := withSettings(`{"new":true}`)
		second := slowInstance(now)
		v.mu.Lock()
		v.succeed(second, now) // the operator's, faster than the restart
		time.Sleep(10 * time.Second)
		if got := v.running(t); got != second || v.spec != now {
			t.Errorf("in force: %s", settingsOf(got))
		}
		v.halt(politeTime)
	})
}

func TestNewSettingsReachTheProcessThatIsJustStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTestSupervisor(slowStart)
		go v.run()
		time.Sleep(time.Second / 2)
		now := withSettings(`{"new":true}`)
		if err := v.reconfigure(t.Context(), now, ""); err != nil {
			t.Fatal(err)
		}
		if got := settingsOf(v.running(t)); got != now.Settings {
			t.Errorf("the process that runs has the settings %s", got)
		}
		v.halt(politeTime)
	})
}

func TestNewSettingsReachTheSuccessorOfAProcessThatDiesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTestSupervisor(slowStart)
		go v.run()
		first := v.running(t)
		first.answered.Store(true)
		now := withSettings(`{"new":true}`)
		ended := make(chan error)
		go func() { ended <- v.reconfigure(t.Context(), now, "") }()
		time.Sleep(time.Second / 2)
		first.fail(errors.New("connection lost"))
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := settingsOf(v.running(t)); got != now.Settings || v.spec != now {
			t.Errorf("the successor has the settings %s", got)
		}
		v.halt(politeTime)
	})
}

func TestRestartOfOneThatMisbehavesIsRareAndAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		v := newTestSupervisor(func(context.Context, *spec, uint64) (*instance, error) {
			if starts++; starts == 2 {
				return nil, errors.New("not now")
			}
			return fakeInstance(), nil
		})
		go v.run()
		inst := v.running(t)
		for range 15 { // once a second, as it does at each heartbeat
			v.heard(inst, &agentv1.AgentStatus{State: agentv1.AgentStatus_STATE_RESTART_ME})
			time.Sleep(time.Second)
		}
		if v.running(t) == inst || starts != 3 {
			t.Errorf("%d starts", starts)
		}
		inst, starts = v.running(t), 0
		time.Sleep(renewPause)
		for range 100 {
			v.failure(v.cur.Load(), event.MailCommand, event.ErrProtocol)
			time.Sleep(100 * time.Millisecond)
		}
		if v.running(t) == inst || starts != 1 {
			t.Errorf("%d starts for 100 faults in ten seconds", starts)
		}
		v.halt(politeTime)
	})
}

func TestEventsDoNotPassWithoutAnAgentThatGoesWithTheRelay(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("s"), newState("s")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := mailFrom(t, c, state, 1, "a", time.Second); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestSettingsThatAreBeingTakenAreNotGivenUpHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTestSupervisor(slowStart)
		go v.run()
		inst := v.running(t)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // they are tried for one second, then taken for one
		defer cancel()
		now := withSettings(`{"new":true}`)
		err := v.reconfigure(ctx, now, "")
		time.Sleep(time.Second)
		if taken := settingsOf(inst) == now.Settings; taken != (err == nil) {
			t.Errorf("taken: %t, error %v", taken, err)
		}
		v.halt(politeTime)
	})
}
