package e2e

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.org/relay/proto/control/v1"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// passed is what the fault agent adds to every message that it lets pass.
const passed = "X-Fault-Agent: passed"

// faulty is a relay with the fault agent and a load on it.
type faulty struct {
	*relaytest.Relay
	sink *smtptest.Sink
	load *load
	path string // of the agent's program
}

func startFaulty(t *testing.T, factory, agents string) *faulty {
	t.Helper()
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Agents: agents})
	path := copyProgram(t, relaytest.Build(t, "test/faultagent"))
	r.Install("fault", path, factory)
	return &faulty{r, sink, startLoad(t, r, sink), path}
}

// copyProgram gives a test its own copy, whose mode file is its own too.
func copyProgram(t *testing.T, from string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/faultagent"
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// send sends one marked message beside the load and returns what the client was told.
func (f *faulty) send(t *testing.T, subject string) string {
	t.Helper()
	c, err := smtptest.Dial(f.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Send("bob@example.net", "alice@example.org", "", []byte("Subject: "+subject+"\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return reply
}

// another waits until the agent is another process that runs.
func (f *faulty) another(t *testing.T, pid int64) {
	t.Helper()
	relaytest.Eventually(t, "a new agent process runs", func() bool {
		a := f.Agent("fault")
		return a.State == "running" && a.Pid != pid
	})
}

func TestFaultKilledAgentIsReplacedAndNoSessionLost(t *testing.T) {
	f := startFaulty(t, "marker", "")
	for range 5 {
		pid := f.Agent("fault").Pid
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		f.another(t, pid)
		f.load.more(100)
	}
	f.load.stop(passed)
	if a := f.Agent("fault"); a.Crashes != 5 || a.Failures != 0 {
		t.Errorf("%d crashes and %d failures counted, want 5 and 0", a.Crashes, a.Failures)
	}
}

func TestFaultStoppedAgentIsFoundHungAndReplaced(t *testing.T) {
	f := startFaulty(t, "marker", `timeout = "20s"`)
	pid := f.Agent("fault").Pid
	if err := syscall.Kill(int(pid), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f.another(t, pid)
	f.load.more(100)
	f.load.stop(passed)
	if !f.Log.Contains("hung") {
		t.Error("the log does not say that the agent hung")
	}
}

func TestFaultMessagesThatBreakTheAgentAreTempfailedAlone(t *testing.T) {
	for _, fault := range []string{"panic", "inject", "huge", "huge-edit", "seq", "twice", "class", "defer",
		"ungranted", "gone", "many", "close", "late", "fail", "hang", "crash"} {
		t.Run(fault, func(t *testing.T) {
			f := startFaulty(t, "marker", `timeout = "3s"`)
			if reply := f.send(t, "fault: "+fault); !strings.HasPrefix(reply, "451 ") {
				t.Errorf("answered %q, want 451", reply)
			}
			f.load.more(50)
			f.load.stop(passed)
			for _, m := range f.sink.Messages() {
				if strings.Contains(string(m.Content), "fault: ") {
					t.Errorf("arrived: %q", m.Content)
				}
			}
			if a := f.Agent("fault"); a.Failures == 0 && fault != "crash" {
				t.Error("no failure is counted")
			}
		})
	}
}

func TestFaultPolicyContinueLetsTheMessageGoOn(t *testing.T) {
	for _, fault := range []string{"panic", "inject", "huge", "seq", "twice", "class", "ungranted", "gone", "many", "close", "hang"} {
		t.Run(fault, func(t *testing.T) {
			f := startFaulty(t, "marker", "timeout = \"3s\"\non_failure = \"continue\"")
			if reply := f.send(t, "fault: "+fault); !strings.HasPrefix(reply, "250 ") {
				t.Errorf("answered %q, want 250", reply)
			}
			f.load.stop("") // on a restart, what waits too long may go on without the agent
			found := false
			for _, m := range f.sink.Messages() {
				if content := string(m.Content); strings.Contains(content, "Subject: fault: "+fault) {
					found = true
					if strings.Contains(content, "X-Injected") || strings.Contains(content, passed) {
						t.Errorf("an edit of a broken verdict was made: %q", content)
					}
				}
			}
			if !found {
				t.Error("the message did not arrive")
			}
		})
	}
}

// A message that kills the agent alone is tempfailed whatever the policy.
func TestFaultPoisonIsTempfailedUnderPolicyContinue(t *testing.T) {
	f := startFaulty(t, "marker", `on_failure = "continue"`)
	if reply := f.send(t, "fault: crash"); !strings.HasPrefix(reply, "451 ") {
		t.Errorf("answered %q, want 451", reply)
	}
	f.load.more(50)
	f.load.stop(passed)
	if !f.Log.Contains("message kills the agent") {
		t.Error("the log does not say that the message kills the agent")
	}
}

// What happened to be in flight when the agent died by another's fault is not lost.
func TestFaultCrashOnceIsRetried(t *testing.T) {
	f := startFaulty(t, "marker", "")
	if reply := f.send(t, "fault: crash-once"); !strings.HasPrefix(reply, "250 ") {
		t.Errorf("answered %q, want 250", reply)
	}
	f.load.stop(passed)
}

func TestFaultNoiseOnTheAgentsStreams(t *testing.T) {
	for _, factory := range []string{"stderr", "stdout"} {
		t.Run(factory, func(t *testing.T) {
			f := startFaulty(t, factory, "")
			f.load.more(200)
			f.load.stop(passed)
			if a := f.Agent("fault"); a.Crashes != 0 {
				t.Errorf("%d crashes", a.Crashes)
			}
		})
	}
}

func TestFaultAgentThatDoesNotStartIsNotEnabled(t *testing.T) {
	for mode, want := range map[string]string{
		"exit": "exit status 3", "garbage": "starting up, please wait", "handshake": "version",
	} {
		t.Run(mode, func(t *testing.T) {
			sink := (&smtptest.Sink{}).Start(t)
			r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
			path := copyProgram(t, relaytest.Build(t, "test/faultagent"))
			if err := os.WriteFile(path+".mode", []byte(mode), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := r.InstallAgent(context.Background(), &controlv1.InstallAgentRequest{Name: "fault", Service: "FrontEnd", Path: path, Factory: "marker"})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("install: %v, want an error with %q", err, want)
			}
			if all, err := r.GetAgents(context.Background(), &controlv1.GetAgentsRequest{}); err != nil || len(all.Agents) != 0 {
				t.Errorf("half installed: %v, %v", all, err)
			}
		})
	}
}

func TestFaultAgentThatWillNotComeBackIsAnsweredForByItsPolicy(t *testing.T) {
	for policy, want := range map[string]string{"tempfail": "451 ", "continue": "250 "} {
		t.Run(policy, func(t *testing.T) {
			sink := (&smtptest.Sink{}).Start(t)
			r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Agents: "timeout = \"2s\"\non_failure = \"" + policy + `"`})
			path := copyProgram(t, relaytest.Build(t, "test/faultagent"))
			r.Install("fault", path, "marker")
			if err := os.WriteFile(path+".mode", []byte("exit"), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &faulty{Relay: r, sink: sink}
			pid := r.Agent("fault").Pid
			if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			relaytest.Eventually(t, "the agent is seen as not running", func() bool { return r.Agent("fault").State != "running" })
			if reply := f.send(t, "plain"); !strings.HasPrefix(reply, want) {
				t.Errorf("answered %q, want %s", reply, want)
			}
			if err := os.Remove(path + ".mode"); err != nil {
				t.Fatal(err)
			}
			// It would be tried again by itself; an operator does not wait for that.
			if _, err := r.DisableAgent(context.Background(), &controlv1.AgentRequest{Name: "fault"}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.EnableAgent(context.Background(), &controlv1.AgentRequest{Name: "fault"}); err != nil {
				t.Fatal(err)
			}
			f.another(t, pid)
			if reply := f.send(t, "plain"); !strings.HasPrefix(reply, "250 ") {
				t.Errorf("after its return answered %q, want 250", reply)
			}
		})
	}
}

func TestFaultSwapUnderLoadFailsNothing(t *testing.T) {
	f := startFaulty(t, "marker", "")
	for range 4 {
		pid := f.Agent("fault").Pid
		path := copyProgram(t, f.path)
		if _, err := f.SetAgent(context.Background(), &controlv1.SetAgentRequest{Name: "fault", Path: &path}); err != nil {
			t.Fatal(err)
		}
		if a := f.Agent("fault"); a.Pid == pid || a.Path != path {
			t.Errorf("still pid %d, %s", a.Pid, a.Path)
		}
		f.load.more(100)
	}
	f.load.stop(passed)
	if a := f.Agent("fault"); a.Failures != 0 || a.Crashes != 0 {
		t.Errorf("%d failures, %d crashes", a.Failures, a.Crashes)
	}
}

func TestFaultSwapToABrokenProgramLeavesTheOldOneRunning(t *testing.T) {
	f := startFaulty(t, "marker", "")
	pid := f.Agent("fault").Pid
	path := copyProgram(t, f.path)
	if err := os.WriteFile(path+".mode", []byte("exit"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.SetAgent(context.Background(), &controlv1.SetAgentRequest{Name: "fault", Path: &path}); err == nil {
		t.Error("a program that does not start was taken")
	}
	if a := f.Agent("fault"); a.Pid != pid || a.Path != f.path {
		t.Errorf("now pid %d, %s", a.Pid, a.Path)
	}
	f.load.more(50)
	f.load.stop(passed)
}

func TestFaultDisableUnderLoad(t *testing.T) {
	f := startFaulty(t, "marker", "")
	for _, now := range []bool{false, true} {
		if _, err := f.DisableAgent(context.Background(), &controlv1.AgentRequest{Name: "fault", Now: now}); err != nil {
			t.Fatal(err)
		}
		f.load.more(50)
		if _, err := f.EnableAgent(context.Background(), &controlv1.AgentRequest{Name: "fault"}); err != nil {
			t.Fatal(err)
		}
		f.load.more(50)
	}
	f.load.stop("")
}

// A transaction keeps the agents it began with, also those it has not shown anything yet.
func TestDisabledAgentFinishesTheTransactionsItBeganWith(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	r.Install("catchall", relaytest.Build(t, "plugins/catchall"), "")
	for _, first := range []bool{true, false} {
		c := dial(t, r.Addr)
		if !first {
			if reply, err := c.Send("bob@example.net", "alice@example.org", "", []byte("Subject: x\r\n\r\n")); err != nil || reply[0] != '2' {
				t.Fatalf("%q %v", reply, err)
			}
			sink.Take()
		}
		wantReply(t, c, "MAIL FROM:<bob@example.net>", "250 ")
		wantReply(t, c, "RCPT TO:<alice_shop@example.org>", "250 ")
		if _, err := r.DisableAgent(context.Background(), &controlv1.AgentRequest{Name: "catchall"}); err != nil {
			t.Fatal(err)
		}
		wantReply(t, c, "DATA", "354 ")
		if err := c.Raw([]byte("Subject: x\r\n\r\n.\r\n")); err != nil {
			t.Fatal(err)
		}
		if reply, err := c.Reply(); err != nil || reply[0] != '2' {
			t.Fatalf("%q %v", reply, err)
		}
		if got := sink.Take(); len(got) != 1 || got[0].To[0] != "<alice@example.org>" {
			t.Errorf("first transaction %v: arrived %q, want it for <alice@example.org>", first, got)
		}
		if reply, err := c.Send("bob@example.net", "alice_shop@example.org", "", []byte("Subject: x\r\n\r\n")); err != nil || reply[0] != '2' {
			t.Fatalf("%q %v", reply, err)
		}
		if got := sink.Take(); len(got) != 1 || got[0].To[0] != "<alice_shop@example.org>" {
			t.Errorf("the next transaction still has the agent: %q", got)
		}
		if _, err := r.EnableAgent(context.Background(), &controlv1.AgentRequest{Name: "catchall"}); err != nil {
			t.Fatal(err)
		}
	}
}
