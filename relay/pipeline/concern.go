package pipeline

import "example.org/relay/relay/event"

// Bound reports whether any agent may see the event in this session, whatever comes of it.
func (s *Session) Bound(k event.Kind) bool {
	ev := event.Event{Kind: k}
	chain := s.order.byKind[k]
	for i := range chain {
		if b := &chain[i]; !s.parts[b.index].deaf(k) && b.filter.passes(&ev, &s.State, byDirection) {
			return true
		}
	}
	return false
}

// Concerned reports whether any agent is to be shown this event as things are.
func (s *Session) Concerned(ev *event.Event) bool { return s.next(ev, 0) >= 0 }

// next returns the place in the event's chain of the first agent, from at on, that is to be shown it;
// -1: there is none.
func (s *Session) next(ev *event.Event, at int) int {
	chain := s.order.byKind[ev.Kind]
	for i := at; i < len(chain); i++ {
		if s.concerns(&chain[i], ev) {
			return i
		}
	}
	return -1
}

func (s *Session) concerns(b *bound, ev *event.Event) bool {
	p := &s.parts[b.index]
	return !p.deaf(ev.Kind) && (len(b.filter) == 0 || s.within(b, p, ev))
}

// within reports whether the event is within what the agent is narrowed to. The end of a session is
// told to those who have been shown something of it: nothing else would let an agent that is narrowed
// by messages give up what it keeps of a session.
func (s *Session) within(b *bound, p *part, ev *event.Event) bool {
	if ev.Kind != event.Disconnect {
		return b.filter.passes(ev, &s.State, byRecipient)
	}
	if !b.filter.passes(ev, &s.State, byDirection) {
		return false
	}
	return p.seq > 0 || !b.filter.ofMessage() && b.filter.passes(ev, &s.State, byLogin)
}

// LateRecipients reports whether an agent that may be asked in this transaction has declared that it
// changes recipients at DataCommand or later, so that they must not be verified before.
func (s *Session) LateRecipients() bool {
	for i := range s.order.late {
		if s.late(&s.order.late[i]) {
			return true
		}
	}
	return false
}

// late reports whether the agent may be asked there in this transaction. What the client is and has
// said of the size stays as it is until then; whom the mail is from and for may be changed by another
// agent.
func (s *Session) late(b *bound) bool {
	p := &s.parts[b.index]
	ev := event.Event{Kind: event.MailCommand}
	return !p.detached && !p.cut && b.filter.passes(&ev, &s.State, bySize)
}

// mayConcern reports whether the agent in this place may be shown anything of a transaction that begins
// so, or of the session before it ends. Recipients are not known yet.
func (o *Snapshot) mayConcern(index int, begun *event.State) bool {
	ev := event.Event{Kind: event.MailCommand}
	for _, f := range o.filters[index] {
		if f.passes(&ev, begun, bySender) {
			return true
		}
	}
	return false
}
