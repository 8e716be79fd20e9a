// Package agentconformance holds agents in every language against the contract: the same
// cases for each, over the socket of a real process.
package agentconformance

import (
	"strings"
	"testing"

	"example.org/relay/plugins/agent/agenttest"
	"example.org/relay/test/agentpeers"
)

// probes are the ways to get the program of the same agent in each language.
var probes = []struct {
	language string
	path     func(testing.TB) string
}{
	{"go", func(t testing.TB) string { return agentpeers.Go(t, "test/agentconformance/probe") }},
	{"python", func(t testing.TB) string { return agentpeers.Add(t, agentpeers.Python(t), "testdata/probe.py") }},
	{"node", func(t testing.TB) string { return agentpeers.Add(t, agentpeers.Node(t), "testdata/probe.js") }},
}

// each runs a test for the agent in each language.
func each(t *testing.T, test func(t *testing.T, path string)) {
	for _, p := range probes {
		t.Run(p.language, func(t *testing.T) {
			t.Parallel()
			test(t, p.path(t))
		})
	}
}

// TestModel is what the agents see and do, as the author's kit of the Go agents shows it.
func TestModel(t *testing.T) {
	each(t, func(t *testing.T, path string) {
		p := agenttest.Launch(t, path)
		for _, tc := range []struct {
			name string
			test func(*testing.T, *agenttest.Program)
		}{
			{"verdicts", verdicts}, {"recipients", recipients}, {"edits", edits}, {"too many edits", tooManyEdits},
			{"bytes", bytesStay}, {"bags", bags}, {"a refusal is told", refusalTold}, {"a failed handler has done nothing", failedHandler},
		} {
			t.Run(tc.name, func(t *testing.T) { tc.test(t, p) })
		}
	})
}

func verdicts(t *testing.T, p *agenttest.Program) {
	h := p.Host(t, agenttest.Config{})
	for _, tc := range []struct {
		from string
		want agenttest.Verdict
	}{
		{"anybody@example.com", agenttest.Verdict{Action: "continue"}},
		{"", agenttest.Verdict{Action: "continue"}},
		{"reject@example.com", agenttest.Verdict{Action: "reject", Code: 554, Enhanced: "5.7.9", Text: "no\nreally not", Reason: "asked"}},
		{"fail@example.com", agenttest.Verdict{Action: "continue", Failure: "database away"}},
		{"resumed@example.com", agenttest.Verdict{Action: "tempfail", Code: 451, Enhanced: "4.7.1", Text: "false"}},
	} {
		if got := h.Connect("192.0.2.1").Mail(tc.from).Verdict; got != tc.want {
			t.Errorf("MAIL FROM:<%s>: %+v, want %+v", tc.from, got, tc.want)
		}
	}
	want := agenttest.Verdict{Action: "continue", Reason: "said client.example.com"}
	if got := h.Connect("192.0.2.1").Ehlo("client.example.com"); got != want {
		t.Errorf("EHLO: %+v, want %+v", got, want)
	}
}

func recipients(t *testing.T, p *agenttest.Program) {
	m := p.Host(t, agenttest.Config{}).Connect("192.0.2.1").Mail("sender@example.com")
	for _, to := range []string{"list@example.org", "gone@example.org", `"two words"@example.org`} {
		m.Rcpt(to)
	}
	got := m.EndOfHeaders("X-Add: 0\r\n")
	if list, want := strings.Join(got.Recipients, " "), `a@example.org b@example.org "two words"@example.org`; list != want {
		t.Errorf("recipients = %s, want %s", list, want)
	}
}

func edits(t *testing.T, p *agenttest.Program) {
	m := p.Host(t, agenttest.Config{}).Connect("192.0.2.1").Mail("anybody@example.com")
	m.Rcpt("twice@example.org")
	m.Rcpt("other@example.org")
	got := m.EndOfHeaders("From: a\r\nX-Remove: 1\r\nSubject : Hi\r\nx-remove:\r\n 2\r\nno field at all\r\n")
	if got.Verdict != (agenttest.Verdict{Action: "continue"}) {
		t.Fatalf("verdict = %+v", got.Verdict)
	}
	if want := "sender@example.org"; got.Sender != want {
		t.Errorf("sender = %s, want %s", got.Sender, want)
	}
	if list, want := strings.Join(got.Recipients, " "), "again@example.org other@example.org added@example.org"; list != want {
		t.Errorf("recipients = %s, want %s", list, want)
	}
	above, rest, _ := strings.Cut(got.Header, "\r\n")
	if text, err := words.DecodeHeader(above); err != nil || text != "X-Above: ééé" {
		t.Errorf("at the top is %q (%q, %v)", above, text, err)
	}
	if want := "X-Top: 2\r\nFrom: a\r\nSubject : [probe] Hi\r\nno field at all\r\nX-Last: end\r\n"; rest != want {
		t.Errorf("header = %q, want %q", rest, want)
	}
}

func tooManyEdits(t *testing.T, p *agenttest.Program) {
	h := p.Host(t, agenttest.Config{})
	for n, failure := range map[string]string{"1000": "", "1001": "1001 edits; a verdict may have 1000"} {
		m := h.Connect("192.0.2.1").Mail("sender@example.com")
		m.Rcpt("alice@example.org")
		got := m.EndOfHeaders("X-Add: " + n + "\r\n")
		if got.Verdict.Failure != failure {
			t.Errorf("%s edits: failure = %q, want %q", n, got.Verdict.Failure, failure)
		}
		if added := strings.Count(got.Header, "X-Added: 1\r\n"); failure != "" && added != 0 || failure == "" && added != 1000 {
			t.Errorf("%s edits: %d fields were added", n, added)
		}
	}
}

// bytesStay: an edit of one value through the agent's own strings leaves every byte as it came.
func bytesStay(t *testing.T, p *agenttest.Program) {
	var all strings.Builder
	for b := 1; b < 256; b++ {
		if b != '\r' && b != '\n' {
			all.WriteByte(byte(b))
		}
	}
	h := p.Host(t, agenttest.Config{})
	for _, value := range []string{all.String(), "\r\n\tfolded\r\n \t", "", strings.Repeat("long \xe9", 100_000)} {
		m := h.Connect("192.0.2.1").Mail("sender@example.com")
		m.Rcpt("alice@example.org")
		other := "Other:" + all.String() + "\r\n"
		got := m.EndOfHeaders(other + "X-Raw:" + value + "\r\n" + other)
		if want := other + "X-Raw:" + value + "!\r\n" + other; got.Header != want {
			t.Errorf("header = %.600q, want %.600q", got.Header, want)
		}
	}
}

func bags(t *testing.T, p *agenttest.Program) {
	c := p.Host(t, agenttest.Config{}).Connect("2001:db8::1")
	c.SetProperty("other/word", "büro")
	want := agenttest.Verdict{Action: "tempfail", Code: 451, Enhanced: "4.7.1", Text: "2001:db8::1\nbüro"}
	if got := c.Mail("bag@example.com").Verdict; got != want {
		t.Errorf("verdict = %+v, want %+v", got, want)
	}
	if got := c.Property("connected"); got != `"2001:db8::1"` {
		t.Errorf("what a watching handler set is %s", got)
	}
}

func refusalTold(t *testing.T, p *agenttest.Program) {
	c := p.Host(t, agenttest.Config{}).Connect("192.0.2.1")
	if got := c.Reject(rejected(450)).Action; got != "continue" {
		t.Errorf("after a 450: %s", got)
	}
	want := agenttest.Verdict{Action: "disconnect", Code: 421, Enhanced: "4.7.0", Text: "enough"}
	if got := c.Reject(rejected(550)); got != want {
		t.Errorf("after a 550: %+v, want %+v", got, want)
	}
}

func failedHandler(t *testing.T, p *agenttest.Program) {
	c := p.Host(t, agenttest.Config{}).Connect("192.0.2.7")
	m := c.Mail("crash@example.com")
	if !strings.Contains(m.Verdict.Failure, "as asked") || m.Verdict.Action != "continue" {
		t.Errorf("verdict = %+v, want a failure that says why", m.Verdict)
	}
	// Standard error is a pipe of its own: the verdict may be here first.
	eventually(t, "a trace of it on standard error", func() bool {
		return strings.Contains(p.Stderr(), "probe.") || strings.Contains(p.Stderr(), "main.(*probe)")
	})
	if got := c.Property("connected"); got == `"crashed"` {
		t.Error("a failed handler's entry is in the bag")
	}
	// The session goes on, without what the handler did.
	if got := c.Mail("bag@example.com").Verdict.Text; got != "192.0.2.7" && got != "192.0.2.7\n" {
		t.Errorf("the agent's own view of the bag afterwards: %q", got)
	}
}
