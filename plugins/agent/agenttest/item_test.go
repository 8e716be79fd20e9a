package agenttest_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

// router is one function for each of the routing events.
type router struct {
	submitted, routed, categorized func(*agent.MailItem) agent.Verdict
	resolved                       func(*agent.ResolvedItem) agent.Verdict
}

func (r *router) OnSubmittedMessage(_ context.Context, i *agent.MailItem) agent.Verdict {
	return call(r.submitted, i)
}
func (r *router) OnResolvedMessage(_ context.Context, i *agent.ResolvedItem) agent.Verdict {
	return call(r.resolved, i)
}
func (r *router) OnRoutedMessage(_ context.Context, i *agent.MailItem) agent.Verdict {
	return call(r.routed, i)
}
func (r *router) OnCategorizedMessage(_ context.Context, i *agent.MailItem) agent.Verdict {
	return call(r.categorized, i)
}

func call[I any](f func(I) agent.Verdict, i I) agent.Verdict {
	if f == nil {
		return agent.Continue()
	}
	return f(i)
}

func start(t *testing.T, value any, config agenttest.Config) *agenttest.Host {
	t.Helper()
	return agenttest.Start(t, agent.New("x", value,
		agent.Asks(agent.ReadBody, agent.ChangeHeaders, agent.ChangeBody, agent.ChangeRecipients, agent.RejectMail, agent.DiscardMail, agent.RouteMail),
		agent.ChangesRecipientsAt(agent.EventCategorizedMessage)), config)
}

func mail() agenttest.Mail {
	return agenttest.Mail{
		From: "s@example.com", To: []string{"a@example.org", "b@example.org", "c@example.org"},
		Header: "Subject: s\r\n", Body: "body\r\n", Received: time.UnixMilli(1_000_000), Priority: agent.PriorityHigh,
	}
}

func TestARoutingAgentSeesTheFactsOfTheItem(t *testing.T) {
	r := &router{}
	h := start(t, r, agenttest.Config{})
	seen := 0
	r.submitted = func(i *agent.MailItem) agent.Verdict {
		seen++
		if i.QueueID() != "queued-1" || i.ID() != "message-1" || !i.Received().Equal(time.UnixMilli(1_000_000)) || i.Attempt() != 1 ||
			i.Priority() != agent.PriorityHigh || i.Arrival() != agent.ArrivalSMTP || i.Size() != 18 || i.ForkOf() != "" || i.SubmittedBy() != "" ||
			i.Expires().Sub(i.Received()) != 48*time.Hour || i.LastReply().Code != 0 || i.Header().Text("Subject") != "s" || i.Body().Size() != 6 {
			t.Errorf("facts: %+v", i)
		}
		_, known := i.Route(i.Recipients()[0])
		if known {
			t.Error("a route before routing")
		}
		i.SetPriority(agent.PriorityLow)
		if i.Priority() != agent.PriorityLow {
			t.Error("what an agent edits it does not see")
		}
		return agent.Continue()
	}
	r.routed = func(i *agent.MailItem) agent.Verdict {
		seen++
		if route, ok := i.Route(i.Recipients()[1]); !ok || route != (agent.Route{NextHop: "partner"}) || i.Priority() != agent.PriorityLow {
			t.Errorf("route %+v %v", route, ok)
		}
		return agent.Continue()
	}
	m := mail()
	m.NextHop = "partner"
	i := h.Queued(m)
	if got := i.Submitted(); got.Priority != agent.PriorityLow {
		t.Errorf("priority = %v", got.Priority)
	}
	i.Resolved()
	i.Routed()
	if seen != 2 {
		t.Errorf("%d handlers were called", seen)
	}
}

var score = agent.MessageKey[int]("score")

// both is bound to an SMTP event and to a routing event.
type both struct{}

func (both) OnEndOfData(_ context.Context, m *agent.Message) agent.Verdict {
	score.Set(m, 7)
	return agent.Continue()
}

func (both) OnSubmittedMessage(_ context.Context, i *agent.MailItem) agent.Verdict {
	if s := i.Session(); score.Get(i) == 7 && s.RemoteAddr().Addr().String() == "192.0.2.1" && s.Hello() == "client.example.com" {
		return agent.Delete()
	}
	return agent.Continue()
}

func TestTheBagAndTheClientGoWithTheMessageIntoTheQueue(t *testing.T) {
	c := start(t, both{}, agenttest.Config{}).Connect("192.0.2.1")
	c.Ehlo("client.example.com")
	m := c.Mail("s@example.com")
	m.Rcpt("a@example.org")
	m.EndOfData("body")
	if got := m.Queued().Submitted().Verdict.Action; got != "delete" {
		t.Errorf("action = %s", got)
	}
}

func TestDeferPutsTheMessageBackAsItWasCommitted(t *testing.T) {
	r := &router{}
	h := start(t, r, agenttest.Config{})
	r.submitted = func(i *agent.MailItem) agent.Verdict {
		i.Header().SetText("Subject", "changed")
		i.RemoveRecipient(i.Recipients()[0])
		return agent.Continue()
	}
	r.routed = func(i *agent.MailItem) agent.Verdict {
		if i.Attempt() > 1 {
			return agent.Continue()
		}
		score.Set(i, 1)
		i.Header().Add("X-Lost", "yes")
		return agent.Defer(90*time.Second, "not yet")
	}
	i := h.Queued(mail())
	if got := i.Submitted(); got.Header != "Subject: changed\r\n" || len(got.Recipients) != 2 {
		t.Errorf("edits: %+v", got)
	}
	got := i.Routed()
	if want := (agenttest.Verdict{Action: "defer", Code: 451, Enhanced: "4.7.1", Text: "not yet", Wait: 90 * time.Second}); got.Verdict != want {
		t.Errorf("verdict %+v, want %+v", got.Verdict, want)
	}
	r.submitted = func(i *agent.MailItem) agent.Verdict {
		if i.Attempt() != 2 || i.LastReply().Code != 451 || len(i.Recipients()) != 3 || i.Header().Text("Subject") != "s" || score.Get(i) != 1 {
			t.Errorf("second attempt: %d, %+v, %v", i.Attempt(), i.LastReply(), i.Recipients())
		}
		return agent.Continue()
	}
	if got := i.Submitted(); got.Header != "Subject: s\r\n" || got.Verdict.Action != "continue" {
		t.Errorf("after Defer: %+v", got)
	}
}

func TestForkGivesTheCloneToTheSameAgentAfterTheFirstCopy(t *testing.T) {
	r := &router{}
	h := start(t, r, agenttest.Config{})
	var order []string
	r.resolved = func(i *agent.ResolvedItem) agent.Verdict {
		order = append(order, i.QueueID()+" of "+i.ForkOf())
		if i.ForkOf() != "" {
			if i.Header().Text("X-Copy") != "two" || i.ID() != "message-1" || len(i.Recipients()) != 2 {
				t.Errorf("the clone: %q, %v", i.Header().Text("X-Copy"), i.Recipients())
			}
			i.SetRoute(i.Recipients()[0], "partner")
			return agent.Continue()
		}
		i.Header().Add("X-Both", "yes")
		i.Fork(i.Recipients()[1:], func(clone *agent.MailItem) {
			clone.Header().Add("X-Copy", "two")
			score.Set(clone, 2)
			if score.Get(clone) != 2 {
				t.Error("what an agent sets in the clone it does not see")
			}
		})
		if len(i.Recipients()) != 1 || i.Header().Has("X-Copy") || score.Get(i) != 0 {
			t.Errorf("the first copy after Fork: %v", i.Recipients())
		}
		i.Header().Add("X-First", "yes")
		return agent.Continue()
	}
	got := h.Queued(mail()).Resolved()
	if want := []string{"queued-1 of ", "queued-2 of queued-1"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if got.Header != "X-First: yes\r\nX-Both: yes\r\nSubject: s\r\n" || !slices.Equal(got.Recipients, []string{"a@example.org"}) || len(got.Forks) != 1 {
		t.Fatalf("the first copy: %+v", got)
	}
	fork := got.Forks[0]
	if fork.Result.Header != "X-Copy: two\r\nX-Both: yes\r\nSubject: s\r\n" || !slices.Equal(fork.Result.Recipients, []string{"b@example.org", "c@example.org"}) ||
		fork.Item.Property("score") != "2" || !maps.Equal(fork.Result.Routes, map[string]string{"b@example.org": "partner"}) {
		t.Errorf("the clone: %+v", fork.Result)
	}
	if again := fork.Item.Routed(); !maps.Equal(again.Routes, map[string]string{"b@example.org": "partner", "c@example.org": "mailserver"}) {
		t.Errorf("the clone's routes: %v", again.Routes)
	}
}

func TestRecipientsTakenOutOfAQueuedMessage(t *testing.T) {
	r := &router{}
	h := start(t, r, agenttest.Config{})
	refused := agent.Reply{Code: 550, Enhanced: "5.1.1", Lines: []string{"moved away"}}
	r.submitted = func(i *agent.MailItem) agent.Verdict {
		list := i.Recipients()
		i.RemoveWithDSN(list[0], agent.DSNFailure, refused)
		i.QuarantineRecipient(list[1], "suspicious")
		i.ExpandRecipient(list[2], agent.Reply{}, "x@example.org", "y@example.org")
		if len(i.Recipients()) != 2 {
			t.Errorf("the agent sees %v", i.Recipients())
		}
		return agent.Continue()
	}
	got := h.Queued(mail()).Submitted()
	if want := []string{"x@example.org", "y@example.org"}; !slices.Equal(got.Recipients, want) {
		t.Errorf("recipients %q, want %q", got.Recipients, want)
	}
	want := []agenttest.Removed{
		{Recipient: "a@example.org", DSN: agent.DSNFailure, Reply: refused},
		{Recipient: "b@example.org", Quarantined: "suspicious"},
	}
	if diff := cmp.Diff(want, got.Removed); diff != "" {
		t.Error(diff)
	}
}

func TestVerdictsOfRouting(t *testing.T) {
	for _, tc := range []struct {
		verdict agent.Verdict
		want    agenttest.Verdict
	}{
		{agent.Delete(), agenttest.Verdict{Action: "delete"}},
		{agent.Quarantine("looks odd"), agenttest.Verdict{Action: "quarantine", Reason: "looks odd"}},
		{agent.Reject("no more"), agenttest.Verdict{Action: "reject", Code: 550, Enhanced: "5.7.1", Text: "no more"}},
		{agent.Accept(), agenttest.Verdict{Action: "accept"}},
		{agent.Defer(0), agenttest.Verdict{Action: "defer"}},
		{agent.Defer(time.Nanosecond), agenttest.Verdict{Action: "defer", Wait: time.Millisecond}},
	} {
		r := &router{categorized: func(*agent.MailItem) agent.Verdict { return tc.verdict }}
		i := start(t, r, agenttest.Config{}).Queued(mail())
		if got := i.Categorized().Verdict; got != tc.want {
			t.Errorf("verdict %+v, want %+v", got, tc.want)
		}
	}
}

func TestWhatTheRelayRefusesInRouting(t *testing.T) {
	first := func(i *agent.MailItem) agent.Recipient { return i.Recipients()[0] }
	for _, tc := range []struct {
		name   string
		router *router
		grant  []agent.Permission
		want   string
	}{
		{"an SMTP verdict", &router{submitted: func(*agent.MailItem) agent.Verdict { return agent.TempFail() }}, nil,
			"OnSubmittedMessage does not take ACTION_TEMPFAIL"},
		{"defer without the permission", &router{submitted: func(*agent.MailItem) agent.Verdict { return agent.Defer(0) }}, []agent.Permission{agent.ReadHeaders},
			"ACTION_DEFER needs the permission reject"},
		{"a route without the permission", &router{resolved: func(i *agent.ResolvedItem) agent.Verdict {
			i.SetRoute(first(i.MailItem), "x")
			return agent.Continue()
		}}, []agent.Permission{agent.ReadHeaders}, "needs the permission route"},
		{"all recipients forked off", &router{routed: func(i *agent.MailItem) agent.Verdict {
			i.Fork(i.Recipients(), nil)
			return agent.Continue()
		}}, nil, "a fork that leaves one of the copies without recipients"},
		{"a DSN of another class", &router{routed: func(i *agent.MailItem) agent.Verdict {
			i.RemoveWithDSN(first(i), agent.DSNRelayed, agent.Reply{Code: 550})
			return agent.Continue()
		}}, nil, "a DSN of this kind with code 550"},
		{"a DSN without the permission", &router{routed: func(i *agent.MailItem) agent.Verdict {
			i.RemoveWithDSN(first(i), agent.DSNFailure, agent.Reply{})
			return agent.Continue()
		}}, []agent.Permission{agent.ChangeRecipients}, "a DSN needs the permission reject"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var refused string
			i := start(t, tc.router, agenttest.Config{Grant: tc.grant, Refused: func(problem string) { refused = problem }}).Queued(mail())
			got := i.Submitted()
			for _, event := range []func() agenttest.ItemResult{i.Resolved, i.Routed} {
				if refused == "" {
					got = event()
				}
			}
			if !strings.Contains(refused, tc.want) || len(got.Recipients) != 3 || len(got.Forks) != 0 {
				t.Errorf("refused %q, want %q; %+v", refused, tc.want, got)
			}
		})
	}
}

// A panic in the middle of a fork is a failure like any other.
func TestAPanicInAForkIsTheHandlersFailure(t *testing.T) {
	r := &router{submitted: func(i *agent.MailItem) agent.Verdict {
		i.Header().Add("X-A", "b")
		i.Fork(i.Recipients()[1:], func(*agent.MailItem) { panic("broken") })
		return agent.Continue()
	}}
	i := start(t, r, agenttest.Config{}).Queued(mail())
	if got := i.Submitted(); got.Verdict.Failure != "panic in OnSubmittedMessage: broken" || len(got.Recipients) != 3 || got.Header != "Subject: s\r\n" {
		t.Errorf("%+v", got)
	}
}
