package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

func TestEdits(t *testing.T) {
	long := make([]string, 100)
	for i := range long {
		long[i] = fmt.Sprintf("r%d@example.org", i)
	}
	for _, tt := range []struct {
		name   string
		at     event.Kind // zero: EndOfHeaders
		edits  []event.Edit
		change func(*Binding)

		fault      string // part of the error; empty: taken
		header     string // empty: as it came
		from       string // empty: as it came
		recipients string // empty: as they came
		done       string
	}{
		{name: "add on top", edits: []event.Edit{{Op: event.AddHeader, Name: "X-Spam", Value: []byte(" no")}},
			header: "X-Spam: no\r\n" + section, done: "add-header X-Spam"},
		{name: "add at bottom and below a field", edits: []event.Edit{
			{Op: event.AddHeader, Name: "X-B", Value: []byte(" b"), Place: mail.Place{Bottom: true}},
			{Op: event.AddHeader, Name: "X-A", Value: []byte(" a"), Place: mail.Place{After: 1}}},
			header: "Received: from a\r\nX-A: a\r\nSubject: hello\r\nX-One: 1\r\nX-One: 2\r\nX-B: b\r\n", done: "add-header X-B; add-header X-A"},
		{name: "replace", edits: []event.Edit{{Op: event.ReplaceHeader, Field: 2, Value: []byte(" [spam]\r\n hello")}},
			header: "Received: from a\r\nSubject: [spam]\r\n hello\r\nX-One: 1\r\nX-One: 2\r\n", done: "replace-header Subject"},
		{name: "remove one", edits: []event.Edit{{Op: event.RemoveHeader, Field: 4}},
			header: "Received: from a\r\nSubject: hello\r\nX-One: 1\r\n", done: "remove-header X-One"},
		{name: "remove all of a name", edits: []event.Edit{{Op: event.RemoveHeaders, Name: "x-one"}},
			header: "Received: from a\r\nSubject: hello\r\n", done: "remove-headers x-one (2)"},
		{name: "remove what is not there", edits: []event.Edit{{Op: event.RemoveHeaders, Name: "X-None"}}},
		{name: "remove of a name spares our trace", edits: []event.Edit{{Op: event.RemoveHeaders, Name: "Received"}}},
		{name: "our trace replaced", edits: []event.Edit{{Op: event.ReplaceHeader, Field: 1, Value: []byte(" x")}}, fault: "own trace"},
		{name: "our trace removed", edits: []event.Edit{{Op: event.RemoveHeader, Field: 1}}, fault: "own trace"},
		{name: "header injection", edits: []event.Edit{{Op: event.AddHeader, Name: "X", Value: []byte(" a\r\nBcc: x")}}, fault: "CRLF before white space"},
		{name: "name injection", edits: []event.Edit{{Op: event.ReplaceHeader, Field: 2, Name: "A: b\r\nC", Value: []byte(" a")}}, fault: "printable ASCII"},
		{name: "no such field", edits: []event.Edit{{Op: event.RemoveHeader, Field: 99}}, fault: "no header field"},
		{name: "header too long", edits: []event.Edit{{Op: event.AddHeader, Name: "X", Value: bytes.Repeat([]byte("x"), 200)}}, fault: "octets long"},
		{name: "header at RCPT", at: event.RcptCommand, edits: []event.Edit{{Op: event.AddHeader, Name: "X"}}, fault: "cannot be changed at OnRcptCommand"},
		{name: "header without permission", edits: []event.Edit{{Op: event.AddHeader, Name: "X"}},
			change: without(event.ChangeHeaders), fault: `"change-headers"`},

		{name: "sender", edits: []event.Edit{{Op: event.SetSender, Addresses: []string{"srs@elsewhere.example.net"}}},
			from: "srs@elsewhere.example.net", done: "set-sender <srs@elsewhere.example.net>"},
		{name: "null sender at MAIL", at: event.MailCommand, edits: []event.Edit{{Op: event.SetSender, Addresses: []string{""}}},
			from: "<>", done: "set-sender <>"},
		{name: "bad sender", edits: []event.Edit{{Op: event.SetSender, Addresses: []string{"a@b> SIZE=1"}}}, fault: "address"},
		{name: "sender at HELO", at: event.HeloCommand, edits: []event.Edit{{Op: event.SetSender, Addresses: []string{""}}}, fault: "cannot be changed at OnHeloCommand"},
		{name: "sender without permission", edits: []event.Edit{{Op: event.SetSender, Addresses: []string{""}}},
			change: without(event.ChangeSender), fault: `"change-sender"`},

		{name: "recipient added", edits: []event.Edit{{Op: event.AddRecipient, Addresses: []string{"carol@example.org"}}},
			recipients: "alice@example.org bob@example.org carol@example.org", done: "add-recipient carol@example.org"},
		{name: "recipient removed", edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 1}},
			recipients: "bob@example.org", done: "remove-recipient alice@example.org"},
		{name: "recipient replaced by several", edits: []event.Edit{{Op: event.ReplaceRecipient, Recipient: 1, Addresses: []string{"c@example.org", "d@example.org"}}},
			recipients: "c@example.org d@example.org bob@example.org", done: "replace-recipient alice@example.org by c@example.org, d@example.org"},
		{name: "all recipients removed", edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 1}, {Op: event.RemoveRecipient, Recipient: 2}},
			recipients: "none", done: "remove-recipient alice@example.org; remove-recipient bob@example.org"},
		{name: "recipient elsewhere", edits: []event.Edit{{Op: event.AddRecipient, Addresses: []string{"x@example.com"}}}, fault: "accepted domains"},
		{name: "recipient elsewhere, granted", edits: []event.Edit{{Op: event.AddRecipient, Addresses: []string{"x@example.com"}}},
			change:     func(b *Binding) { b.Granted = all },
			recipients: "alice@example.org bob@example.org x@example.com", done: "add-recipient x@example.com"},
		{name: "null recipient", edits: []event.Edit{{Op: event.AddRecipient, Addresses: []string{""}}}, fault: "null path"},
		{name: "address beyond ASCII in a message that may not", edits: []event.Edit{{Op: event.AddRecipient, Addresses: []string{"\u00f6@example.org"}}}, fault: "address"},
		{name: "bad address", edits: []event.Edit{{Op: event.AddRecipient, Addresses: []string{"a b@example.org"}}}, fault: "address"},
		{name: "replaced by nobody", edits: []event.Edit{{Op: event.ReplaceRecipient, Recipient: 1}}, fault: "no address"},
		{name: "no such recipient", edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 9}}, fault: "id 9"},
		{name: "too many recipients", edits: []event.Edit{{Op: event.ReplaceRecipient, Recipient: 1, Addresses: long}}, fault: "101 recipients"},
		{name: "undeclared at DATA", at: event.DataCommand, edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 1}},
			change: func(b *Binding) { b.ChangesRecipientsAt = 0 }, fault: "undeclared"},
		{name: "later than declared", edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 1}},
			change: func(b *Binding) { b.ChangesRecipientsAt = event.DataCommand }, fault: "undeclared"},
		{name: "undeclared at RCPT", at: event.RcptCommand, edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 1}},
			change: func(b *Binding) { b.ChangesRecipientsAt = 0 }, recipients: "bob@example.org", done: "remove-recipient alice@example.org"},
		{name: "recipients without permission", edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 1}},
			change: without(event.ChangeRecipients), fault: `"change-recipients"`},

		{name: "all or none", edits: []event.Edit{
			{Op: event.AddHeader, Name: "X-Spam", Value: []byte(" no")},
			{Op: event.SetSender, Addresses: []string{""}},
			{Op: event.RemoveRecipient, Recipient: 1},
			{Op: event.SetProperty, Property: event.Property{Key: "k"}},
			{Op: event.RemoveRecipient, Recipient: 1},
		}, fault: "edit 5, remove-recipient: no recipient"},
		{name: "too many edits", edits: make([]event.Edit, MaxEdits+1), fault: "1001 edits"},
		{name: "not of this role", edits: []event.Edit{{Op: event.Unsupported, Detail: "set_route"}}, fault: "set_route is not for the FrontEnd"},
		{name: "of no contract", edits: []event.Edit{{}}, fault: "unknown kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := tt.at
			if at == 0 {
				at = event.EndOfHeaders
			}
			f := &fake{decide: answer(event.Verdict{Edits: tt.edits})}
			b := bind("a", f, at)
			if tt.change != nil {
				tt.change(&b)
			}
			_, s := open(event.FrontEnd, b)
			s.HeaderLimit, s.RecipientLimit = 200, 50
			env, h := inMessage(t, s)
			d := s.Fire(t.Context(), event.Event{Kind: at})

			if tt.fault != "" {
				if d.Err == nil || !strings.Contains(d.Err.Error(), tt.fault) || !errors.Is(d.Err, event.ErrProtocol) || len(f.faults) != 1 {
					t.Errorf("error %v, want a fault with %q", d.Err, tt.fault)
				}
			} else if d.Action != event.Continue || d.Err != nil {
				t.Errorf("decision %+v, want continue", d)
			}
			if got, want := string(h.AppendTo(nil)), or(tt.header, section); got != want {
				t.Errorf("header %q, want %q", got, want)
			}
			if got, want := or(env.From.String(), "<>"), or(tt.from, "sender@example.net"); got != want {
				t.Errorf("sender %s, want %s", got, want)
			}
			if got, want := or(strings.Join(addresses(env), " "), "none"), or(tt.recipients, "alice@example.org bob@example.org"); got != want {
				t.Errorf("recipients %s, want %s", got, want)
			}
			if len(s.State.Bag) != 0 {
				t.Errorf("bag %v, want none", s.State.Bag)
			}
			var done []string
			for _, e := range s.TakeEntries() {
				done = append(done, e.Edits...)
			}
			if got := strings.Join(done, "; "); got != tt.done {
				t.Errorf("log %q, want %q", got, tt.done)
			}
		})
	}
}

func without(p event.Permission) func(*Binding) { return func(b *Binding) { b.Granted &^= 1 << p } }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func TestRecipientAddedByAnAgentIsUnknownToTheClientAndReplacedOneKeepsItsName(t *testing.T) {
	f := &fake{decide: answer(event.Verdict{Edits: []event.Edit{
		{Op: event.ReplaceRecipient, Recipient: 1, Addresses: []string{"shop@example.org"}},
		{Op: event.AddRecipient, Addresses: []string{"archive@example.org"}},
	}})}
	_, s := open(event.FrontEnd, bind("a", f, event.EndOfHeaders))
	env, _ := inMessage(t, s)
	s.Fire(t.Context(), event.Event{Kind: event.EndOfHeaders})
	if got := env.Recipients[0].Original.String(); got != "alice@example.org" {
		t.Errorf("original %q, want alice@example.org", got)
	}
	if !env.Recipients[2].Original.IsNull() {
		t.Errorf("original %s, want null", env.Recipients[2].Original)
	}
}

// fireRcpt is what the roles do at RCPT.
func fireRcpt(t *testing.T, s *Session, env *mail.Envelope, to string) Decision {
	r := env.Add(mail.Recipient{Path: path(t, to), Original: path(t, to)})
	return s.Fire(t.Context(), event.Event{Kind: event.RcptCommand, Recipient: r})
}

func TestRecipientInQuestionIsShownAsEarlierAgentsLeftIt(t *testing.T) {
	rewriter := &fake{}
	rewriter.decide = func(_ context.Context, evs []event.Event, _ *event.State, _ time.Duration) (event.Verdict, error) {
		return event.Verdict{Edits: []event.Edit{{Op: event.ReplaceRecipient, Recipient: evs[0].Recipient.ID, Addresses: []string{"carl@example.org"}}}}, nil
	}
	after := &fake{}
	_, s := open(event.FrontEnd, bind("a", rewriter, event.RcptCommand), bind("b", after, event.RcptCommand))
	env := &mail.Envelope{}
	s.Begin(env)
	fireRcpt(t, s, env, "carol@example.org")
	got := after.frames[0][0].Recipient
	if got.Path.String() != "carl@example.org" || got.Original.String() != "carol@example.org" || env.Index(got.ID) < 0 {
		t.Errorf("later agent saw %+v", got)
	}
}

func TestRefusedRecipientTakesAlongWhatAgentsMadeOfIt(t *testing.T) {
	for _, a := range []event.Action{event.RejectIt, event.Discard} {
		f := &fake{}
		f.decide = func(_ context.Context, evs []event.Event, _ *event.State, _ time.Duration) (event.Verdict, error) {
			return event.Verdict{Edits: []event.Edit{{Op: event.ReplaceRecipient, Recipient: evs[0].Recipient.ID, Addresses: []string{"c@example.org", "d@example.org"}}}}, nil
		}
		_, s := open(event.FrontEnd, bind("a", f, event.RcptCommand), bind("b", &fake{decide: answer(event.Verdict{Action: a})}, event.RcptCommand))
		env, _ := inMessage(t, s)
		d := fireRcpt(t, s, env, "carol@example.org")
		if d.Action != a || !slices.Equal(addresses(env), []string{"alice@example.org", "bob@example.org"}) {
			t.Errorf("%s: recipients %v", a, addresses(env))
		}
	}
}

func TestDroppedRecipientDoesNotStopLaterAgents(t *testing.T) {
	edit := func(op event.Op, to ...string) *fake {
		f := &fake{}
		f.decide = func(_ context.Context, evs []event.Event, _ *event.State, _ time.Duration) (event.Verdict, error) {
			return event.Verdict{Edits: []event.Edit{{Op: op, Recipient: evs[0].Recipient.ID, Addresses: to}}}, nil
		}
		return f
	}
	later := edit(event.ReplaceRecipient, "carl@example.org")
	_, s := open(event.FrontEnd, bind("a", edit(event.RemoveRecipient), event.RcptCommand), bind("b", later, event.RcptCommand))
	env := &mail.Envelope{}
	s.Begin(env)
	d := fireRcpt(t, s, env, "carol@example.org")
	if d.Action != event.Continue || len(later.frames) != 1 || len(env.Recipients) != 0 || len(later.faults) != 0 {
		t.Errorf("decision %+v, later agent saw %d, recipients %v", d, len(later.frames), addresses(env))
	}
}

func TestBagIsAgentsOwnAndBounded(t *testing.T) {
	set := func(scope event.Scope, key, value string) event.Edit {
		return event.Edit{Op: event.SetProperty, Property: event.Property{Scope: scope, Agent: "other", Key: key, Value: []byte(value)}}
	}
	remove := set(event.ScopeSession, "k", "")
	remove.Removed = true
	big := strings.Repeat("x", MaxBagBytes/2)
	for _, tt := range []struct {
		name  string
		edits []event.Edit
		fault string
		want  string
	}{
		{"set", []event.Edit{set(event.ScopeSession, "k", "1"), set(event.ScopeMessage, "k", "2")}, "", "0 a k=1 1 a k=2"},
		{"set twice", []event.Edit{set(event.ScopeSession, "k", "1"), set(event.ScopeSession, "k", "2")}, "", "0 a k=2"},
		{"removed", []event.Edit{set(event.ScopeSession, "k", "1"), remove, remove}, "", ""},
		{"too much", []event.Edit{set(event.ScopeSession, "k", big), set(event.ScopeMessage, "l", big)}, "an agent may keep", ""},
		{"no key", []event.Edit{set(event.ScopeSession, "", "1")}, "key", ""},
		{"no text", []event.Edit{set(event.ScopeSession, "a\nb", "1")}, "key", ""},
		{"no scope", []event.Edit{set(9, "k", "1")}, "scope", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, s := open(event.FrontEnd, bind("a", &fake{decide: answer(event.Verdict{Edits: tt.edits})}, event.NoopCommand))
			s.Begin(&mail.Envelope{})
			d := s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
			if (d.Err == nil) != (tt.fault == "") || d.Err != nil && !strings.Contains(d.Err.Error(), tt.fault) {
				t.Errorf("error %v, want %q", d.Err, tt.fault)
			}
			var got []string
			for _, p := range s.State.Bag {
				got = append(got, fmt.Sprintf("%d %s %s=%s", p.Scope, p.Agent, p.Key, p.Value))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("bag %q, want %q", got, tt.want)
			}
		})
	}
	_, s := open(event.FrontEnd, bind("a", &fake{decide: answer(event.Verdict{Edits: []event.Edit{set(event.ScopeMessage, "k", "1")}})}, event.NoopCommand))
	if d := s.Fire(t.Context(), event.Event{Kind: event.NoopCommand}); d.Err == nil {
		t.Error("a message's bag outside a message was written")
	}
}

// A header section as it came may have no end to its last line or begin with white space.
func TestAddedFieldNeverRunsIntoAnOddNeighbour(t *testing.T) {
	for _, tt := range []struct {
		name, section string
		edit          event.Edit
		ok            bool
	}{
		{"below an open end", "Subject: x", event.Edit{Op: event.AddHeader, Name: "X", Place: mail.Place{Bottom: true}}, false},
		{"above white space", " odd\r\nSubject: x\r\n", event.Edit{Op: event.AddHeader, Name: "X"}, false},
		{"elsewhere", " odd\r\nSubject: x", event.Edit{Op: event.AddHeader, Name: "X", Place: mail.Place{After: 1}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, s := open(event.FrontEnd, bind("a", &fake{decide: answer(event.Verdict{Edits: []event.Edit{tt.edit}})}, event.EndOfHeaders))
			s.Begin(&mail.Envelope{})
			h := mail.ParseHeader([]byte(tt.section))
			s.SetHeader(h)
			d := s.Fire(t.Context(), event.Event{Kind: event.EndOfHeaders})
			if (d.Err == nil) != tt.ok || !tt.ok && string(h.AppendTo(nil)) != tt.section {
				t.Errorf("decision %+v, header %q", d, h.AppendTo(nil))
			}
		})
	}
}

func TestPropertiesOfAnAgentAreCounted(t *testing.T) {
	n := 0
	more := func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) {
		edits := make([]event.Edit, MaxProperties/2)
		for i := range edits {
			n++
			edits[i] = event.Edit{Op: event.SetProperty, Property: event.Property{Key: fmt.Sprint(n)}}
		}
		return event.Verdict{Edits: edits}, nil
	}
	_, s := open(event.FrontEnd, bind("a", &fake{decide: more}, event.NoopCommand))
	for i := range 3 {
		d := s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
		if (d.Err != nil) != (i == 2) {
			t.Errorf("%d properties: %v", n, d.Err)
		}
	}
	if len(s.State.Bag) != MaxProperties {
		t.Errorf("%d properties are kept", len(s.State.Bag))
	}
}
