package agents

import (
	"slices"
	"strconv"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// filter is which sessions and messages an agent wants to be asked about at an event. nil
// lets everything pass.
type filter struct {
	listeners          []string
	maxSize            uint64
	authenticated      *bool
	senders, receivers *mail.Domains
	direction          agentv1.Filter_Direction
}

func filterOf(w *agentv1.Filter) *filter {
	if w == nil {
		return nil
	}
	f := &filter{
		listeners: w.Listeners, maxSize: w.MaxSize, authenticated: w.Authenticated, direction: w.Direction,
	}
	if len(w.SenderDomains) > 0 {
		d := mail.NewDomains(w.SenderDomains...)
		f.senders = &d
	}
	if len(w.RecipientDomains) > 0 {
		d := mail.NewDomains(w.RecipientDomains...)
		f.receivers = &d
	}
	return f
}

// passes reports whether the agent is to be asked. What is not known yet passes: a filter by
// recipients says nothing about OnConnect.
func (f *filter) passes(e *event.Event, s *event.State) bool {
	if f == nil {
		return true
	}
	if c := s.Connection; c != nil {
		if len(f.listeners) > 0 && !slices.Contains(f.listeners, c.Listener) {
			return false
		}
		if f.direction == agentv1.Filter_DIRECTION_INBOUND && c.Internal ||
			f.direction == agentv1.Filter_DIRECTION_INTERNAL && !c.Internal {
			return false
		}
	}
	if f.authenticated != nil && *f.authenticated != (s.Client.User != "") {
		return false
	}
	return f.senderPasses(e, s) && f.recipientPasses(e, s)
}

func (f *filter) senderPasses(e *event.Event, s *event.State) bool {
	from, params := e.From, e.Params
	if e.Kind != event.MailCommand {
		if s.Envelope == nil {
			return true
		}
		from, params = s.Envelope.From, s.Envelope.Params
	}
	if f.senders != nil && (from.IsNull() || !f.senders.Contains(from.Domain)) {
		return false
	}
	if size, ok := params.Get("SIZE"); ok && f.maxSize > 0 {
		n, err := strconv.ParseUint(strings.TrimSpace(size), 10, 64)
		return err != nil || n <= f.maxSize
	}
	return true
}

func (f *filter) recipientPasses(e *event.Event, s *event.State) bool {
	if f.receivers == nil {
		return true
	}
	if e.Kind == event.RcptCommand {
		return f.receivers.Contains(e.Recipient.Path.Domain)
	}
	if s.Envelope == nil || len(s.Envelope.Recipients) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Envelope.Recipients, func(r mail.Recipient) bool {
		return f.receivers.Contains(r.Path.Domain)
	})
}
