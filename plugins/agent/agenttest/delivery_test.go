package agenttest_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

// courier is a delivery agent whose remote is a function.
type courier struct {
	open    func(c *agent.Connection) agent.Verdict
	deliver func(c *agent.Connection, i *agent.DeliveryItem) agent.Verdict
	closed  []any
}

func (c *courier) OnOpenConnection(_ context.Context, conn *agent.Connection) agent.Verdict {
	return call(c.open, conn)
}
func (c *courier) OnDeliverMailItem(_ context.Context, conn *agent.Connection, i *agent.DeliveryItem) agent.Verdict {
	return c.deliver(conn, i)
}
func (c *courier) OnCloseConnection(_ context.Context, conn *agent.Connection) agent.Verdict {
	c.closed = append(c.closed, conn.Kept())
	return agent.Continue()
}

func TestADeliveryIsOneConnectionWithItemsAndAnOutcomeForEachRecipient(t *testing.T) {
	c := &courier{}
	c.open = func(conn *agent.Connection) agent.Verdict {
		if conn.NextHop() != "partner" || conn.Domain() != "example.net" || conn.Waiting() != 3 || conn.RemoteHost() != "" || conn.ID() != "session-1" {
			t.Errorf("connection: %+v", conn)
		}
		conn.Keep("a socket")
		return agent.Connected("mx.example.net")
	}
	var bodies []string
	c.deliver = func(conn *agent.Connection, i *agent.DeliveryItem) agent.Verdict {
		body, err := io.ReadAll(i.Body())
		if err != nil {
			return agent.Fail(err)
		}
		bodies = append(bodies, i.QueueID()+" "+i.Header().Text("Subject")+" "+string(body))
		if conn.Kept() != "a socket" || conn.RemoteHost() != "mx.example.net" {
			t.Errorf("the connection kept %v, to %s", conn.Kept(), conn.RemoteHost())
		}
		if i.Attempt() == 2 {
			return agent.Delivered().Unregister()
		}
		list := i.Recipients()
		i.Failed(list[1], agent.Reply{Code: 550, Enhanced: "5.1.1", Lines: []string{"who?"}})
		i.Deferred(list[2], time.Minute, agent.Reply{Code: 450, Lines: []string{"greylisted"}})
		return agent.Delivered("queued as 7").Code(250, "2.6.0")
	}
	h := agenttest.Start(t, agent.New("courier", c), agenttest.Config{Bodies: agenttest.Pulled})
	d := h.OpenConnection(agenttest.Queue{NextHop: "partner", Domain: "example.net", Waiting: 3})
	if d.Opened.RemoteHost != "mx.example.net" || d.Opened.Queue != "" {
		t.Errorf("opened: %+v", d.Opened)
	}
	got := d.Deliver(mail())
	want := map[string]agenttest.Outcome{
		"a@example.org": {Action: "delivered", Code: 250, Text: "queued as 7"},
		"b@example.org": {Action: "reject", Code: 550, Text: "who?"},
		"c@example.org": {Action: "defer", Code: 450, Text: "greylisted", Wait: time.Minute},
	}
	if diff := cmp.Diff(want, got.Recipients); diff != "" {
		t.Error(diff)
	}
	second := mail()
	second.Header, second.Body, second.Attempt = "Subject: again\r\n", "other", 2
	if got := d.Deliver(second); !got.Unregistered || got.Recipients["c@example.org"].Action != "delivered" {
		t.Errorf("second: %+v", got)
	}
	d.Close()
	if diff := cmp.Diff([]string{"queued-1 s body\r\n", "queued-2 again other"}, bodies); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"a socket"}, c.closed); diff != "" {
		t.Error(diff)
	}
}

func TestTheFateOfAQueue(t *testing.T) {
	for _, tc := range []struct {
		verdict agent.Verdict
		want    agenttest.DeliveryResult
	}{
		{agent.DeferQueue(time.Hour, "closed today"), agenttest.DeliveryResult{Queue: "defer",
			Verdict: agenttest.Verdict{Action: "defer", Code: 451, Enhanced: "4.7.1", Text: "closed today", Wait: time.Hour}}},
		{agent.FailQueue("gone for good"), agenttest.DeliveryResult{Queue: "fail",
			Verdict: agenttest.Verdict{Action: "reject", Code: 550, Enhanced: "5.7.1", Text: "gone for good"}}},
	} {
		c := &courier{open: func(*agent.Connection) agent.Verdict { return tc.verdict }}
		d := agenttest.Start(t, agent.New("courier", c), agenttest.Config{}).OpenConnection(agenttest.Queue{})
		if diff := cmp.Diff(tc.want, d.Opened); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatTheRelayRefusesInDelivery(t *testing.T) {
	for _, tc := range []struct {
		name    string
		deliver func(c *agent.Connection, i *agent.DeliveryItem) agent.Verdict
		refused string
		failure string
	}{
		{"nothing said", func(*agent.Connection, *agent.DeliveryItem) agent.Verdict { return agent.Continue() },
			"recipient a@example.org: ACTION_CONTINUE does not say what became of it", ""},
		{"class", func(_ *agent.Connection, i *agent.DeliveryItem) agent.Verdict {
			for _, r := range i.Recipients() {
				i.Delivered(r, agent.Reply{Code: 451})
			}
			return agent.Continue()
		}, "recipient a@example.org: ACTION_DELIVERED with code 451", ""},
		{"an SMTP verdict", func(*agent.Connection, *agent.DeliveryItem) agent.Verdict { return agent.Discard() },
			"OnDeliverMailItem does not take ACTION_DISCARD", ""},
		{"an edit", func(_ *agent.Connection, i *agent.DeliveryItem) agent.Verdict {
			i.SetSender("")
			return agent.Delivered()
		}, "", "panic in OnDeliverMailItem: a message that is delivered cannot be edited: OnCategorizedMessage is the last event for that"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused := ""
			h := agenttest.Start(t, agent.New("courier", &courier{deliver: tc.deliver}), agenttest.Config{Refused: func(problem string) {
				if refused == "" {
					refused = problem
				}
			}})
			got := h.OpenConnection(agenttest.Queue{}).Deliver(mail())
			if refused != tc.refused || got.Verdict.Failure != tc.failure {
				t.Errorf("refused %q, failure %q", refused, got.Verdict.Failure)
			}
		})
	}
}

// The SMTP events and the queue's are of different services.
func TestAnAgentIsRefusedWhereItsEventsAreNot(t *testing.T) {
	h := agenttest.Start(t, agent.New("courier", &courier{}), agenttest.Config{})
	err := h.Configure(agenttest.Config{Role: "FrontEnd"})
	if want := "the agent binds OnOpenConnection, which transport service FrontEnd does not have"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
