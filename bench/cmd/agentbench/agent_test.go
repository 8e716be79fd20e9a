package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// seen is an agent in this process that notes what it is shown.
type seen struct {
	decided, told []event.Kind
	header        int
}

func (s *seen) Open(string) pipeline.Conversation { return s }
func (s *seen) Fault(string, event.Kind, error)   {}

func (s *seen) Decide(_ context.Context, events []event.Event, state *event.State, _ time.Duration) (event.Verdict, error) {
	last := len(events) - 1
	s.note(events[:last])
	s.decided = append(s.decided, events[last].Kind)
	if events[last].Kind == event.EndOfHeaders {
		s.header = state.Header.Size()
	}
	return event.Verdict{Seq: events[last].Seq}, nil
}

func (s *seen) Notify(events []event.Event, _ *event.State) { s.note(events) }

func (s *seen) End(events []event.Event, _ *event.State, _ event.DisconnectReason) { s.note(events) }

func (s *seen) note(events []event.Event) {
	for _, e := range events {
		s.told = append(s.told, e.Kind)
	}
}

var messageEvents = []event.Kind{
	event.Connect, event.EhloCommand, event.MailCommand, event.RcptCommand, event.DataCommand, event.EndOfHeaders,
}

func TestAgentSessionFiresTheEventsOfAMessage(t *testing.T) {
	last := len(messageEvents) - 1
	tests := []struct {
		name          string
		notify        bool
		decided, told []event.Kind
	}{
		{"all decided", false, messageEvents, []event.Kind{event.Disconnect}},
		{"decides once", true, messageEvents[last:], append(slices.Clone(messageEvents[:last]), event.Disconnect)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			agent := &seen{}
			subs := []event.Subscription{{Kind: event.Disconnect, Notify: true}}
			for _, k := range messageEvents {
				subs = append(subs, event.Subscription{Kind: k, Notify: tt.notify && k != event.EndOfHeaders})
			}
			p := pipeline.New(event.FrontEnd, mail.NewDomains("example.org"))
			p.Set([]pipeline.Binding{{Name: "seen", Agent: agent, Subscriptions: subs, Timeout: time.Second}})
			var rec recorder
			if err := (&agentPeer{pipeline: p, notify: tt.notify}).session(&rec); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(agent.decided, tt.decided) || len(rec.trips) != len(tt.decided) {
				t.Errorf("decided %v in %d round trips, want %v", agent.decided, len(rec.trips), tt.decided)
			}
			if !slices.Equal(agent.told, tt.told) {
				t.Errorf("told of %v, want %v", agent.told, tt.told)
			}
			if agent.header != 1024 {
				t.Errorf("shown %d bytes of header, want 1024", agent.header)
			}
		})
	}
}
