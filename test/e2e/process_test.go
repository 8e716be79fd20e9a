package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// operator is a person with a shell: a configuration and the program.
type operator struct {
	t      *testing.T
	bin    string
	config string
	addr   string
}

func newOperator(t *testing.T, nextHop string) *operator {
	t.Helper()
	o := &operator{t: t, bin: relaytest.Build(t, "cmd/relay"), addr: freeAddr(t)}
	o.config = filepath.Join(t.TempDir(), "config.toml")
	write(t, o.config, fmt.Sprintf(`hostname = "mx.example.org"
state_dir = "var"
[[accepted_domain]]
name = "example.org"
[next_hop.mailserver]
addresses = [%q]
tls = "none"
[frontend]
next_hop = "mailserver"
[[frontend.listener]]
address = %q
tls = "none"
`, nextHop, o.addr))
	return o
}

// serve starts the relay and returns once it listens.
func (o *operator) serve() *exec.Cmd {
	o.t.Helper()
	cmd := exec.Command(o.bin, "serve", "--config", o.config)
	log := &relaytest.Log{}
	cmd.Stderr = log
	started := time.Now()
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if o.t.Failed() {
			o.t.Logf("the relay's log:\n%s", log.Tail(8000))
		}
	})
	relaytest.Eventually(o.t, "the relay listens", func() bool {
		c, err := net.Dial("tcp", o.addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	if took := time.Since(started); took > 10*time.Second {
		o.t.Errorf("listened only after %v", took)
	}
	return cmd
}

// relay runs one of the commands.
func (o *operator) relay(args ...string) string {
	o.t.Helper()
	out, err := exec.Command(o.bin, append(args, "--config", o.config)...).CombinedOutput()
	if err != nil {
		o.t.Fatalf("relay %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// agentPid is the process of the one agent.
func (o *operator) agentPid() int {
	o.t.Helper()
	var agents []struct {
		Pid json.Number `json:"pid"`
	}
	out := o.relay("get-agent", "--json")
	if err := json.Unmarshal([]byte(out), &agents); err != nil || len(agents) != 1 {
		o.t.Fatalf("get-agent --json: %v\n%s", err, out)
	}
	pid, _ := strconv.Atoi(agents[0].Pid.String())
	return pid
}

func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// A killed relay takes its agents with it, and comes back with them.
func TestKilledRelayLeavesNoAgentAndComesBack(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	o := newOperator(t, sink.Addr())
	cmd := o.serve()
	o.relay("install-agent", "catchall", "--path", relaytest.Build(t, "plugins/catchall"), "--transport-service", "FrontEnd")
	o.relay("enable-agent", "catchall")
	for range 2 {
		pid := o.agentPid()
		if pid == 0 || gone(pid) {
			t.Fatalf("agent process %d does not run", pid)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		relaytest.Eventually(t, "the agent is gone with the relay", func() bool { return gone(pid) })

		cmd = o.serve()
		c, err := smtptest.Dial(o.addr)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := c.Send("bob@example.net", "alice_shop@example.org", "", []byte("Subject: hello\r\n\r\nbody\r\n"))
		if err != nil || !strings.HasPrefix(reply, "250 ") {
			t.Fatalf("%q %v", reply, err)
		}
		c.Quit()
		got := sink.Take()
		if len(got) != 1 || got[0].To[0] != "<alice@example.org>" || !strings.Contains(string(got[0].Content), "Subject: [shop] hello\r\n") {
			t.Errorf("arrived: %q", got)
		}
	}
}

// SIGTERM lets a running transaction finish and tells idle clients 421.
func TestTermDrains(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	o := newOperator(t, sink.Addr())
	cmd := o.serve()
	idle, err := smtptest.Dial(o.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	busy, err := smtptest.Dial(o.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, line := range []string{"MAIL FROM:<bob@example.net>", "RCPT TO:<alice@example.org>", "DATA"} {
		if reply, err := busy.Cmd(line); err != nil || reply[0] > '3' {
			t.Fatalf("%s: %q %v", line, reply, err)
		}
	}
	if err := busy.Raw([]byte("Subject: last\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if reply, err := idle.Reply(); err != nil || !strings.HasPrefix(reply, "421 ") {
		t.Errorf("the idle client was told %q %v, want 421", reply, err)
	}
	if err := busy.Raw([]byte("body\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	if reply, err := busy.Reply(); err != nil || !strings.HasPrefix(reply, "250 ") {
		t.Errorf("the busy client was told %q %v, want 250", reply, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the relay ended with %v", err)
	}
	if len(sink.Take()) != 1 {
		t.Error("the last message did not arrive")
	}
}

// The demo shows what it promises and leaves nothing behind.
func TestDemo(t *testing.T) {
	bin := t.TempDir()
	for _, p := range []string{"cmd/relay", "plugins/catchall"} {
		to := filepath.Join(bin, strings.TrimPrefix(p, "cmd/"))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(relaytest.Build(t, p), to); err != nil {
			write(t, to, read(t, relaytest.Build(t, p)))
			if err := os.Chmod(to, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	tmp := t.TempDir()
	cmd := exec.Command(relaytest.Build(t, "demo"), "-bin", bin, "-once")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"alice_shop@example.org", "Subject: Your order has shipped", "Subject: [shop] Your order has shipped", "<alice@example.org>"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out)
		}
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Each log line is JSON where the log is not a terminal.
func TestLogIsJSON(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	o := newOperator(t, sink.Addr())
	cmd := exec.Command(o.bin, "serve", "--config", o.config)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	scan := bufio.NewScanner(pipe)
	for seen := map[string]bool{}; !seen["session"]; {
		if !scan.Scan() {
			t.Fatalf("the log ended: %v", scan.Err())
		}
		var line map[string]any
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", scan.Text(), err)
		}
		msg, _ := line["msg"].(string)
		seen[msg] = true
		switch msg {
		case "listening":
			c, err := smtptest.Dial(o.addr)
			if err != nil {
				t.Fatal(err)
			}
			if reply, err := c.Send("bob@example.net", "alice@example.org", "", []byte("Subject: x\r\n\r\n")); err != nil || reply[0] != '2' {
				t.Fatalf("%q %v", reply, err)
			}
			c.Quit()
		case "message":
			for _, key := range []string{"id", "session", "from", "to", "reply", "next_hop", "result"} {
				if line[key] == nil {
					t.Errorf("no %s in %s", key, scan.Text())
				}
			}
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	for scan.Scan() {
	}
}
