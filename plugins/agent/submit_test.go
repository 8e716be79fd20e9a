package agent_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

const robotsNote = "From: robot@example.org\r\n\r\nnoted\r\n"

func TestSubmit(t *testing.T) {
	for _, tc := range []struct {
		name, to, message string
		grant             []agent.Permission
		reply             agent.Reply
		old               bool
		want              string // of the problem
		code              int
	}{
		{name: "taken", to: "archive@example.org", message: robotsNote, code: 250},
		{name: "refused by the next hop", to: "archive@example.org", message: robotsNote, reply: agent.Reply{Code: 550, Enhanced: "5.1.1"}, code: 550},
		{name: "not granted", to: "archive@example.org", message: robotsNote, grant: []agent.Permission{agent.ReadHeaders}, want: "submit was not granted"},
		{name: "elsewhere", to: "archive@example.com", message: robotsNote, want: "not accepted"},
		{name: "no message", to: "archive@example.org", message: "noted", want: "CRLF"},
		{name: "larger than a frame", to: "archive@example.org", message: robotsNote + strings.Repeat("noted\r\n", 200_000), want: "at most 1048576 are taken"},
		{name: "to a relay that cannot", to: "archive@example.org", message: robotsNote, old: true, want: "takes no messages"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got agent.Submission
			var err error
			submit := onHeaders(func(ctx context.Context, m *agent.Message) agent.Verdict {
				got, err = m.Submit(ctx, "robot@example.org", []string{tc.to}, []byte(tc.message))
				return agent.Reject("and goes on")
			})
			c := agenttest.Config{Grant: tc.grant, OldRelay: tc.old, Refused: func(string) {}}
			if tc.reply.Code != 0 {
				c.Submit = func(agenttest.Submission) agent.Reply { return tc.reply }
			}
			h := agenttest.Start(t, agent.New("submit", submit, agent.Asks(agent.SubmitMail, agent.RejectMail)), c)
			m := h.Connect("192.0.2.1").Mail("s@example.com")
			m.Rcpt("a@example.org")
			if v := m.EndOfHeaders(sample).Verdict; v.Action != "reject" {
				t.Errorf("verdict %+v", v)
			}
			var problem *agent.SubmitError
			switch {
			case tc.want == "" && (err != nil || got.Reply.Code != tc.code || got.Accepted() != (tc.code == 250)):
				t.Errorf("%+v, %v", got, err)
			case tc.want != "" && (!errors.As(err, &problem) || !strings.Contains(problem.Problem, tc.want)):
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if n := len(h.Submitted()); (n == 1) != (tc.want == "") {
				t.Errorf("%d submitted", n)
			}
		})
	}
}

// When the verdict is out, nobody hears the agent any more.
func TestSubmitAfterTheHandler(t *testing.T) {
	var kept *agent.Message
	keep := onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict { kept = m; return agent.Continue() })
	h := agenttest.Start(t, agent.New("submit", keep, agent.Asks(agent.SubmitMail)), agenttest.Config{})
	m := h.Connect("192.0.2.1").Mail("s@example.com")
	m.Rcpt("a@example.org")
	m.EndOfHeaders(sample)
	if _, err := kept.Submit(t.Context(), "", []string{"a@example.org"}, []byte(robotsNote)); err == nil || !strings.Contains(err.Error(), "while a handler decides") {
		t.Errorf("error %v", err)
	}
}

// A goroutine that a handler left behind gets its answer, and the verdict waits for it.
func TestSubmitFromAGoroutineThatOutlivesTheHandler(t *testing.T) {
	result := make(chan error, 1)
	started := make(chan struct{})
	leave := onHeaders(func(ctx context.Context, m *agent.Message) agent.Verdict {
		go func() {
			_, err := m.Submit(ctx, "", []string{"a@example.org"}, []byte(robotsNote))
			result <- err
		}()
		<-started
		return agent.Continue()
	})
	c := agenttest.Config{Submit: func(agenttest.Submission) agent.Reply { close(started); return agent.Reply{Code: 250} }}
	h := agenttest.Start(t, agent.New("submit", leave, agent.Asks(agent.SubmitMail)), c)
	m := h.Connect("192.0.2.1").Mail("s@example.com")
	m.Rcpt("a@example.org")
	if v := m.EndOfHeaders(sample).Verdict; v.Action != "continue" || v.Failure != "" {
		t.Errorf("verdict %+v", v)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// The relay's time is not the handler's.
func TestSubmitMovesTheDeadline(t *testing.T) {
	var before, after time.Time
	submit := onHeaders(func(ctx context.Context, m *agent.Message) agent.Verdict {
		before, _ = ctx.Deadline()
		if _, err := m.Submit(ctx, "", []string{"a@example.org"}, []byte(robotsNote)); err != nil {
			return agent.Fail(err)
		}
		after, _ = ctx.Deadline()
		return agent.Continue()
	})
	h := agenttest.Start(t, agent.New("submit", submit, agent.Asks(agent.SubmitMail)), agenttest.Config{})
	m := h.Connect("192.0.2.1").Mail("s@example.com")
	m.Rcpt("a@example.org")
	m.EndOfHeaders(sample)
	if !after.After(before) {
		t.Errorf("moved by %v", after.Sub(before))
	}
}
