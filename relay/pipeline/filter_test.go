package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// situation is what is known when an event fires.
type situation struct {
	ev         event.Event
	user       string
	outside    bool // of a transaction
	from       string
	to         []string
	size       string
	headerSize int
}

func (w situation) state(t *testing.T, s *event.State) {
	s.Client.User = w.user
	if w.headerSize > 0 {
		s.Header = mail.ParseHeader([]byte("X: " + strings.Repeat("x", w.headerSize-5) + "\r\n"))
	}
	if w.outside {
		return
	}
	s.Envelope = &mail.Envelope{}
	if w.from != "" {
		s.Envelope.From = path(t, w.from)
	}
	if w.size != "" {
		s.Envelope.Params = mail.Params{{Keyword: "SIZE", Value: w.size, HasValue: true}}
	}
	for _, to := range w.to {
		s.Envelope.Add(mail.Recipient{Path: path(t, to)})
	}
}

func at(k event.Kind) event.Event { return event.Event{Kind: k} }

// Every criterion at the events where what it is about is known, changes or is missing. connection is
// an inbound one to 127.0.0.1:2525.
func TestFilter(t *testing.T) {
	alice, bob := "alice@example.org", "bob@example.net"
	rcpt := func(to string) event.Event {
		return event.Event{Kind: event.RcptCommand, Recipient: mail.Recipient{Path: path(t, to)}}
	}
	refused := func(of event.Kind, address string) event.Event {
		return event.Event{Kind: event.Reject, Rejection: &event.Rejection{Of: of, Path: path(t, address)}}
	}
	login := func(success bool) event.Event {
		return event.Event{Kind: event.EndOfAuthentication, Auth: &event.Authentication{Success: success}}
	}
	here, elsewhere := event.Filter{Listeners: []string{"127.0.0.1:25", "127.0.0.1:2525"}}, event.Filter{Listeners: []string{"127.0.0.1:25"}}
	org, net := event.Filter{RecipientDomains: []string{"example.org"}}, event.Filter{RecipientDomains: []string{"*.net", "example.net"}}
	fromOrg := event.Filter{SenderDomains: []string{"example.org"}}
	small := event.Filter{MaxSize: 1000}
	none := event.Filter{}
	for _, tt := range []struct {
		name      string
		own, only event.Filter
		in        situation
		want      bool
	}{
		{"nothing narrows", none, none, situation{ev: at(event.Connect), outside: true}, true},

		{"the listener", here, none, situation{ev: at(event.Connect), outside: true}, true},
		{"another listener", elsewhere, none, situation{ev: at(event.Connect), outside: true}, false},
		{"another listener, by the operator", here, elsewhere, situation{ev: at(event.EndOfHeaders), to: []string{alice}}, false},
		{"another listener at the end", none, elsewhere, situation{ev: at(event.Reject), outside: true}, false},

		{"inbound", event.Filter{Direction: event.Inbound}, none, situation{ev: at(event.EhloCommand), outside: true}, true},
		{"internal", event.Filter{Direction: event.Internal}, none, situation{ev: at(event.EhloCommand), outside: true}, false},
		{"inbound and internal", event.Filter{Direction: event.Inbound}, event.Filter{Direction: event.Internal}, situation{ev: at(event.EhloCommand), outside: true}, false},

		{"a stranger where strangers are wanted", event.Filter{Login: event.Anonymous}, none, situation{ev: at(event.Connect), outside: true}, true},
		{"a stranger where users are wanted", none, event.Filter{Login: event.LoggedIn}, situation{ev: at(event.MailCommand), from: bob}, false},
		{"a user", none, event.Filter{Login: event.LoggedIn}, situation{ev: at(event.MailCommand), user: "bob", from: bob}, true},
		{"a user where strangers are wanted", none, event.Filter{Login: event.Anonymous}, situation{ev: at(event.MailCommand), user: "bob", from: bob}, false},
		{"a login, for users", event.Filter{Login: event.LoggedIn}, none, situation{ev: login(true), outside: true}, true},
		{"a failed login, for users", event.Filter{Login: event.LoggedIn}, none, situation{ev: login(false), outside: true}, false},
		{"a login, for strangers", event.Filter{Login: event.Anonymous}, none, situation{ev: login(true), outside: true}, false},
		{"a failed login, for strangers", event.Filter{Login: event.Anonymous}, none, situation{ev: login(false), outside: true}, true},

		{"recipients before there is mail", org, none, situation{ev: at(event.Connect), outside: true}, true},
		{"recipients at MAIL", org, none, situation{ev: at(event.MailCommand), from: bob}, true},
		{"recipients at MAIL after those of another mail", org, none, situation{ev: at(event.HelpCommand), from: bob, to: []string{bob}}, false},
		{"the recipient", org, none, situation{ev: rcpt(alice), from: bob, to: []string{bob, alice}}, true},
		{"another recipient, though there is one that matches", org, none, situation{ev: rcpt(bob), from: bob, to: []string{alice, bob}}, false},
		{"postmaster, who is everybody's", org, none, situation{ev: event.Event{Kind: event.RcptCommand, Recipient: mail.Recipient{Path: mail.Path{Local: "postmaster"}}}}, true},
		{"one of the recipients", org, none, situation{ev: at(event.DataCommand), from: bob, to: []string{bob, alice}}, true},
		{"none of the recipients", org, none, situation{ev: at(event.EndOfHeaders), from: bob, to: []string{bob}}, false},
		{"all recipients taken out", org, none, situation{ev: at(event.EndOfHeaders), from: bob}, false},
		{"all recipients taken out, at the proxy event", org, none, situation{ev: at(event.ProxyInboundMessage), from: bob}, false},
		{"RSET before a recipient", org, none, situation{ev: at(event.RsetCommand), from: bob}, true},
		{"below a domain", net, none, situation{ev: rcpt("a@b.net"), from: bob}, true},
		{"the refused recipient", org, none, situation{ev: refused(event.RcptCommand, alice), from: bob, to: []string{bob}}, true},
		{"another refused recipient", org, none, situation{ev: refused(event.RcptCommand, bob), from: bob, to: []string{alice}}, false},
		{"two recipients, one for each side", org, net, situation{ev: at(event.EndOfHeaders), from: bob, to: []string{alice, bob}}, false},
		{"a recipient for both sides", org, event.Filter{RecipientDomains: []string{"example.org", "example.net"}}, situation{ev: at(event.EndOfHeaders), from: bob, to: []string{bob, alice}}, true},
		{"a recipient for one side at its RCPT", org, net, situation{ev: rcpt(bob), from: bob}, false},

		{"the sender", fromOrg, none, situation{ev: at(event.MailCommand), from: alice}, true},
		{"another sender", fromOrg, none, situation{ev: at(event.MailCommand), from: bob}, false},
		{"the null sender", fromOrg, none, situation{ev: at(event.MailCommand)}, false},
		{"the sender, later", none, fromOrg, situation{ev: at(event.EndOfHeaders), from: alice, to: []string{bob}}, true},
		{"a sender before there is mail", fromOrg, none, situation{ev: at(event.NoopCommand), outside: true}, true},
		{"the refused sender", fromOrg, none, situation{ev: refused(event.MailCommand, alice), outside: true}, true},
		{"another refused sender", fromOrg, none, situation{ev: refused(event.MailCommand, bob), outside: true}, false},
		{"a refused sender in another's mail", fromOrg, none, situation{ev: refused(event.MailCommand, bob), from: alice}, false},

		{"a size that is not said", small, none, situation{ev: at(event.MailCommand), from: bob}, true},
		{"the size", small, none, situation{ev: at(event.MailCommand), from: bob, size: "1000"}, true},
		{"too large", small, none, situation{ev: at(event.MailCommand), from: bob, size: "1001"}, false},
		{"too large, later", small, none, situation{ev: rcpt(alice), from: bob, size: "1001"}, false},
		{"a header section that is too large", small, none, situation{ev: at(event.EndOfHeaders), from: bob, to: []string{alice}, headerSize: 1001}, false},
		{"a header section larger than all that was said", small, none, situation{ev: at(event.EndOfHeaders), from: bob, to: []string{alice}, size: "10", headerSize: 1001}, false},
		{"a header section that is not", small, none, situation{ev: at(event.EndOfHeaders), from: bob, to: []string{alice}, headerSize: 1000}, true},
		{"the smaller of two sizes", small, event.Filter{MaxSize: 500}, situation{ev: at(event.MailCommand), from: bob, size: "600"}, false},

		{"all that is set must match", event.Filter{Listeners: here.Listeners, Direction: event.Inbound, Login: event.Anonymous, MaxSize: 10, SenderDomains: fromOrg.SenderDomains, RecipientDomains: net.RecipientDomains},
			fromOrg, situation{ev: rcpt(bob), from: alice, size: "10"}, true},
		{"one that is set does not", event.Filter{Listeners: here.Listeners, Direction: event.Inbound, Login: event.Anonymous, MaxSize: 10, SenderDomains: fromOrg.SenderDomains, RecipientDomains: org.RecipientDomains},
			fromOrg, situation{ev: rcpt(bob), from: alice, size: "10"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{}
			b := bind("a", f)
			b.Subscriptions, b.Only = []event.Subscription{{Kind: tt.in.ev.Kind, Filter: tt.own}}, tt.only
			_, s := open(event.FrontEnd, b)
			tt.in.state(t, &s.State)
			standing := s.Standings(tt.in.ev, OpenQuestions{})
			s.parts[0].seq = 0
			s.Fire(t.Context(), tt.in.ev)
			if got := len(f.frames) == 1; got != tt.want {
				t.Errorf("asked %t, want %t", got, tt.want)
			}
			if !tt.want && f.opened > 0 {
				t.Error("a conversation was opened")
			}
			if standing[0].Asked != tt.want || standing[0].Why == "" {
				t.Errorf("explained as %+v", standing[0])
			}
		})
	}
}

// An agent that another's edits come to concern, or concern no more, is asked by the envelope as it is
// now.
func TestNarrowedByWhatAgentsHaveMadeOfIt(t *testing.T) {
	rewriter := &fake{decide: answer(event.Verdict{Edits: []event.Edit{
		{Op: event.ReplaceRecipient, Recipient: 1, Addresses: []string{"alice@sub.example.org"}}, {Op: event.SetSender, Addresses: []string{"x@new.example"}},
	}})}
	before, now, sender := &fake{}, &fake{}, &fake{}
	narrowed := func(name string, f *fake, only event.Filter) Binding {
		b := bind(name, f, event.EndOfHeaders)
		b.Only = only
		return b
	}
	b := bind("rewriter", rewriter, event.EndOfHeaders)
	b.Granted = b.Granted.With(event.MayRelay)
	_, s := open(event.FrontEnd, b,
		narrowed("before", before, event.Filter{RecipientDomains: []string{"example.org"}}),
		narrowed("now", now, event.Filter{RecipientDomains: []string{"*.example.org"}}),
		narrowed("sender", sender, event.Filter{SenderDomains: []string{"new.example"}}))
	env, _ := inMessage(t, s)
	env.Remove(2)
	s.Fire(t.Context(), at(event.EndOfHeaders))
	if len(before.frames) != 0 || len(now.frames) != 1 || len(sender.frames) != 1 {
		t.Errorf("asked %d, %d and %d times, want 0, 1 and 1", len(before.frames), len(now.frames), len(sender.frames))
	}
	if before.opened != 1 || sender.opened != 1 { // the first is held for the recipients that may come
		t.Errorf("opened %d and %d times", before.opened, sender.opened)
	}
}

// The end of a session is told to those who have been shown something of it.
func TestNarrowedAtTheEndOfTheSession(t *testing.T) {
	for _, tt := range []struct {
		name string
		only event.Filter
		to   string
		want bool
	}{
		{"shown a recipient", event.Filter{RecipientDomains: []string{"example.org"}}, "alice@example.org", true},
		{"shown nothing", event.Filter{RecipientDomains: []string{"example.org"}}, "bob@example.net", false},
		{"narrowed by the session alone", event.Filter{Direction: event.Inbound}, "", true},
		{"by another session", event.Filter{Direction: event.Internal}, "", false},
		{"by who has logged in", event.Filter{Login: event.LoggedIn}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{}
			b := bind("a", f, event.RcptCommand, event.Disconnect)
			b.Only = tt.only
			_, s := open(event.FrontEnd, b)
			_, thought := open(event.FrontEnd, b)
			if tt.to != "" {
				s.Begin(&mail.Envelope{ID: "m"})
				ev := event.Event{Kind: event.RcptCommand, Recipient: mail.Recipient{Path: path(t, tt.to)}}
				s.Fire(t.Context(), ev)
				s.EndTransaction()
				thought.Standings(ev, OpenQuestions{})
			}
			s.Close(event.DisconnectQuit)
			told := len(f.ends) > 0 && len(f.ends[0]) > 0
			if told != tt.want {
				t.Errorf("told %t, want %t", told, tt.want)
			}
			if got := thought.Standings(at(event.Disconnect), OpenQuestions{})[0]; got.Asked != tt.want {
				t.Errorf("explained as %+v", got)
			}
		})
	}
}

// A transaction opens no conversation with agents that it cannot concern.
func TestTransactionHoldsWhomItMayConcern(t *testing.T) {
	for _, tt := range []struct {
		name string
		only event.Filter
		want int
	}{
		{"not narrowed", event.Filter{}, 1},
		{"recipients, who are not known yet", event.Filter{RecipientDomains: []string{"example.com"}}, 1},
		{"listener", event.Filter{Listeners: []string{":587"}}, 0},
		{"direction", event.Filter{Direction: event.Internal}, 0},
		{"login", event.Filter{Login: event.LoggedIn}, 0},
		{"sender", event.Filter{SenderDomains: []string{"example.com"}}, 0},
		{"size", event.Filter{MaxSize: 5}, 0},
	} {
		f := &fake{}
		b := bind("a", f, event.EndOfHeaders)
		b.Only = tt.only
		_, s := open(event.FrontEnd, b)
		s.Begin(&mail.Envelope{From: path(t, "a@example.net"), Params: mail.Params{{Keyword: "SIZE", Value: "10"}}})
		if f.opened != tt.want {
			t.Errorf("%s: %d opened, want %d", tt.name, f.opened, tt.want)
		}
	}
}

// Recipients are verified late for the sake of those agents only that may be asked.
func TestLateRecipientsOfThisSession(t *testing.T) {
	for _, tt := range []struct {
		name  string
		own   event.Filter // at EndOfHeaders
		only  event.Filter
		user  string
		want  bool
		kinds []event.Kind
	}{
		{"not narrowed", event.Filter{}, event.Filter{}, "", true, nil},
		{"another listener", event.Filter{}, event.Filter{Listeners: []string{":587"}}, "", false, nil},
		{"this listener", event.Filter{Listeners: []string{"127.0.0.1:2525"}}, event.Filter{}, "", true, nil},
		{"the other direction", event.Filter{Direction: event.Internal}, event.Filter{}, "", false, nil},
		{"strangers", event.Filter{}, event.Filter{Login: event.Anonymous}, "bob", false, nil},
		{"users", event.Filter{}, event.Filter{Login: event.LoggedIn}, "bob", true, nil},
		{"larger than it takes", event.Filter{}, event.Filter{MaxSize: 5}, "", false, nil},
		{"recipients, who may be changed", event.Filter{}, event.Filter{RecipientDomains: []string{"example.com"}}, "", true, nil},
		{"a sender, who may be changed", event.Filter{}, event.Filter{SenderDomains: []string{"example.com"}}, "", true, nil},
		{"at an event before only", event.Filter{}, event.Filter{}, "", true, []event.Kind{event.RcptCommand}},
		{"at an event before only, on another listener", event.Filter{}, event.Filter{Listeners: []string{":587"}}, "", false, []event.Kind{event.RcptCommand}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bind("a", &fake{}, event.RcptCommand, event.EndOfHeaders)
			b.Subscriptions[1].Filter, b.Only = tt.own, tt.only
			if tt.kinds != nil {
				b.Subscriptions = b.Subscriptions[:1]
			}
			_, s := open(event.FrontEnd, b)
			s.SetClient(event.Client{User: tt.user})
			s.Begin(&mail.Envelope{From: path(t, "a@example.net"), Params: mail.Params{{Keyword: "SIZE", Value: "10"}}})
			if got := s.LateRecipients(); got != tt.want {
				t.Errorf("LateRecipients() = %t, want %t", got, tt.want)
			}
			if got := s.LateAgents(); slices.Equal(got, []string{"a"}) != tt.want {
				t.Errorf("LateAgents() = %v", got)
			}
		})
	}
}

// An agent that is not concerned costs no more than one that is not bound.
func TestNotConcernedCostsNothing(t *testing.T) {
	f := &fake{}
	filters := []event.Filter{
		{Listeners: []string{":587"}}, {Direction: event.Internal}, {Login: event.LoggedIn}, {MaxSize: 5},
		{SenderDomains: []string{"example.com"}}, {RecipientDomains: []string{"example.com", "*.example.com"}},
	}
	var all []Binding
	for i, only := range filters {
		b := bind(fmt.Sprintf("a%d", i), f, event.RcptCommand, event.EndOfHeaders, event.Reject)
		b.Only = only
		all = append(all, b)
	}
	_, s := open(event.FrontEnd, all...)
	env, _ := inMessage(t, s)
	env.Params = mail.Params{{Keyword: "SIZE", Value: "10"}}
	f.opened = 0
	rejection := &event.Rejection{Of: event.RcptCommand, Path: path(t, "x@example.org")}
	rcpt := env.Recipients[0]
	next := &mail.Envelope{ID: "m2", From: env.From, Params: env.Params}
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		s.Fire(ctx, event.Event{Kind: event.RcptCommand, Recipient: rcpt})
		s.Fire(ctx, event.Event{Kind: event.EndOfHeaders})
		s.Fire(ctx, event.Event{Kind: event.Reject, Rejection: rejection})
		s.LateRecipients()
		s.Bound(event.RcptCommand)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Begin(next) }); n != 0 {
		t.Errorf("%v allocations to begin a transaction", n)
	}
	if f.opened > 0 || len(f.frames) > 0 {
		t.Errorf("%d conversations, %d frames", f.opened, len(f.frames))
	}
}
