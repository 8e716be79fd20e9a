package e2e

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.org/relay/test/agentpeers"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// otherLanguages are the catch-alls of plugins/examples.
var otherLanguages = map[string]func(testing.TB) string{
	"python": func(t testing.TB) string { return agentpeers.Program(agentpeers.Python(t), "catchall") },
	"node":   func(t testing.TB) string { return agentpeers.Program(agentpeers.Node(t), "catchall") },
}

// tagged are messages that the catch-all changes, and one that it does not.
var tagged = []struct{ to, content string }{
	{"alice_shop@example.org", "Subject: Hello\r\nX-Odd : \xe9\r\n\tfolded\r\n\r\nbody \xff\r\n.dot\r\n"},
	{"alice_b\u00fcro@example.org", "From: a@example.net\r\nSubject: a tag in an encoded word\r\n\r\n"},
	{"alice_shop@example.org", "From: a@example.net\r\n\r\nno Subject\r\n"},
	{`"two words_shop"@example.org`, "subject:=?utf-8?q?h=C3=A9?=\r\n =?utf-8?q?b?=\r\n\r\n"},
	{"alice@example.org", "Subject: untouched\r\n\r\nbody\r\n"},
}

// through sends the messages through a relay on which the agent was installed by the commands,
// and returns what arrived: recipients and content below the trace.
func through(t *testing.T, program string, flags ...string) []string {
	t.Helper()
	sink := (&smtptest.Sink{}).Start(t)
	o := newOperator(t, sink.Addr())
	o.serve()
	o.relay(append([]string{"install-agent", "catchall", "--path", program, "--transport-service", "FrontEnd"}, flags...)...)
	o.relay("enable-agent", "catchall")
	if len(flags) > 0 {
		t.Logf("%s", o.relay("get-agent", "catchall"))
	}
	c, err := smtptest.Dial(o.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var arrived []string
	for _, m := range tagged {
		params := ""
		if strings.ContainsRune(m.to, 'ü') {
			params = " SMTPUTF8"
		}
		if reply, err := c.Send("bob@example.net", m.to, params, []byte(m.content)); err != nil || !strings.HasPrefix(reply, "250") {
			t.Fatalf("to %s: %q, %v", m.to, reply, err)
		}
		for _, got := range sink.Take() {
			// What the agent adds stands above the relay's own trace.
			at := bytes.Index(got.Content, []byte("Received: "))
			_, rest := trace(t, got.Content[at:])
			arrived = append(arrived, fmt.Sprintf("%s %q", got.To, append(got.Content[:at:at], rest...)))
		}
	}
	if len(arrived) != len(tagged) {
		t.Fatalf("%d messages arrived, want %d", len(arrived), len(tagged))
	}
	return arrived
}

// modules is where a program's packages are, or its own folder.
func modules(program string) string {
	if dir, err := filepath.EvalSymlinks(filepath.Join(filepath.Dir(program), "node_modules")); err == nil {
		return dir
	}
	return filepath.Dir(program)
}

// What an agent in another language makes of a message is to the octet what the Go agent does.
func TestAgentsOfAllLanguagesDoTheSame(t *testing.T) {
	var want []string
	for language, program := range otherLanguages {
		t.Run(language, func(t *testing.T) {
			path := program(t)
			if want == nil {
				want = through(t, relaytest.Build(t, "plugins/catchall"))
			}
			for name, flags := range map[string][]string{
				"as it is": nil,
				// Where Node's packages lie in a test the agent's own folder only points to.
				"confined": {"--read-only", "--max-memory", "300MB", "--max-processes", "64", "--read-path", modules(path)},
			} {
				if got := through(t, path, flags...); !slices.Equal(got, want) {
					t.Errorf("%s: arrived:\n%s\nwant as of the Go agent:\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}
}

func TestFaultKilledAgentOfAnotherLanguageCostsNoSession(t *testing.T) {
	for language, program := range otherLanguages {
		t.Run(language, func(t *testing.T) {
			path := program(t)
			sink := (&smtptest.Sink{}).Start(t)
			r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
			r.Install("catchall", path, "")
			l := startLoad(t, r, sink)
			for range 3 {
				pid := r.Agent("catchall").Pid
				if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				relaytest.Eventually(t, "a new agent process runs", func() bool {
					a := r.Agent("catchall")
					return a.State == "running" && a.Pid != pid
				})
				l.more(50)
			}
			l.stop("")
			if a := r.Agent("catchall"); a.Crashes != 3 || a.Failures != 0 {
				t.Errorf("%d crashes and %d failures counted, want 3 and 0", a.Crashes, a.Failures)
			}
		})
	}
}
