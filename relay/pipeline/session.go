package pipeline

import (
	"slices"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// Session is the agents of one role in one SMTP session. Not safe for concurrent use.
type Session struct {
	// State is what agents are shown. Whoever runs the session sets its parts through the
	// methods below, which keep the revisions.
	State event.State

	// HeaderLimit is how many octets the header section may have after an agent's edits,
	// RecipientLimit how many recipients the envelope. What is beyond it already may stay so
	// but not grow. 0: no limit.
	HeaderLimit    int
	RecipientLimit int
	// MessageLimit is how many octets a message of an agent's may have. 0: no limit.
	MessageLimit int64

	// Sender sends what agents submit; nil: they cannot.
	Sender Sender
	// Submitted are the agents whose submissions the message at hand has come of, the last one last,
	// until the transaction ends.
	Submitted []string

	pipeline *Pipeline
	order    *Snapshot
	parts    []part // Invariant: parts[i] is that of order.bindings[i]
	closed   bool

	// The revisions of State.Envelope and State.Header that State's own revisions count.
	envelopeSeen, headerSeen uint64

	turn      turn
	protected []uint32 // ids of header fields that no agent may touch
	entries   []Entry
}

// Open begins a session with the order of agents now in force.
func (p *Pipeline) Open(id string, conn *event.Connection) *Session {
	s := &Session{State: event.State{SessionID: id, Connection: conn}, pipeline: p}
	s.State.Submitter = &s.turn
	s.take(p.Current())
	return s
}

// SetClient replaces what the client said of itself.
func (s *Session) SetClient(c event.Client) {
	s.State.Client = c
	s.State.ClientRevision++
}

// Begin begins a transaction: the newest order of agents is taken, and conversations with
// agents that are not in it any more are ended. A transaction that is under way is over.
func (s *Session) Begin(envelope *mail.Envelope) {
	s.EndTransaction()
	s.hold(envelope)
	s.State.Envelope = envelope
	s.State.EnvelopeRevision++
	if envelope != nil {
		s.envelopeSeen = envelope.Revision
	}
}

// hold takes the newest order and makes sure that its agents stay for this transaction: one
// that is disabled meanwhile is kept by those who have a conversation with it. There is none with an
// agent that the transaction does not concern; one that it comes to concern, because another has
// changed the sender, is not held. An order that was replaced before all were held is not taken.
func (s *Session) hold(envelope *mail.Envelope) {
	begun := s.State
	begun.Envelope = envelope
	for {
		now := s.pipeline.Current()
		if now != s.order {
			s.take(now)
		}
		for i := range s.parts {
			if p := &s.parts[i]; s.order.mayConcern(i, &begun) {
				p.hold(s.State.SessionID)
			}
		}
		if s.pipeline.Current() == now {
			return
		}
	}
}

// SetHeader shows the header section to the agents from now on.
func (s *Session) SetHeader(h *mail.Header) {
	s.State.Header = h
	s.State.HeaderRevision++
	if h != nil {
		s.headerSeen = h.Revision
	}
}

// ProtectFields keeps agents from changing or removing these fields of the header section:
// the trace that the relay itself adds. It holds until the transaction ends.
func (s *Session) ProtectFields(ids ...uint32) { s.protected = append(s.protected, ids...) }

// EndTransaction takes envelope, header and message bag away.
func (s *Session) EndTransaction() {
	s.flush()
	for i := range s.parts {
		s.parts[i].letGo()
	}
	s.protected, s.Submitted = s.protected[:0], nil
	if s.State.Envelope != nil {
		s.State.Envelope = nil
		s.State.EnvelopeRevision++
	}
	if s.State.Header != nil {
		s.State.Header = nil
		s.State.HeaderRevision++
	}
	ofMessage := func(p event.Property) bool { return p.Scope == event.ScopeMessage }
	if slices.ContainsFunc(s.State.Bag, ofMessage) {
		s.State.Bag = slices.DeleteFunc(s.State.Bag, ofMessage)
		s.State.BagRevision++
	}
}

// flush shows agents what they only watch while the envelope and header that it speaks of
// are still there.
func (s *Session) flush() {
	if s.State.Envelope == nil && s.State.Header == nil {
		return
	}
	for i := range s.parts {
		if p := &s.parts[i]; p.needsState {
			s.notice()
			p.deliver(&s.State)
		}
	}
}

// notice brings State's revisions up to date with changes that others have made to envelope
// and header since.
func (s *Session) notice() {
	if e := s.State.Envelope; e != nil && e.Revision != s.envelopeSeen {
		s.envelopeSeen = e.Revision
		s.State.EnvelopeRevision++
	}
	if h := s.State.Header; h != nil && h.Revision != s.headerSeen {
		s.headerSeen = h.Revision
		s.State.HeaderRevision++
	}
}

// take puts an order in force for this session. Agents that are in both keep their part.
func (s *Session) take(order *Snapshot) {
	old, kept := s.parts, make([]part, len(order.bindings))
	for i, b := range order.bindings {
		kept[i].binding = b
		for j := range old {
			if was := old[j].binding; was != nil && was.Name == b.Name && was.Agent == b.Agent {
				kept[i] = old[j]
				kept[i].binding = b
				kept[i].cut = false // in force again, or its next answer says that it is gone
				old[j] = part{}
				break
			}
		}
	}
	for i := range old {
		old[i].end(&s.State, event.DisconnectHostClosed)
	}
	s.order, s.parts = order, kept
}

// Close ends the session; Disconnect is fired to those bound to it.
func (s *Session) Close(reason event.DisconnectReason) {
	if s.closed {
		return
	}
	s.closed = true
	s.notice()
	ev := event.Event{Kind: event.Disconnect, Disconnect: reason, Notify: true}
	chain := s.order.byKind[event.Disconnect]
	for i := s.next(&ev, 0); i >= 0; i = s.next(&ev, i+1) {
		p := &s.parts[chain[i].index]
		p.open(s.State.SessionID)
		p.add(ev)
	}
	for i := range s.parts {
		p := &s.parts[i]
		if len(p.queue) > 0 {
			p.open(s.State.SessionID)
		}
		p.end(&s.State, reason)
	}
}
