package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"

	controlv1 "example.org/relay/proto/control/v1"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

func (f *faulty) swap(t *testing.T) {
	t.Helper()
	path := copyProgram(t, f.path)
	if _, err := f.SetAgent(context.Background(), &controlv1.SetAgentRequest{Name: "fault", Path: &path}); err != nil {
		t.Fatal(err)
	}
}

// Sessions that are longer than a program: one in the middle of its transaction, one that does
// nothing for three swaps.
func TestFaultSwapFailsNoSessionThatIsOpen(t *testing.T) {
	f := startFaulty(t, "marker", "")
	dial := func() *smtptest.Client {
		c, err := smtptest.Dial(f.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	say := func(c *smtptest.Client, line, want string) {
		t.Helper()
		if reply, err := c.Cmd(line); err != nil || !strings.HasPrefix(reply, want) {
			t.Errorf("%s: %q, %v", line, reply, err)
		}
	}
	idle, middle := dial(), dial()
	content := "Subject: plain\r\n\r\nbody\r\n"
	if reply, err := idle.Send("bob@example.net", "alice@example.org", "", []byte(content)); err != nil || !strings.HasPrefix(reply, "250 ") {
		t.Fatalf("%q, %v", reply, err)
	}
	say(middle, "MAIL FROM:<bob@example.net>", "250")
	f.swap(t)
	f.load.more(50)
	say(middle, "RCPT TO:<alice@example.org>", "250")
	f.swap(t)
	f.load.more(50)
	say(middle, "DATA", "354")
	f.swap(t)
	f.load.more(50)
	say(middle, content+".", "250")
	if reply, err := idle.Send("bob@example.net", "alice@example.org", "", []byte(content)); err != nil || !strings.HasPrefix(reply, "250 ") {
		t.Errorf("%q, %v", reply, err)
	}
	f.load.stop(passed)
	if a := f.Agent("fault"); a.Failures != 0 || a.Crashes != 0 {
		t.Errorf("%d failures, %d crashes", a.Failures, a.Crashes)
	}
}

func TestFaultSwapToAProgramThatDiesIsTakenBackUnderLoad(t *testing.T) {
	f := startFaulty(t, "marker", "")
	old := f.Agent("fault")
	f.swap(t)
	f.load.more(50)
	if err := syscall.Kill(int(f.Agent("fault").Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	relaytest.Eventually(t, "the old program is back", func() bool {
		a := f.Agent("fault")
		return a.Pid == old.Pid && a.Path == old.Path && strings.HasPrefix(a.Problem, "rolled back to "+old.Path)
	})
	f.load.more(100)
	f.load.stop(passed)
	if !f.Log.Contains("agent rolled back") {
		t.Error("the log does not say so")
	}
	if a := f.Agent("fault"); a.Failures != 0 || a.Crashes != 1 {
		t.Errorf("%d failures, %d crashes", a.Failures, a.Crashes)
	}
}
