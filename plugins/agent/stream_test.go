package agent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

func verifyNoLeaks(m *testing.M) { goleak.VerifyTestMain(m) }

// onHeaders is an agent of one function.
type onHeaders func(context.Context, *agent.Message) agent.Verdict

func (f onHeaders) OnEndOfHeaders(ctx context.Context, m *agent.Message) agent.Verdict {
	return f(ctx, m)
}

func everything() agent.Option {
	return func(f *agent.Factory) {
		agent.Asks(agent.ChangeHeaders, agent.ChangeRecipients, agent.ChangeSender, agent.RejectMail, agent.DiscardMail)(f)
		agent.ChangesRecipientsAt(agent.EventEndOfHeaders)(f)
	}
}

const sample = "Received: from a\r\n\tby b\r\nSubject : =?utf-8?q?h=C3=A9llo?=\r\nX-Two: 1\r\nx-two: 2\r\n"

func TestEditsOfHeaderFieldsLeaveTheOthersByteForByte(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(h *agent.Header)
		want string
	}{
		{"nothing", func(*agent.Header) {}, sample},
		{"replaced in place under the name as written",
			func(h *agent.Header) { h.SetText("subject", "new") }, strings.Replace(sample, "=?utf-8?q?h=C3=A9llo?=", "new", 1)},
		{"replaced twice", func(h *agent.Header) { h.SetText("subject", "old"); h.SetRaw("subject", " new") },
			strings.Replace(sample, "=?utf-8?q?h=C3=A9llo?=", "new", 1)},
		{"missing is added at the top", func(h *agent.Header) { h.SetText("X-New", "a") }, "X-New: a\r\n" + sample},
		{"added at the bottom", func(h *agent.Header) { h.AddLast("X-New", "a") }, sample + "X-New: a\r\n"},
		{"added at the top, then changed", func(h *agent.Header) { h.Add("X-New", "a"); h.SetText("x-new", "b") }, "X-New: b\r\n" + sample},
		{"added and removed", func(h *agent.Header) { h.Add("X-New", "a"); h.Remove("X-New") }, sample},
		{"all of a name removed", func(h *agent.Header) {
			if n := h.Remove("X-Two"); n != 2 {
				panic(n)
			}
		}, strings.Replace(sample, "X-Two: 1\r\nx-two: 2\r\n", "", 1)},
		{"changed and removed", func(h *agent.Header) { h.SetText("X-Two", "9"); h.Field("X-Two").Remove() },
			strings.Replace(sample, "X-Two: 1\r\n", "", 1)},
		{"renamed in its place", func(h *agent.Header) { h.Field("Received").Rename("X-Received") }, "X-" + sample},
		{"renamed, then changed", func(h *agent.Header) {
			f := h.Field("X-Two")
			f.Rename("X-One")
			f.SetText("9")
		}, strings.Replace(sample, "X-Two: 1", "X-One: 9", 1)},
		{"changed, then renamed", func(h *agent.Header) { h.SetText("X-Two", "9"); h.Field("x-two").Rename("X-One") },
			strings.Replace(sample, "X-Two: 1", "X-One: 9", 1)},
		{"added, then renamed", func(h *agent.Header) { h.Add("X-New", "a"); h.Field("X-New").Rename("X-Newer") }, "X-Newer: a\r\n" + sample},
		{"found under the new name only", func(h *agent.Header) {
			h.Field("Received").Rename("X-Received")
			if h.Has("Received") || !h.Has("x-received") {
				panic("the old name")
			}
		}, "X-" + sample},
		{"a tagged Subject", func(h *agent.Header) { h.TagSubject("[a] ") }, strings.Replace(sample, "=?", "[a] =?", 1)},
		{"a line break in a text injects nothing", func(h *agent.Header) { h.SetText("X-New", "a\r\nBcc: b") }, "X-New: a  Bcc: b\r\n" + sample},
	} {
		t.Run(tc.name, func(t *testing.T) {
			edit := onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict { tc.edit(m.Header()); return agent.Continue() })
			h := agenttest.Start(t, agent.New("edit", edit, everything()), agenttest.Config{})
			m := h.Connect("192.0.2.1").Mail("a@example.com")
			m.Rcpt("b@example.org")
			if got := m.EndOfHeaders(sample); got.Header != tc.want || got.Verdict.Failure != "" {
				t.Errorf("header = %q, want %q (%v)", got.Header, tc.want, got.Verdict)
			}
		})
	}
}

func TestHeaderReads(t *testing.T) {
	h := agenttest.Start(t, agent.New("read", onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict {
		h := m.Header()
		return agent.Reject(h.Text("Subject"), h.Raw("received"), h.Text("Received"), h.Field("x-two").Name()).Code(554, "5.7.9")
	}), everything()), agenttest.Config{Refused: func(string) {}})
	m := h.Connect("192.0.2.1").Mail("")
	want := agenttest.Verdict{Action: "reject", Code: 554, Enhanced: "5.7.9", Text: "héllo\n from a\n\tby b\nfrom a\tby b\nX-Two"}
	if got := m.EndOfHeaders(sample).Verdict; got != want {
		t.Errorf("verdict = %+v, want %+v", got, want)
	}
}

func TestEnvelopeEdits(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(m *agent.Message)
		sender string
		rcpts  []string
	}{
		{"sender", func(m *agent.Message) { m.SetSender("") }, "", []string{"a@example.org", "b@example.org"}},
		{"add", func(m *agent.Message) { m.AddRecipient("c@example.org") }, "s@example.com", []string{"a@example.org", "b@example.org", "c@example.org"}},
		{"remove", func(m *agent.Message) { m.RemoveRecipient(m.Recipients()[0]) }, "s@example.com", []string{"b@example.org"}},
		{"one by many", func(m *agent.Message) { m.ReplaceRecipient(m.Recipients()[0], "x@example.org", "y@example.org") },
			"s@example.com", []string{"x@example.org", "y@example.org", "b@example.org"}},
		{"a replacement replaced", func(m *agent.Message) {
			m.ReplaceRecipient(m.Recipients()[0], "x@example.org", "y@example.org")
			m.ReplaceRecipient(m.Recipients()[1], "z@example.org")
		}, "s@example.com", []string{"x@example.org", "z@example.org", "b@example.org"}},
		{"replacements removed", func(m *agent.Message) {
			m.ReplaceRecipient(m.Recipients()[0], "x@example.org")
			m.RemoveRecipient(m.Recipients()[0])
		}, "s@example.com", []string{"b@example.org"}},
		{"an addition replaced and removed", func(m *agent.Message) {
			m.AddRecipient("c@example.org")
			m.ReplaceRecipient(m.Recipients()[2], "d@example.org", "e@example.org")
			m.RemoveRecipient(m.Recipients()[2])
		}, "s@example.com", []string{"a@example.org", "b@example.org", "e@example.org"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var local []string
			edit := onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict {
				tc.edit(m)
				local = nil
				for _, r := range m.Recipients() {
					local = append(local, r.Address())
				}
				return agent.Verdict{}
			})
			h := agenttest.Start(t, agent.New("edit", edit, everything()), agenttest.Config{})
			m := h.Connect("192.0.2.1").Mail("s@example.com")
			m.Rcpt("a@example.org")
			m.Rcpt("b@example.org")
			got := m.EndOfHeaders(sample)
			if got.Verdict.Failure != "" || got.Sender != tc.sender || !slices.Equal(got.Recipients, tc.rcpts) {
				t.Errorf("%+v, want %q %q", got, tc.sender, tc.rcpts)
			}
			if !slices.Equal(local, tc.rcpts) {
				t.Errorf("the agent saw %q, want %q", local, tc.rcpts)
			}
		})
	}
}

func TestAPanicIsTheHandlersFailureAndTheSessionGoesOn(t *testing.T) {
	var seen []string
	h := agenttest.Start(t, agent.New("panics", onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict {
		seen = append(seen, m.Header().Text("Subject"), m.Recipients()[0].Address())
		if len(seen) == 2 {
			m.Header().SetText("Subject", "changed")
			m.ReplaceRecipient(m.Recipients()[0], "other@example.org")
			panic("broken")
		}
		return agent.Verdict{}
	}), everything()), agenttest.Config{})
	m := h.Connect("192.0.2.1").Mail("s@example.com")
	m.Rcpt("a@example.org")
	if got := m.EndOfHeaders("Subject: s\r\n").Verdict.Failure; got != "panic in OnEndOfHeaders: broken" {
		t.Errorf("failure = %q", got)
	}
	// The same state again, since nothing was applied.
	if got := m.EndOfHeaders("Subject: s\r\n"); got.Verdict.Failure != "" {
		t.Errorf("after the panic: %+v", got)
	}
	if want := []string{"s", "a@example.org", "s", "a@example.org"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

func TestFailLeavesTheDecisionToThePolicy(t *testing.T) {
	h := agenttest.Start(t, agent.New("away", onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict {
		m.Header().Add("X-A", "b")
		return agent.Fail(errors.New("database away"))
	}), everything()), agenttest.Config{})
	got := h.Connect("192.0.2.1").Mail("").EndOfHeaders("Subject: s\r\n")
	if got.Verdict.Failure != "database away" || got.Header != "Subject: s\r\n" {
		t.Errorf("%+v", got)
	}
}

func TestDeadlineOfTheEventReachesTheHandler(t *testing.T) {
	h := agenttest.Start(t, agent.New("slow", onHeaders(func(ctx context.Context, _ *agent.Message) agent.Verdict {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		<-inner.Done()
		return agent.Fail(inner.Err())
	})), agenttest.Config{Timeout: 20 * time.Millisecond})
	got := h.Connect("192.0.2.1").Mail("").EndOfHeaders("Subject: s\r\n")
	if got.Verdict.Failure != context.DeadlineExceeded.Error() {
		t.Errorf("%+v", got)
	}
}

// witness watches all but OnRcptCommand.
type witness struct{ saw []string }

var hops = agent.SessionKey[int]("hops")
var note = agent.MessageKey[string]("note")

func (w *witness) OnConnect(_ context.Context, s *agent.Session) {
	w.saw = append(w.saw, "connect "+s.RemoteAddr().Addr().String())
	hops.Set(s, hops.Get(s)+1)
}
func (w *witness) OnEhloCommand(_ context.Context, s *agent.Session, domain string) {
	w.saw = append(w.saw, "ehlo "+domain+" "+s.Hello())
	hops.Set(s, hops.Get(s)+1)
}
func (w *witness) OnMailCommand(_ context.Context, m *agent.Message, from agent.Mailbox) {
	size, _ := from.Param("size")
	w.saw = append(w.saw, "mail "+from.Address()+" "+m.From().Address()+" "+size)
	note.Set(m, "n")
}
func (w *witness) OnRcptCommand(_ context.Context, m *agent.Message, rcpt agent.Recipient) agent.Verdict {
	w.saw = append(w.saw, "rcpt "+rcpt.Address()+" "+note.Get(m))
	return agent.Verdict{}
}
func (w *witness) OnRsetCommand(_ context.Context, s *agent.Session) {
	w.saw = append(w.saw, "rset "+agent.SessionKey[string]("other/word").Get(s))
}
func (w *witness) OnDisconnect(_ context.Context, s *agent.Session, reason agent.DisconnectReason) {
	if reason == agent.Quit && s.Message() == nil {
		w.saw = append(w.saw, "quit")
	}
}

func TestWatchedEventsComeInOrderBeforeTheDecidedOne(t *testing.T) {
	w := &witness{}
	h := agenttest.Start(t, agent.New("witness", w), agenttest.Config{})
	c := h.Connect("192.0.2.7")
	c.Ehlo("client.example.org")
	m := c.Mail("s@example.com", "SIZE=5")
	if len(w.saw) != 0 {
		t.Fatalf("a watched event came alone: %q", w.saw)
	}
	m.Rcpt("a@example.org")
	if c.Property("hops") != "2" || c.Property("note") != `"n"` {
		t.Errorf("properties %q, %q", c.Property("hops"), c.Property("note"))
	}
	c.SetProperty("other/word", "w")
	c.Rset()
	c.Quit()
	want := []string{"connect 192.0.2.7", "ehlo client.example.org client.example.org", "mail s@example.com s@example.com 5",
		"rcpt a@example.org n", "rset w", "quit"}
	if diff := cmp.Diff(want, w.saw); diff != "" {
		t.Error(diff)
	}
}

// meddler edits where it only watches.
type meddler struct{}

func (meddler) OnEndOfHeaders(_ context.Context, m *agent.Message) { m.Header().Add("X-A", "b") }
func (meddler) OnEndOfData(context.Context, *agent.Message) agent.Verdict {
	return agent.Verdict{}
}

func TestAWatchingHandlerCannotEdit(t *testing.T) {
	h := agenttest.Start(t, agent.New("meddler", meddler{}, everything()), agenttest.Config{})
	m := h.Connect("192.0.2.1").Mail("")
	m.EndOfHeaders("Subject: s\r\n")
	if got := m.EndOfData(""); got.Header != "Subject: s\r\n" || got.Verdict != (agenttest.Verdict{Action: "continue"}) {
		t.Errorf("%+v", got)
	}
}
