package agent

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Submission is what came of a message that an agent has submitted.
type Submission struct {
	ID    string // of the message in the relay's log
	Reply Reply  // the next hop's at a FrontEnd
}

// Accepted reports that somebody has the message now and will deliver it.
func (s Submission) Accepted() bool { return s.Reply.Code/100 == 2 }

// SubmitError is why a submission has no reply.
type SubmitError struct {
	Problem string
	Later   bool // the same message may be taken another time
}

// Error is the problem.
func (e *SubmitError) Error() string { return "submit: " + e.Problem }

// Submit sends a new message: from is the sender of its envelope, "" the null sender, to its
// recipients, message its header section, an empty line and its body, with CRLF line ends. The relay
// adds Date and Message-ID where they are missing. It tries the message once, at the next hop of a FrontEnd,
// and the result says what the next hop answered: a refusal is no error. The error is a
// *SubmitError where the relay has not taken the message or got no answer for it; whether the client's message passes,
// the verdict alone says.
//
// It can be called at OnEndOfHeaders and later events of a message, on the goroutine of a handler that
// decides. The agent must have asked for [SubmitMail], and for [RelayMail] to write beyond the accepted
// domains. No agent is shown the message on its way out; where it comes back, the relay knows of which submissions
// it has come and takes no third of one agent, nor a fourth of any. A message of the same
// sender, recipients and octets is sent once an event, however often it is submitted.
//
// The time it takes is added to the handler's: contexts derived from its own before the call keep
// their deadline. What is on its way when ctx ends is not taken back, so that Submit returns when the relay does.
func (m *Message) Submit(ctx context.Context, from string, to []string, message []byte) (Submission, error) {
	c := m.s.conversation
	if c == nil || !c.agent.can(agentv1.Capability_CAPABILITY_SUBMIT) {
		return Submission{}, &SubmitError{Problem: "this relay takes no messages of agents"}
	}
	if err := ctx.Err(); err != nil {
		return Submission{}, err
	}
	c.asking.Lock()
	defer c.asking.Unlock()
	if !c.deciding {
		return Submission{}, &SubmitError{Problem: "messages can be submitted only while a handler decides"}
	}
	c.submitted++
	w := &agentv1.Submit{SubmitId: c.submitted, From: &agentv1.Mailbox{Address: from}, Message: message}
	for _, address := range to {
		w.Recipients = append(w.Recipients, &agentv1.Mailbox{Address: address})
	}
	frame := &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Submit{Submit: w}}
	if n := proto.Size(frame); n > agentv1.MaxFrameBytes {
		return Submission{}, &SubmitError{Problem: fmt.Sprintf("%d octets with its addresses; at most %d are taken", n, agentv1.MaxFrameBytes)}
	}
	begun := time.Now()
	var result *agentv1.SubmitResult
	err := c.ask(frame, func(f *agentv1.HostFrame) (bool, error) {
		if r := f.GetSubmitResult(); r.GetSubmitId() == w.SubmitId {
			result = r
		}
		return result != nil, nil
	})
	if c.limit != nil {
		c.limit.extend(time.Since(begun))
	}
	switch {
	case err != nil:
		return Submission{}, &SubmitError{Problem: err.Error(), Later: true}
	case result.Failure != nil:
		return Submission{ID: result.MessageId}, &SubmitError{
			Problem: result.Failure.Detail, Later: result.Failure.Kind == agentv1.Failure_KIND_TRANSIENT,
		}
	}
	return Submission{ID: result.MessageId, Reply: replyOf(result.Reply)}, nil
}
