package pipeline

import (
	"fmt"
	"slices"
	"testing"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

func TestNewOrderIsTakenAtBeginNotBefore(t *testing.T) {
	stays, goes, comes := &fake{}, &fake{}, &fake{}
	p, s := open(event.FrontEnd, bind("goes", goes, event.NoopCommand), bind("stays", stays, event.NoopCommand))
	s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
	p.Set([]Binding{bind("stays", stays, event.NoopCommand), bind("comes", comes, event.NoopCommand)})
	s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
	if len(goes.frames) != 2 || len(comes.frames) != 0 {
		t.Error("the new order was taken before a transaction began")
	}
	s.Begin(&mail.Envelope{})
	s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
	if len(goes.frames) != 2 || len(goes.ends) != 1 || goes.reason != event.DisconnectHostClosed {
		t.Errorf("removed agent: %d frames, %d ends", len(goes.frames), len(goes.ends))
	}
	if len(stays.frames) != 3 || stays.opened != 1 || stays.frames[2][0].Seq != 3 || len(stays.ends) != 0 {
		t.Errorf("kept agent: opened %d, frames %v", stays.opened, stays.frames)
	}
	if len(comes.frames) != 1 || comes.frames[0][0].Seq != 1 {
		t.Errorf("new agent: frames %v", comes.frames)
	}
}

func TestSameNameWithAnotherAgentIsAnotherAgent(t *testing.T) {
	old, now := &fake{decide: answer(event.Verdict{Action: event.Detach})}, &fake{}
	p, s := open(event.FrontEnd, bind("a", old, event.NoopCommand))
	s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
	p.Set([]Binding{bind("a", now, event.NoopCommand)})
	s.Begin(&mail.Envelope{})
	s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
	if len(now.frames) != 1 {
		t.Error("the mark of the old agent was put on the new one")
	}
}

func TestSnapshotIsItsOwn(t *testing.T) {
	bindings := []Binding{bind("a", &fake{}, event.NoopCommand)}
	s := NewSnapshot(bindings)
	bindings[0].Name = "changed"
	if got := s.byKind[event.NoopCommand][0].Name; got != "a" {
		t.Errorf("name %q, want a", got)
	}
}

func TestLateRecipientsAreThoseOfTheTransactionsOrder(t *testing.T) {
	b := bind("a", &fake{}, event.EndOfHeaders)
	p, s := open(event.FrontEnd)
	p.Set([]Binding{b})
	if s.LateRecipients() {
		t.Error("late before the order was taken")
	}
	s.Begin(&mail.Envelope{})
	if !s.LateRecipients() || !s.Bound(event.EndOfHeaders) || s.Bound(event.NoopCommand) {
		t.Error("the new order is not in force")
	}
}

func TestCloseTellsThoseBoundToDisconnect(t *testing.T) {
	bound, talked, silent, watcher := &fake{}, &fake{}, &fake{}, &fake{}
	_, s := open(event.FrontEnd, bind("bound", bound, event.Disconnect), bind("talked", talked, event.NoopCommand),
		bind("silent", silent, event.MailCommand), watching(bind("watcher", watcher, event.NoopCommand, event.Disconnect)))
	s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
	s.Close(event.DisconnectDrain)
	s.Close(event.DisconnectQuit)
	if len(bound.ends) != 1 || len(bound.ends[0]) != 1 || bound.ends[0][0].Kind != event.Disconnect ||
		bound.ends[0][0].Disconnect != event.DisconnectDrain || !bound.ends[0][0].Notify || bound.reason != event.DisconnectDrain {
		t.Errorf("bound agent: %+v", bound.ends)
	}
	if len(talked.ends) != 1 || len(talked.ends[0]) != 0 {
		t.Errorf("agent with a conversation: %+v", talked.ends)
	}
	if silent.opened != 0 {
		t.Error("an agent that has seen nothing was opened to be ended")
	}
	if len(watcher.ends) != 1 || len(watcher.ends[0]) != 2 || watcher.ends[0][1].Seq != 2 {
		t.Errorf("watching agent: %+v", watcher.ends)
	}
}

func TestRevisionsRiseWithEveryChange(t *testing.T) {
	_, s := open(event.FrontEnd, bind("a", &fake{}, event.NoopCommand))
	last := s.State
	step := func(what string, client, envelope, header, bag bool) {
		t.Helper()
		s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
		now := s.State
		got := []bool{now.ClientRevision > last.ClientRevision, now.EnvelopeRevision > last.EnvelopeRevision,
			now.HeaderRevision > last.HeaderRevision, now.BagRevision > last.BagRevision}
		if want := []bool{client, envelope, header, bag}; !slices.Equal(got, want) {
			t.Errorf("%s: client, envelope, header, bag rose: %v, want %v", what, got, want)
		}
		last = now
	}
	step("nothing", false, false, false, false)
	s.SetClient(event.Client{Hello: "client.example.net"})
	step("client", true, false, false, false)
	env := &mail.Envelope{}
	s.Begin(env)
	step("begin", false, true, false, false)
	step("nothing in a transaction", false, false, false, false)
	env.Add(mail.Recipient{Path: path(t, "a@example.org")})
	step("recipient added by the session's keeper", false, true, false, false)
	h := mail.ParseHeader([]byte(section))
	s.SetHeader(h)
	step("header", false, false, true, false)
	if err := h.Remove(1); err != nil {
		t.Fatal(err)
	}
	step("header edited by the session's keeper", false, false, true, false)
	s.State.Bag = []event.Property{{Scope: event.ScopeMessage}, {Scope: event.ScopeSession, Key: "k"}}
	s.EndTransaction()
	step("end", false, true, true, true)
	if len(s.State.Bag) != 1 || s.State.Bag[0].Key != "k" {
		t.Errorf("bag %v, want the session's entry", s.State.Bag)
	}
	s.EndTransaction()
	step("end without a transaction", false, false, false, false)
}

func TestEntriesAreBounded(t *testing.T) {
	_, s := open(event.FrontEnd, bind("a", &fake{decide: answer(event.Verdict{Action: event.RejectIt, Reason: fmt.Sprintf("%1000d", 1)})}, event.NoopCommand))
	for range 3 * maxEntries {
		s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
	}
	e := s.TakeEntries()
	if len(e) != maxEntries || len(e[0].Reason) != maxReason {
		t.Errorf("%d entries with a reason of %d bytes, want %d, %d", len(e), len(e[0].Reason), maxEntries, maxReason)
	}
	if len(s.TakeEntries()) != 0 {
		t.Error("entries were given twice")
	}
}
