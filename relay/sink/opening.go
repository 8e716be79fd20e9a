package sink

import (
	"context"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// opening is an agent in this process that answers for the rules before MAIL, which no
// transaction sees.
type opening struct{ rules Rules }

// bindings bind it to the events that have rules.
func (s *Sink) bindings() []pipeline.Binding {
	var subs []event.Subscription
	if s.rules.at(Connect) {
		subs = append(subs, event.Subscription{Kind: event.Connect})
	}
	if s.rules.at(Ehlo) {
		subs = append(subs, event.Subscription{Kind: event.HeloCommand}, event.Subscription{Kind: event.EhloCommand})
	}
	if subs == nil {
		return nil
	}
	return []pipeline.Binding{{
		Name:          "sink",
		Agent:         opening{s.rules},
		Subscriptions: subs,
		Granted:       event.Permissions(0).With(event.MayReject),
		Timeout:       patience,
	}}
}

// Open begins a session.
func (o opening) Open(string) pipeline.Conversation { return o }

// Fault has nothing to say: a fault here is one of the sink's own, and the session's log has it.
func (o opening) Fault(string, event.Kind, error) {}

// Decide answers the last event by the rules.
func (o opening) Decide(ctx context.Context, events []event.Event, _ *event.State, _ time.Duration) (event.Verdict, error) {
	last := events[len(events)-1]
	at := Ehlo
	if last.Kind == event.Connect {
		at = Connect
	}
	if err := wait(ctx, o.rules.delay(at, mail.Path{})); err != nil {
		return event.Verdict{}, err
	}
	r := o.rules.reply(at, mail.Path{})
	return event.Verdict{Seq: last.Seq, Action: action(r), Reply: r}, nil
}

func action(r reply.Reply) event.Action {
	switch {
	case r.Code == 0:
		return event.Continue
	case r.Code == 421: // RFC 5321 §3.8: whoever says it closes
		return event.Hangup
	case r.Transient():
		return event.TempFail
	}
	return event.RejectIt
}

// Notify is of no interest.
func (o opening) Notify([]event.Event, *event.State) {}

// End ends nothing.
func (o opening) End([]event.Event, *event.State, event.DisconnectReason) {}
