package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// tables are those of docs/agents.md by the heading above them, rows by their first cell.
func tables(t *testing.T) map[string]map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/agents.md")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string][]string)
	heading, rows := "", 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if h, ok := strings.CutPrefix(line, "## "); ok {
			heading, rows = h, 0
			all[heading] = make(map[string][]string)
		}
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if rows++; rows <= 2 { // names of the columns, and the line below them
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all[heading][cells[0]] = cells[1:]
	}
	return all
}

// row compares what the document says of an event with the code.
func row(t *testing.T, table map[string][]string, of string, want ...string) {
	t.Helper()
	if got := table[of]; !slices.Equal(got, want) {
		t.Errorf("docs/agents.md says of %s: %q, the code: %q", of, got, want)
	}
	delete(table, of)
}

// whole reports rows that the code knows nothing of.
func whole(t *testing.T, table map[string][]string) {
	t.Helper()
	for of := range table {
		t.Errorf("docs/agents.md has a row %s, the code has none", of)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// shown are the events that the FrontEnd fires.
func shown() []event.Kind { return event.FrontEnd.Events() }

func TestDocsEventsAndServices(t *testing.T) {
	table := tables(t)["Events and services"]
	for _, k := range event.Kinds() {
		cells := table[k.String()]
		if len(cells) == 0 || cells[0] == "" {
			t.Errorf("docs/agents.md does not say when %s comes", k)
			continue
		}
		row(t, table, k.String(), cells[0], yes(event.FrontEnd.Has(k)), yes(event.Hub.Has(k)), yes(event.Edge.Has(k)))
	}
	whole(t, table)
}

func TestDocsAnswers(t *testing.T) {
	table := tables(t)["What an agent may answer"]
	for _, k := range shown() {
		b := Binding{Name: "a", Granted: ^event.Permissions(0), Subscriptions: []event.Subscription{{Kind: k}}}
		cell := func(a event.Action) string {
			d, err := tried(k, b, event.Verdict{Action: a})
			switch {
			case k == event.Disconnect || err != nil:
				return "no"
			case a == event.RejectIt || a == event.TempFail:
				return fmt.Sprintf("%d %s", d.Reply.Code, d.Reply.EnhancedString())
			case d.Action != a:
				return "no"
			}
			return "yes"
		}
		row(t, table, k.String(), cell(event.Accept), cell(event.RejectIt), cell(event.TempFail), cell(event.Hangup), cell(event.Discard))
	}
	whole(t, table)
}

// tried fires the event for an agent with this answer, and returns what came of it, and the
// fault that was found with it.
func tried(k event.Kind, b Binding, v event.Verdict) (Decision, error) {
	f := &fake{decide: answer(v)}
	b.Agent = f
	s, ev := atEvent(k, b)
	d := s.Fire(context.Background(), ev)
	return d, errors.Join(f.faults...)
}

// atEvent is a session that stands where the event comes, with all there can be then.
func atEvent(k event.Kind, b Binding) (*Session, event.Event) {
	p := New(event.FrontEnd, mail.NewDomains("example.org"))
	p.Set([]Binding{b})
	s := p.Open("s", &event.Connection{})
	ev := event.Event{Kind: k}
	place := func(k event.Kind) int { return firing[k] }
	if place(k) >= place(event.MailCommand) { // at any time: where there is most
		env := &mail.Envelope{ID: "s-1", From: mail.Path{Local: "a", Domain: "example.com"}}
		r := env.Add(mail.Recipient{Path: mail.Path{Local: "b", Domain: "example.org"}})
		s.Begin(env)
		ev.From = env.From
		if k == event.RcptCommand {
			ev.Recipient = r
		}
		s.SetHeader(mail.ParseHeader([]byte("Subject: x\r\n")))
	}
	return s, ev
}

func TestDocsChanges(t *testing.T) {
	table := tables(t)["What an agent may change"]
	for _, k := range shown() {
		if k == event.Disconnect {
			continue // watched only: there is no answer that could have edits
		}
		declared := event.Kind(0)
		can := func(e event.Edit) bool {
			b := Binding{Name: "a", Granted: ^event.Permissions(0), Subscriptions: []event.Subscription{{Kind: k}}, ChangesRecipientsAt: declared}
			_, err := tried(k, b, event.Verdict{Edits: []event.Edit{e}})
			return err == nil
		}
		add := event.Edit{Op: event.AddRecipient, Addresses: []string{"c@example.org"}}
		recipients := yes(can(add))
		if declared = event.EndOfHeaders; recipients == "no" && can(add) {
			recipients = "declared"
		}
		property := func(scope event.Scope) event.Edit {
			return event.Edit{Op: event.SetProperty, Property: event.Property{Scope: scope, Key: "k", Value: []byte("1")}}
		}
		row(t, table, k.String(), yes(can(event.Edit{Op: event.SetSender, Addresses: []string{"d@example.com"}})), recipients,
			yes(can(event.Edit{Op: event.AddHeader, Name: "X-New", Value: []byte(" 1")})),
			yes(can(property(event.ScopeSession))), yes(can(property(event.ScopeMessage))))
	}
	whole(t, table)
}

func TestDocsFailures(t *testing.T) {
	table := tables(t)["What happens when an agent fails"]
	for _, k := range shown() {
		cell := func(p Policy) string {
			b := Binding{Name: "a", Agent: &fake{decide: failing(event.ErrTimeout)}, OnFailure: p, Subscriptions: []event.Subscription{{Kind: k}}}
			s, ev := atEvent(k, b)
			if d := s.Fire(context.Background(), ev); d.Refusal() != nil {
				return fmt.Sprintf("%d %s", d.Reply.Code, d.Reply.EnhancedString())
			}
			return "goes on"
		}
		row(t, table, k.String(), cell(TempFail), cell(Continue), ChainLimit(k).String())
	}
	whole(t, table)
}

func TestDocsPermissions(t *testing.T) {
	table := tables(t)["Permissions"]
	for p := event.ReadHeaders; p < event.NumPermissions; p++ {
		if cells := table[p.String()]; len(cells) != 1 || cells[0] == "" {
			t.Errorf("docs/agents.md does not say what %s is", p)
		}
		delete(table, p.String())
	}
	whole(t, table)
}
