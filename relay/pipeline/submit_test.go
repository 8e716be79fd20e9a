package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// post notes what is sent.
type post struct {
	sent []*Outgoing
	send func(context.Context) (reply.Reply, error)
}

func (s *post) Send(ctx context.Context, m *Outgoing) (string, reply.Reply, error) {
	s.sent = append(s.sent, m)
	if s.send == nil {
		return "m1.1", reply.New(250, reply.Enhanced{}, "ok"), nil
	}
	r, err := s.send(ctx)
	return "m1.1", r, err
}

func letter(to ...string) *event.Submission {
	m := &event.Submission{From: event.Address{Mailbox: "robot@example.org"}, Message: []byte("From: robot@example.org\r\n\r\n")}
	for _, a := range to {
		m.To = append(m.To, event.Address{Mailbox: a})
	}
	return m
}

// submitting is an agent that submits these at an event, and what came of it.
func submitting(results *[]event.Submitted, all ...*event.Submission) *fake {
	return &fake{decide: func(ctx context.Context, _ []event.Event, st *event.State, _ time.Duration) (event.Verdict, error) {
		for _, m := range all {
			*results = append(*results, st.Submitter.Submit(ctx, m))
		}
		return event.Verdict{}, nil
	}}
}

func TestSubmissions(t *testing.T) {
	eleven := make([]*event.Submission, 11)
	for i := range eleven {
		eleven[i] = letter("alice@example.org")
		eleven[i].Message = append(eleven[i].Message, byte('a'+i), '\r', '\n')
	}
	utf := letter("alice@example.org")
	utf.To[0].Params = mail.Params{{Keyword: "NOTIFY", Value: "NEVER", HasValue: true}}
	utf.From.Params = mail.Params{{Keyword: "SIZE", Value: "1", HasValue: true}}
	for _, tt := range []struct {
		name    string
		at      event.Kind
		all     []*event.Submission
		change  func(*Binding)
		session func(*Session)
		sent    int
		problem string // of the last
	}{
		{name: "sent", all: []*event.Submission{letter("alice@example.org", "bob@example.org")}, sent: 1},
		{name: "before the next hop", at: event.ProxyInboundMessage, all: []*event.Submission{letter("alice@example.org")}, sent: 1},
		{name: "the same twice is one", all: []*event.Submission{letter("alice@example.org"), letter("alice@example.org")}, sent: 1},
		{name: "two", all: []*event.Submission{letter("alice@example.org"), letter("bob@example.org")}, sent: 2},
		{name: "too many", all: eleven, sent: 10, problem: "10 messages at one event"},
		{name: "not granted", all: []*event.Submission{letter("alice@example.org")}, change: without(event.MaySubmit), problem: `needs the permission "submit", which was not granted`},
		{name: "too early", at: event.RcptCommand, all: []*event.Submission{letter("alice@example.org")},
			session: func(s *Session) { s.State.Header = nil }, problem: "nothing can be submitted at OnRcptCommand"},
		{name: "nobody sends", all: []*event.Submission{letter("alice@example.org")}, session: func(s *Session) { s.Sender = nil }, problem: "sends no mail"},
		{name: "to nobody", all: []*event.Submission{letter()}, problem: "0 recipients"},
		{name: "to many", all: []*event.Submission{letter("a@example.org", "b@example.org", "c@example.org")},
			session: func(s *Session) { s.RecipientLimit = 2 }, problem: "3 recipients"},
		{name: "elsewhere", all: []*event.Submission{letter("alice@example.com")}, problem: "accepted domains"},
		{name: "elsewhere, granted", all: []*event.Submission{letter("alice@example.com")}, change: func(b *Binding) { b.Granted = all }, sent: 1},
		{name: "no address", all: []*event.Submission{letter("alice@example.org> NOTIFY=NEVER")}, problem: "address"},
		{name: "large", all: []*event.Submission{letter("alice@example.org")}, session: func(s *Session) { s.MessageLimit = 9 }, problem: "octets"},
		{name: "untrue parameter", all: []*event.Submission{utf}, problem: "SIZE"},
		{name: "second of its own", session: func(s *Session) { s.Submitted = []string{"FrontEnd/a"} },
			all: []*event.Submission{letter("alice@example.org")}, sent: 1},
		{name: "third of its own", session: func(s *Session) { s.Submitted = []string{"FrontEnd/a", "FrontEnd/a"} },
			all: []*event.Submission{letter("alice@example.org")}, problem: "loop: the message at hand has come of 2 submissions of this agent"},
		{name: "third of all", session: func(s *Session) { s.Submitted = []string{"FrontEnd/x", "FrontEnd/x"} },
			all: []*event.Submission{letter("alice@example.org")}, sent: 1},
		{name: "fourth of all", session: func(s *Session) { s.Submitted = []string{"FrontEnd/x", "FrontEnd/a", "FrontEnd/x"} },
			all: []*event.Submission{letter("alice@example.org")}, problem: "loop: the message at hand has come of 3 submissions of agents"},
		{name: "of the same name in another service", session: func(s *Session) { s.Submitted = []string{"Hub/a", "Hub/a"} },
			all: []*event.Submission{letter("alice@example.org")}, sent: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := tt.at
			if at == 0 {
				at = event.EndOfHeaders
			}
			var results []event.Submitted
			f := submitting(&results, tt.all...)
			b := bind("a", f, at)
			if tt.change != nil {
				tt.change(&b)
			}
			_, s := open(event.FrontEnd, b)
			out := &post{}
			s.Sender = out
			s.RecipientLimit = 50
			inMessage(t, s)
			chain := len(s.Submitted)
			if tt.session != nil {
				tt.session(s)
				chain = len(s.Submitted)
			}
			d := s.Fire(t.Context(), event.Event{Kind: at})
			if d.Action != event.Continue || d.Err != nil || len(out.sent) != tt.sent || len(results) != len(tt.all) {
				t.Fatalf("decision %+v, %d sent, %d results", d, len(out.sent), len(results))
			}
			last := results[len(results)-1]
			if tt.problem != "" {
				if last.Err == nil || last.Later || !strings.Contains(last.Err.Error(), tt.problem) {
					t.Errorf("result %+v, want a refusal with %q", last, tt.problem)
				}
			} else if last.Err != nil || last.ID != "m1.1" || last.Reply.Code != 250 {
				t.Errorf("result %+v", last)
			}
			if faults := len(f.faults); (faults > 0) != (tt.name == "not granted") {
				t.Errorf("%d faults", faults)
			}
			for _, m := range out.sent {
				if n := len(m.Chain); n != chain+1 || m.Chain[n-1] != "FrontEnd/a" || m.Agent != "a" {
					t.Errorf("sent by %s as %v", m.Agent, m.Chain)
				}
			}
			var noted int
			for _, e := range s.TakeEntries() {
				if e.Err != nil || len(e.Edits) > 0 && strings.HasPrefix(e.Edits[0], "submit m1.1: 250") {
					noted++
				}
			}
			if noted == 0 {
				t.Error("the log hears nothing of it")
			}
		})
	}
}

// What another agent submits hangs on the message, not on the agent before it.
func TestSubmissionsEndWithTheVerdict(t *testing.T) {
	_, s := open(event.FrontEnd, bind("a", &fake{}, event.EndOfHeaders))
	s.Sender = &post{}
	inMessage(t, s)
	s.Fire(t.Context(), event.Event{Kind: event.EndOfHeaders})
	if r := s.State.Submitter.Submit(t.Context(), letter("alice@example.org")); r.Err == nil || !strings.Contains(r.Err.Error(), "no event awaits") {
		t.Errorf("result %+v", r)
	}
	s.Submitted = []string{"FrontEnd/a"}
	s.EndTransaction()
	if len(s.Submitted) > 0 {
		t.Error("the next message comes of the same submissions")
	}
}

// A next hop that hangs costs the agents behind at most half of what time there is, and the session nothing.
func TestAHangingSubmissionLeavesTimeForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var results []event.Submitted
		many := []*event.Submission{letter("a@example.org"), letter("b@example.org"), letter("c@example.org"), letter("d@example.org")}
		f, second := submitting(&results, many...), &fake{}
		_, s := open(event.FrontEnd, bind("a", f, event.EndOfHeaders), bind("b", second, event.EndOfHeaders))
		s.Sender = &post{send: func(ctx context.Context) (reply.Reply, error) {
			<-ctx.Done()
			return reply.Reply{}, ctx.Err()
		}}
		inMessage(t, s)
		begun := time.Now()
		d := s.Fire(t.Context(), event.Event{Kind: event.EndOfHeaders})
		if d.Action != event.Continue || len(second.frames) != 1 {
			t.Errorf("decision %+v, the second agent was asked %d times", d, len(second.frames))
		}
		for _, r := range results {
			if !errors.Is(r.Err, context.DeadlineExceeded) || !r.Later {
				t.Errorf("result %+v", r)
			}
		}
		if took := time.Since(begun); took >= ChainLimit(event.EndOfHeaders) {
			t.Errorf("took %v", took)
		}
	})
}

// A client that leaves does not leave a message half handed over.
func TestASubmissionOutlivesTheClient(t *testing.T) {
	var results []event.Submitted
	_, s := open(event.FrontEnd, bind("a", submitting(&results, letter("a@example.org")), event.EndOfHeaders))
	s.Sender = &post{send: func(ctx context.Context) (reply.Reply, error) {
		return reply.New(250, reply.Enhanced{}, "ok"), ctx.Err()
	}}
	inMessage(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Fire(ctx, event.Event{Kind: event.EndOfHeaders})
	if len(results) != 1 || results[0].Err != nil {
		t.Errorf("results %+v", results)
	}
}

func TestAPanicWhileSendingCostsTheSubmissionAlone(t *testing.T) {
	var results []event.Submitted
	_, s := open(event.FrontEnd, bind("a", submitting(&results, letter("a@example.org")), event.EndOfHeaders))
	s.Sender = &post{send: func(context.Context) (reply.Reply, error) { panic("oh") }}
	inMessage(t, s)
	if d := s.Fire(t.Context(), event.Event{Kind: event.EndOfHeaders}); d.Action != event.Continue || results[0].Err == nil {
		t.Errorf("decision %+v, results %+v", d, results)
	}
}
