package agents

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
)

// rolledBack reports whether the first process is in force again, and checks what is told of it.
func (s *stage) rolledBack(t *testing.T, why string) bool {
	t.Helper()
	synctest.Wait()
	_, problem, inst := s.v.snapshot()
	back := inst == s.cast[0].inst
	if told := strings.Contains(problem, "rolled back to /nowhere/a (SHA-256 000000000000…) because "); told != back {
		t.Errorf("rolled back: %t, but get-agent says %q", back, problem)
	}
	if told := strings.Contains(s.log.String(), "agent rolled back"); told != back || back != (len(s.undid) == 1 && s.undid[0] == 2) {
		t.Errorf("rolled back: %t, editions %v, log:\n%s", back, s.undid, s.log.String())
	}
	if back && !strings.Contains(problem, why) {
		t.Errorf("the reason %q is not in %q", why, problem)
	}
	return back
}

func TestProbation(t *testing.T) {
	died := errors.New("connection lost")
	ask := func(t *testing.T, s *stage, n int, local string) {
		c, state := s.Open("s"), newState("s")
		for i := range n {
			_, _ = mailFrom(t, c, state, uint32(i+1), local, time.Second)
		}
		c.End(nil, state, event.DisconnectQuit)
	}
	fail := func(s *stage, i int, yes bool) {
		s.cast[i].set(func() { s.cast[i].fails = yes })
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, s *stage)
		why  string // empty: it stays
	}{
		{"well", func(t *testing.T, s *stage) { ask(t, s, 100, "a") }, ""},
		{"dies", func(_ *testing.T, s *stage) { s.cast[1].inst.fail(died) }, "because its process died: connection lost"},
		{"hangs", func(_ *testing.T, s *stage) { s.cast[1].inst.fail(errHung) }, "no heartbeat in 3 s"},
		{"dies after the probation", func(_ *testing.T, s *stage) {
			time.Sleep(probationTime + time.Second)
			s.cast[1].inst.fail(died)
		}, ""},
		{"fails", func(t *testing.T, s *stage) {
			fail(s, 1, true)
			ask(t, s, 3, "a")
		}, "3 of its last 3 events failed, the last one with: agent could not judge: database away"},
		{"fails twice", func(t *testing.T, s *stage) {
			fail(s, 1, true)
			ask(t, s, 2, "a")
		}, ""},
		{"fails now and then", func(t *testing.T, s *stage) {
			for range 5 {
				fail(s, 1, false)
				ask(t, s, 40, "a")
				fail(s, 1, true)
				ask(t, s, 1, "a")
			}
		}, ""},
		{"times out", func(t *testing.T, s *stage) {
			s.cast[1].set(func() { s.cast[1].mute = true })
			ask(t, s, 3, "a")
		}, "agent did not answer in time"},
		{"breaks the contract twice", func(_ *testing.T, s *stage) {
			for range 2 {
				s.fault(s.v, s.cast[1].inst, "s", event.MailCommand, errors.New("header injection"))
			}
		}, "because of two faults of protocol in a minute: header injection"},
		{"the old one breaks the contract twice", func(_ *testing.T, s *stage) {
			for range 2 {
				s.fault(s.v, s.cast[0].inst, "s", event.MailCommand, errors.New("header injection"))
			}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				defer s.close(t)
				s.swap(t, 2)
				tt.do(t, s)
				if back := s.rolledBack(t, tt.why); back != (tt.why != "") {
					t.Errorf("rolled back: %t", back)
				}
				if now, of := s.v.running(t), s.v.specNow(); tt.why != "" && (now.edition.Load() != 1 || of.Edition != 1) {
					t.Errorf("edition %d runs, of spec %d", now.edition.Load(), of.Edition)
				}
				time.Sleep(2 * (probationTime + retireTime))
				n := 0
				for _, a := range s.cast {
					if !a.inst.isGone() {
						n++
					}
				}
				s.v.mu.Lock()
				past := len(s.v.past)
				s.v.mu.Unlock()
				if n != 1 || past != 0 {
					t.Errorf("in the end %d processes live, %d are on the list of those that go", n, past)
				}
			})
		})
	}
}

// Where whatever both ask is away, the old one is no better.
func TestSwapIsNotUndoneForFailuresThatTheOldOneHadToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		s.next = func(a *voice) { a.fails = true }
		s.cast[0].set(func() { s.cast[0].fails = true })
		c, state := s.Open("s"), newState("s")
		for i := range 20 {
			if i == 10 {
				s.swap(t, 2)
			}
			if _, err := mailFrom(t, c, state, uint32(i+1), "a", time.Second); !errors.Is(err, event.ErrFailed) {
				t.Error(err)
			}
		}
		if s.rolledBack(t, "") {
			t.Error("rolled back")
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}

func TestEventsInFlightOfACrashOnProbationAreJudgedByTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		s.next = func(a *voice) { a.mute, a.lethal = true, "kills" }
		s.swap(t, 2)
		said := make(chan string)
		for range 5 {
			go func() {
				c, state := s.Open("s"), newState("s")
				c.Hold(2)
				begin(state, "m")
				_, says := who(t, c, state, 1)
				c.End(nil, state, event.DisconnectQuit)
				said <- says
			}()
		}
		synctest.Wait()
		c, state := s.Open("bad"), newState("bad")
		c.Hold(2)
		begin(state, "m2")
		v, err := mailFrom(t, c, state, 1, "kills", 10*time.Second)
		if err != nil || !strings.HasPrefix(v.Reason, "v1.1 ") {
			t.Errorf("who killed the new one: %q, %v", v.Reason, err)
		}
		c.End(nil, state, event.DisconnectQuit)
		for range 5 {
			if says := <-said; !strings.HasPrefix(says, "v1.1 ") {
				t.Errorf("another one: %q", says)
			}
		}
		if !s.rolledBack(t, "") {
			t.Error("not rolled back")
		}
		if n := s.stats.failures.Load(); n != 0 || len(s.cast) != 2 {
			t.Errorf("%d failures, %d processes", n, len(s.cast))
		}
	})
}

// Events that wait for a process on probation which does not answer are not made to wait until
// their time is over.
func TestEventsInFlightOfAFailingProcessMoveWithTheRollBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		s.swap(t, 2)
		s.cast[1].set(func() { s.cast[1].mute = true })
		began := time.Now()
		said := make(chan string)
		go func() {
			c, state := s.Open("patient"), newState("patient")
			v, err := mailFrom(t, c, state, 1, "a", time.Minute)
			c.End(nil, state, event.DisconnectQuit)
			if err != nil {
				t.Error(err)
			}
			said <- v.Reason
		}()
		c, state := s.Open("s"), newState("s")
		for i := range leastFailures {
			_, _ = mailFrom(t, c, state, uint32(i+1), "a", time.Second)
		}
		if says := <-said; !strings.HasPrefix(says, "v1.1 ") || time.Since(began) != leastFailures*time.Second {
			t.Errorf("%q after %s", says, time.Since(began))
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}

func TestWhatTheOperatorChangesOnProbationIsNotTakenBack(t *testing.T) {
	for _, swapped := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			defer s.close(t)
			s.swap(t, 2)
			if swapped {
				s.swap(t, 3)
				time.Sleep(retireTime + time.Second)
				if !s.cast[0].inst.isGone() || s.cast[1].inst.isGone() {
					t.Error("the one before the last is kept, or the last is not")
				}
				s.cast[2].inst.fail(errHung)
				if now := s.v.running(t); now != s.cast[1].inst {
					t.Errorf("not rolled back to the program before")
				}
				return
			}
			again := edition(3)
			again.SHA256, again.Settings = edition(2).SHA256, `{"new":true}`
			if err := s.v.reconfigure(t.Context(), again, ""); err != nil {
				t.Fatal(err)
			}
			s.cast[1].inst.answered.Store(true)
			s.cast[1].inst.fail(errHung)
			synctest.Wait()
			if now := s.v.running(t); now != s.cast[2].inst || s.v.specNow() != again || len(s.undid) != 0 {
				t.Errorf("edition %d runs, of spec %d; undone %v", now.edition.Load(), s.v.specNow().Edition, s.undid)
			}
		})
	}
}

// A change that was rolled back just before it was said again to the supervisor, by a reload of
// the defaults, is not put in force by that.
func TestReloadDoesNotBringBackWhatWasRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		s.swap(t, 2)
		s.cast[1].inst.fail(errHung)
		synctest.Wait()
		if err := s.v.reconfigure(t.Context(), edition(2), ""); err != nil || s.v.running(t) != s.cast[0].inst {
			t.Errorf("it runs again: %v", err)
		}
		// The operator's own, of the program that has failed, is a swap.
		mended := edition(3)
		mended.SHA256 = edition(2).SHA256
		if err := s.v.reconfigure(t.Context(), mended, ""); err != nil || s.v.running(t).edition.Load() != 3 {
			t.Errorf("the operator's change is not taken: %v", err)
		}
	})
}

func TestProcessThatMayHaveTakenSettingsItShouldNotIsReplaced(t *testing.T) {
	for _, broken := range []error{errors.New("deadline exceeded"), FieldErrors{"x: is bad"}} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			defer s.close(t)
			now := edition(2)
			now.SHA256, now.Settings = edition(1).SHA256, `{"new":true}`
			s.cast[0].set(func() { s.cast[0].broken = broken })
			if err := s.v.reconfigure(t.Context(), now, ""); err == nil {
				t.Error("no error")
			}
			synctest.Wait()
			refused := FieldErrors(nil)
			if said := errors.As(broken, &refused); s.v.running(t) == s.cast[0].inst != said || s.v.specNow().Settings != "" {
				t.Errorf("%v: the process with unknown settings goes on, with %s", broken, s.v.specNow().Settings)
			}
		})
	}
}

func TestSettingsThatNeedANewProcessAreOnProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		s.cast[0].set(func() { s.cast[0].answers = 1 })
		now := edition(2)
		now.SHA256, now.Settings = edition(1).SHA256, `{"new":true}`
		if err := s.v.reconfigure(t.Context(), now, ""); err != nil || s.v.running(t) != s.cast[1].inst {
			t.Fatal(err)
		}
		s.cast[1].inst.fail(errHung)
		synctest.Wait()
		if _, problem, _ := s.v.snapshot(); s.v.running(t) != s.cast[0].inst || !strings.HasPrefix(problem, "rolled back to its former settings because its process died: hung") {
			t.Errorf("%q", problem)
		}
	})
}
