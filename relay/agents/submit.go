package agents

import (
	"context"
	"errors"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// errNoSubmitter is for events that nobody waits on to send mail.
var errNoSubmitter = errors.New("nothing can be submitted here")

// deliberation is an event that awaits its verdict on a stream.
type deliberation struct {
	ctx      context.Context
	state    *event.State
	seq      uint32
	deadline time.Time // the agent's
}

// submit has a message of the agent's sent and tells it what came of that. Meanwhile the agent waits for us, so
// that its time stands still, as far as the event's chain has any.
func (s *stream) submit(d *deliberation, w *agentv1.Submit) error {
	if !s.timer.Stop() {
		s.broken = true
		return event.ErrTimeout
	}
	begun := time.Now()
	result := event.Submitted{Err: errNoSubmitter}
	if by := d.state.Submitter; by != nil {
		result = by.Submit(d.ctx, submissionOf(w))
		if d.deadline = d.deadline.Add(time.Since(begun)); d.deadline.After(by.Deadline()) {
			d.deadline = by.Deadline()
		}
	}
	s.arm(max(time.Until(d.deadline), time.Millisecond))
	frame := &agentv1.HostFrame{Frame: &agentv1.HostFrame_SubmitResult{SubmitResult: submitResult(w.GetSubmitId(), &result)}}
	if err := s.send(frame); err != nil {
		return s.explain(err)
	}
	return nil
}

// submissionOf reads a message; the pipeline checks it.
func submissionOf(w *agentv1.Submit) *event.Submission {
	m := &event.Submission{From: addressOf(w.GetFrom()), Message: w.GetMessage()}
	for _, box := range w.GetRecipients() {
		m.To = append(m.To, addressOf(box))
	}
	return m
}

func addressOf(box *agentv1.Mailbox) event.Address {
	return event.Address{Mailbox: box.GetAddress(), Params: paramsOf(box.GetParams())}
}

func submitResult(id uint32, r *event.Submitted) *agentv1.SubmitResult {
	w := &agentv1.SubmitResult{SubmitId: id, MessageId: r.ID}
	switch {
	case r.Err == nil:
		w.Reply = &agentv1.Reply{Code: uint32(r.Reply.Code), Enhanced: r.Reply.EnhancedString(), Lines: r.Reply.Lines}
	case r.Later:
		w.Failure = &agentv1.Failure{Kind: agentv1.Failure_KIND_TRANSIENT, Detail: oneLine(r.Err.Error(), 500)}
	default:
		w.Failure = &agentv1.Failure{Kind: agentv1.Failure_KIND_CONFIG, Detail: oneLine(r.Err.Error(), 500)}
	}
	return w
}
