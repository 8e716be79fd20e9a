package agent_test

import (
	"context"
	"strings"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

func TestParametersAreSet(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(m *agent.Message)
		sender string
		rcpts  string
		refuse string
	}{
		{"the sender's", func(m *agent.Message) {
			m.SetParam("ret", "HDRS")
			m.SetParam("ENVID", agent.EncodeXtext("a + b"))
			if m.EnvelopeID() != "a + b" {
				panic(m.EnvelopeID())
			}
		}, "SIZE=9 RET=HDRS ENVID=a+20+2B+20b", "NOTIFY=DELAY|", ""},
		{"taken out", func(m *agent.Message) { m.SetParam("ENVID", "") }, "SIZE=9", "NOTIFY=DELAY|", ""},
		{"a recipient's", func(m *agent.Message) { m.SetRecipientParam(m.Recipients()[0], "NOTIFY", "NEVER") }, "SIZE=9 ENVID=x", "NOTIFY=NEVER|", ""},
		{"a recipient's twice, then replaced", func(m *agent.Message) {
			m.SetRecipientParam(m.Recipients()[1], "NOTIFY", "NEVER")
			m.SetRecipientParam(m.Recipients()[1], "ORCPT", "rfc822;o@example.org")
			m.ReplaceRecipient(m.Recipients()[1], "x@example.org", "y@example.org")
		}, "SIZE=9 ENVID=x", "NOTIFY=DELAY|NOTIFY=NEVER ORCPT=rfc822;o@example.org|NOTIFY=NEVER ORCPT=rfc822;o@example.org", ""},
		{"a new recipient's", func(m *agent.Message) {
			m.AddRecipient("c@example.org")
			m.SetRecipientParam(m.Recipients()[2], "NOTIFY", "NEVER")
			m.ReplaceRecipient(m.Recipients()[2], "d@example.org")
		}, "SIZE=9 ENVID=x", "NOTIFY=DELAY||NOTIFY=NEVER", ""},
		{"of a replacement", func(m *agent.Message) {
			m.ReplaceRecipient(m.Recipients()[0], "c@example.org", "d@example.org")
			m.SetRecipientParam(m.Recipients()[1], "NOTIFY", "NEVER")
		}, "SIZE=9 ENVID=x", "NOTIFY=DELAY|NOTIFY=NEVER|", ""},
		{"untrue", func(m *agent.Message) { m.SetParam("SIZE", "1") }, "SIZE=9 ENVID=x", "NOTIFY=DELAY|", "SIZE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var local []string
			edit := onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict {
				tc.edit(m)
				local = nil
				for _, r := range m.Recipients() {
					notify, _ := r.Param("notify")
					local = append(local, notify)
				}
				return agent.Verdict{}
			})
			var refused string
			h := agenttest.Start(t, agent.New("edit", edit, everything()), agenttest.Config{Refused: func(p string) { refused = p }})
			m := h.Connect("192.0.2.1").Mail("s@example.com", "SIZE=9", "ENVID=x")
			m.Rcpt("a@example.org", "NOTIFY=DELAY")
			m.Rcpt("b@example.org")
			r := m.EndOfHeaders(sample)
			if r.Verdict.Failure != "" || (refused != "") != (tc.refuse != "") || !strings.Contains(refused, tc.refuse) {
				t.Fatalf("failure %q, refused %q", r.Verdict.Failure, refused)
			}
			var rcpts []string
			for n := range r.Recipients {
				rcpts = append(rcpts, m.RecipientParams(n))
				if shown, ok := strings.CutPrefix(m.RecipientParams(n), "NOTIFY="); ok && !strings.HasPrefix(shown, local[n]) || !ok && local[n] != "" {
					t.Errorf("the handler saw %q, the relay has %q", local, m.RecipientParams(n))
				}
			}
			if got := strings.Join(rcpts, "|"); m.Params() != tc.sender || got != tc.rcpts {
				t.Errorf("MAIL %q, RCPT %q, want %q, %q", m.Params(), got, tc.sender, tc.rcpts)
			}
		})
	}
}

func TestXtext(t *testing.T) {
	for text, value := range map[string]string{"": "", "a@b.example": "a@b.example", "a+b=c d": "a+2Bb+3Dc+20d", "ä": "+C3+A4"} {
		if got := agent.EncodeXtext(text); got != value {
			t.Errorf("EncodeXtext(%q) = %q, want %q", text, got, value)
		}
		if got := agent.DecodeXtext(strings.ToLower(value)); got != text {
			t.Errorf("DecodeXtext(%q) = %q, want %q", value, got, text)
		}
	}
	for _, odd := range []string{"+", "a+", "+4", "+G1", "+1G"} {
		if got := agent.DecodeXtext(odd); got != odd {
			t.Errorf("DecodeXtext(%q) = %q", odd, got)
		}
	}
}
