package pipeline

import (
	"slices"
	"strconv"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// filter is where an agent runs at one event: what it says itself, then what the operator says. All
// of it must match; nil lets everything pass. It is judged before anything of the agent is touched.
type filter []narrowing

// narrowing is one filter, made ready to be judged for every event.
type narrowing struct {
	by string // who narrows
	event.Filter
	senders, receivers mail.Domains
}

func filterOf(own, only event.Filter) (f filter) {
	for _, n := range []narrowing{{by: "by itself", Filter: own}, {by: "by the operator", Filter: only}} {
		if n.IsZero() {
			continue
		}
		n.senders, n.receivers = mail.NewDomains(n.SenderDomains...), mail.NewDomains(n.RecipientDomains...)
		f = append(f, n)
	}
	return f
}

// criterion is one thing a filter narrows by.
type criterion uint8

// The criteria. Those before a later one are known earlier in a session.
const (
	byListener criterion = iota
	byDirection
	byLogin
	bySize
	bySender
	byRecipient
)

// finding is what a criterion comes to.
type finding uint8

const (
	unset   finding = iota // the filter does not narrow by it
	unknown                // passes: nothing is known that could stop it
	matches
	stops
)

func findingOf(match bool) finding {
	if match {
		return matches
	}
	return stops
}

// stop returns the first criterion, up to last, that keeps the event from the agent, and whose it is;
// nil: there is none.
func (f filter) stop(ev *event.Event, s *event.State, last criterion) (*narrowing, criterion) {
	for i := range f {
		for c := byListener; c <= last; c++ {
			if f.judge(i, c, ev, s) == stops {
				return &f[i], c
			}
		}
	}
	return nil, 0
}

// passes reports whether nothing up to last keeps the event from the agent.
func (f filter) passes(ev *event.Event, s *event.State, last criterion) bool {
	n, _ := f.stop(ev, s, last)
	return n == nil
}

// judge holds one criterion of one of the narrowings against what is known when the event fires.
func (f filter) judge(i int, c criterion, ev *event.Event, s *event.State) finding {
	n := &f[i]
	switch c {
	case byListener:
		if len(n.Listeners) == 0 || s.Connection == nil {
			return unset
		}
		return findingOf(slices.Contains(n.Listeners, s.Connection.Listener))
	case byDirection:
		if n.Direction == event.AnyDirection || s.Connection == nil {
			return unset
		}
		return findingOf(s.Connection.Internal == (n.Direction == event.Internal))
	case byLogin:
		if n.Login == event.AnyLogin {
			return unset
		}
		return findingOf(loggedIn(ev, s) == (n.Login == event.LoggedIn))
	case bySize:
		if n.MaxSize == 0 {
			return unset
		}
		return judgeSize(n.MaxSize, ev, s)
	case bySender:
		if len(n.SenderDomains) == 0 {
			return unset
		}
		from, known := sender(ev, s)
		if !known {
			return unknown
		}
		return findingOf(!from.IsNull() && n.senders.Contains(from.Domain))
	case byRecipient:
		if len(n.RecipientDomains) == 0 {
			return unset
		}
		return f.judgeRecipients(i, ev, s)
	}
	return unset
}

// loggedIn reports whether the client has logged in. At OnEndOfAuthentication it is about to: whoever
// narrows to clients who have is asked about the login itself.
func loggedIn(ev *event.Event, s *event.State) bool {
	return s.Client.User != "" || ev.Kind == event.EndOfAuthentication && ev.Auth != nil && ev.Auth.Success
}

// sender is who the mail in question is from, if any is: as agents have left it.
func sender(ev *event.Event, s *event.State) (from mail.Path, known bool) {
	switch {
	case ev.Kind == event.Reject && ev.Rejection != nil && ev.Rejection.Of == event.MailCommand:
		return ev.Rejection.Path, true
	case s.Envelope != nil:
		return s.Envelope.From, true
	case ev.Kind == event.MailCommand:
		return ev.From, true
	}
	return mail.Path{}, false
}

// judgeSize takes what MAIL says (RFC 1870 §6.1: it may be a guess) or, where that is more, what has
// come by now: the header section.
func judgeSize(most uint64, ev *event.Event, s *event.State) finding {
	params := ev.Params
	if s.Envelope != nil {
		params = s.Envelope.Params
	}
	found := unknown
	if size, ok := params.Get("SIZE"); ok {
		if n, err := strconv.ParseUint(size, 10, 64); err == nil {
			found = findingOf(n <= most)
		}
	}
	if s.Header != nil && uint64(s.Header.Size()) > most {
		return stops
	}
	return found
}

// judgeRecipients: at a RCPT it is the recipient in question, else any that is left. Where both narrow,
// there must be one that is in both. The second of the narrowings answers for both.
func (f filter) judgeRecipients(i int, ev *event.Event, s *event.State) finding {
	switch {
	case ev.Kind == event.RcptCommand:
		return findingOf(f[:i+1].receives(&ev.Recipient.Path))
	case ev.Kind == event.Reject && ev.Rejection != nil && ev.Rejection.Of == event.RcptCommand:
		return findingOf(f[:i+1].receives(&ev.Rejection.Path))
	case s.Envelope == nil:
		return unknown
	case len(s.Envelope.Recipients) == 0 && (firing[ev.Kind] < firing[event.DataCommand] || anyTime(ev.Kind)):
		return unknown // they may still come
	}
	for r := range s.Envelope.Recipients {
		if f[:i+1].receives(&s.Envelope.Recipients[r].Path) {
			return matches
		}
	}
	return stops
}

func (f filter) receives(p *mail.Path) bool {
	for i := range f {
		if len(f[i].RecipientDomains) > 0 && !f[i].receivers.Contains(p.Domain) {
			return false
		}
	}
	return true
}

// anyTime reports an event that can come before the recipients are all there.
func anyTime(k event.Kind) bool {
	switch k {
	case event.HelpCommand, event.NoopCommand, event.RsetCommand, event.Reject, event.Disconnect:
		return true
	}
	return false
}

// ofMessage reports whether the filter narrows by anything of a message.
func (f filter) ofMessage() bool {
	return slices.ContainsFunc(f, func(n narrowing) bool {
		return n.MaxSize > 0 || len(n.SenderDomains) > 0 || len(n.RecipientDomains) > 0
	})
}
