package agents

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
)

// fakeProcess is a process that ends when it is told to.
type fakeProcess struct{ gone chan struct{} }

func (p *fakeProcess) end(time.Duration) {
	select {
	case <-p.gone:
	default:
		close(p.gone)
	}
}

func (p *fakeProcess) exited() <-chan struct{} { return p.gone }

func fakeInstance() *instance {
	return newInstance("a", nil, &fakeProcess{make(chan struct{})}, &terms{}, slog.New(slog.DiscardHandler))
}

func newTestSupervisor(launch launcher) *supervisor {
	v := newSupervisor(&spec{Entry: Entry{Name: "a"}}, slog.New(slog.DiscardHandler), &stats{}, &atomic.Uint64{})
	v.launch = launch
	return v
}

func TestStartThatFailsIsTriedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts atomic.Int64
		v := newTestSupervisor(func(context.Context, *spec, uint64) (*instance, error) {
			starts.Add(1)
			return nil, errors.New("no luck")
		})
		go v.run()
		time.Sleep(20 * time.Second)
		if state, problem, _ := v.snapshot(); starts.Load() != circuitDeaths || state != stateFailed || problem != "no luck" {
			t.Errorf("after 20 s: %d starts, %s: %s", starts.Load(), state, problem)
		}
		begun := time.Now()
		if _, err := v.await(t.Context(), begun.Add(10*time.Second)); !errors.Is(err, event.ErrUnavailable) || time.Since(begun) != 0 {
			t.Errorf("an event waited %s for an agent that is given up: %v", time.Since(begun), err)
		}
		time.Sleep(10 * time.Minute)
		if tries := starts.Load() - circuitDeaths; tries < 15 || tries > 40 {
			t.Errorf("%d tries in ten minutes", tries)
		}
		v.halt(politeTime)
	})
}

func TestInstanceThatHasWorkedIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTestSupervisor(func(context.Context, *spec, uint64) (*instance, error) { return fakeInstance(), nil })
		go v.run()
		for range 20 {
			begun := time.Now()
			inst, err := v.await(t.Context(), begun.Add(time.Second))
			if err != nil || time.Since(begun) != 0 {
				t.Fatalf("waited %s, %v", time.Since(begun), err)
			}
			inst.answered.Store(true)
			inst.fail(errors.New("connection lost"))
			synctest.Wait()
		}
		if n := v.stats.crashes.Load(); n != 20 {
			t.Errorf("%d crashes", n)
		}
		v.halt(politeTime)
	})
}

func TestEventWaitsForTheReplacementWithinItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTestSupervisor(func(ctx context.Context, _ *spec, _ uint64) (*instance, error) {
			select {
			case <-time.After(3 * time.Second):
				return fakeInstance(), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		go v.run()
		begun := time.Now()
		if _, err := v.await(t.Context(), begun.Add(time.Second)); !errors.Is(err, event.ErrUnavailable) || time.Since(begun) != time.Second {
			t.Errorf("waited %s, %v", time.Since(begun), err)
		}
		if _, err := v.await(t.Context(), begun.Add(10*time.Second)); err != nil || time.Since(begun) != 3*time.Second {
			t.Errorf("waited %s, %v", time.Since(begun), err)
		}
		ended := make(chan error)
		inst := v.cur.Load()
		inst.answered.Store(true)
		inst.fail(errHung)
		go func() {
			_, err := v.await(t.Context(), time.Now().Add(time.Minute))
			ended <- err
		}()
		synctest.Wait()
		v.halt(0)
		if err := <-ended; !errors.Is(err, event.ErrDetached) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestRetiringInstanceFinishesWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := fakeInstance()
		if !i.enter() {
			t.Fatal("takes no call")
		}
		begun := time.Now()
		go func() {
			time.Sleep(2 * time.Second)
			i.leave()
		}()
		i.retire(retireTime)
		if time.Since(begun) != 2*time.Second || i.enter() {
			t.Errorf("retired after %s", time.Since(begun))
		}

		stuck := fakeInstance()
		stuck.enter()
		begun = time.Now()
		stuck.retire(retireTime)
		if time.Since(begun) != retireTime || !stuck.isGone() {
			t.Errorf("retired after %s", time.Since(begun))
		}
	})
}

func TestHungInstanceIsFoundByItsHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := fakeInstance()
		go i.guard()
		for range 5 {
			time.Sleep(2 * time.Second) // every other one is missed
			i.beats.Add(1)
		}
		synctest.Wait()
		if i.isGone() {
			t.Fatal("given up too early")
		}
		time.Sleep(maxMissed*heartbeat + heartbeat)
		synctest.Wait()
		if !i.isGone() || !errors.Is(i.cause, errHung) {
			t.Errorf("cause %v", i.cause)
		}
	})
}
