package pipeline

import (
	"context"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Session is the agents of one role in one SMTP session. Not safe for concurrent use.
type Session struct {
	// State is what agents are shown. Whoever runs the session sets its parts through the
	// methods below, which keep the revisions.
	State event.State
}

// Open begins a session with the order of agents now in force.
func (p *Pipeline) Open(id string, conn *event.Connection) *Session { return nil }

// Decision is what the chain of an event came to. The zero value continues.
type Decision struct {
	// Action is Continue, RejectIt, TempFail, Hangup, Discard or Accept.
	Action event.Action
	// Reply is what to tell the client where Action is RejectIt, TempFail or Hangup.
	Reply reply.Reply
	Agent string     // whose verdict it is; with a failure policy, whose failure
	At    event.Kind // the event decided
	Err   error      // the failure that the policy answered; nil for a verdict
}

// Fire shows the event to the agents bound to it, in order, applies their edits to
// State.Envelope and State.Header, and returns what came of it. Without an agent bound it
// costs a nil check.
func (s *Session) Fire(ctx context.Context, ev event.Event) Decision { return Decision{} }

// Bound reports whether any agent sees the event.
func (s *Session) Bound(k event.Kind) bool { return false }

// LateRecipients is that of the order in force for this transaction.
func (s *Session) LateRecipients() bool { return false }

// SetClient replaces what the client said of itself.
func (s *Session) SetClient(c event.Client) {}

// Begin begins a transaction: the newest order of agents is taken, and conversations with
// agents that are not in it any more are ended.
func (s *Session) Begin(envelope *mail.Envelope) {}

// SetHeader shows the header section to the agents from now on.
func (s *Session) SetHeader(h *mail.Header) {}

// EndTransaction takes envelope, header and message bag away.
func (s *Session) EndTransaction() {}

// Close ends the session; Disconnect is fired to those bound to it.
func (s *Session) Close(reason event.DisconnectReason) {}

// Entry is one verdict that did something, or one failure, for the log of the message.
type Entry struct {
	Agent  string
	At     event.Kind
	Action event.Action
	Edits  []string // "replace-header Subject", "replace-recipient alice_shop@example.org by alice@example.org"
	Reason string
	Err    error // the failure; Action is then what the policy made of it
}

// TakeEntries returns the entries since the last call.
func (s *Session) TakeEntries() []Entry { return nil }
