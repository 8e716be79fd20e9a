package event

import (
	"context"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Submitter takes new messages from the agent that is deciding an event. It is used by the
// goroutine that waits for the verdict.
type Submitter interface {
	// Submit checks the message, tries it once and says what came of it. It returns before Deadline,
	// and goes on where ctx ends: what has been handed over cannot be taken back.
	Submit(ctx context.Context, m *Submission) Submitted
	// Deadline is when the event's chain of agents must be over. Until then the time that Submit took
	// is not counted as the agent's.
	Deadline() time.Time
}

// Submission is a new message of an agent's, as the agent gave it: nothing is checked yet.
type Submission struct {
	From    Address
	To      []Address
	Message []byte // header section, empty line, body
}

// Address is a mailbox without <> and the parameters for it.
type Address struct {
	Mailbox string
	Params  mail.Params
}

// Submitted is what came of a submission: the next hop's reply, or why there is none.
type Submitted struct {
	ID    string      // of the message in the relay's log; "" where it was refused before it had one
	Reply reply.Reply // Code 0: Err says why there is none
	Err   error
	// Later: with Err, the same message may be taken another time.
	Later bool
}
