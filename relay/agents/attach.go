package agents

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// shown is what of a session's state an agent has been shown on the stream in use.
type shown struct {
	started    bool
	connection bool
	// The revisions shown, plus one: 0 is nothing.
	client, envelope, header, bag uint64

	message    string // id of the envelope shown
	properties []event.Property
}

// start begins the session on the stream. Entries of the message bag come with the message,
// since they belong to its envelope.
func (s *stream) start(c *Conversation, state *event.State) error {
	start := &agentv1.SessionStart{SessionId: c.session, Kind: agentv1.SessionKind_SESSION_KIND_SMTP, Resumed: c.resumed}
	for i := range state.Bag {
		if p := &state.Bag[i]; p.Scope == event.ScopeSession && c.sees(p) {
			start.Properties = append(start.Properties, propertyOf(p, false))
			c.shown.properties = append(c.shown.properties, *p)
		}
	}
	c.shown.started = true
	return s.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_Start{Start: start}})
}

// sees reports whether the agent may read the entry.
func (c *Conversation) sees(p *event.Property) bool { return !p.Private || p.Agent == c.agent.Name() }

// attach puts on the event what the agent has not seen of the state. Headers go only with
// events that subscribed them.
func (s *stream) attach(w *agentv1.Event, c *Conversation, state *event.State, headers bool) error {
	seen := &c.shown
	if !seen.connection && state.Connection != nil {
		w.Connection, seen.connection = connectionInfo(state.Connection), true
	}
	if seen.client != state.ClientRevision+1 {
		w.Client, seen.client = clientState(&state.Client), state.ClientRevision+1
	}
	if seen.envelope != state.EnvelopeRevision+1 {
		if err := s.attachEnvelope(w, c, state); err != nil {
			return err
		}
	}
	if headers && state.Header != nil && seen.header != state.HeaderRevision+1 {
		fillHeaders(&s.headers, state.Header, s.inst.terms.Load().headerNames)
		if n := len(s.headers.Raw) + 8*len(s.headers.End); n > s.inline(largeHeaders) {
			if err := s.large(c, agentv1.StateChunk_PART_HEADERS, &s.headers); err != nil {
				return err
			}
		} else {
			w.Headers = &s.headers
		}
		seen.header = state.HeaderRevision + 1
	}
	if seen.bag != state.BagRevision+1 {
		s.attachBag(w, c, state)
		seen.bag = state.BagRevision + 1
	}
	return nil
}

func (s *stream) attachEnvelope(w *agentv1.Event, c *Conversation, state *event.State) error {
	seen := &c.shown
	id := ""
	if state.Envelope != nil {
		id = state.Envelope.ID
	}
	known := seen.envelope != 0
	seen.envelope = state.EnvelopeRevision + 1
	if id != seen.message {
		// Another message has another bag: the entries of the last one are gone with it.
		seen.properties = without(seen.properties, event.ScopeMessage)
		seen.message, seen.bag, seen.header = id, 0, 0
	}
	if state.Envelope == nil && !known {
		return nil
	}
	envelope := envelopeOf(state.Envelope)
	if len(envelope.Recipients) > manyRecipients && proto.Size(envelope) > s.inline(largeEnvelope) {
		return s.large(c, agentv1.StateChunk_PART_ENVELOPE, envelope)
	}
	w.Envelope = envelope
	return nil
}

// inline is up to what size a part goes with the event.
func (s *stream) inline(size int) int {
	if s.inst.terms.Load().largeState {
		return size
	}
	return largestPart
}

func (s *stream) large(c *Conversation, part agentv1.StateChunk_Part, m proto.Message) error {
	if !s.inst.terms.Load().largeState {
		return fmt.Errorf("%w: %s larger than a frame, and it takes none in chunks", event.ErrFailed, part)
	}
	return s.chunks(part, m)
}

func without(list []event.Property, scope event.Scope) []event.Property {
	kept := list[:0]
	for _, p := range list {
		if p.Scope != scope {
			kept = append(kept, p)
		}
	}
	return kept
}

// attachBag sends the entries that changed since they were shown.
func (s *stream) attachBag(w *agentv1.Event, c *Conversation, state *event.State) {
	seen := c.shown.properties
	var now []event.Property
	for i := range state.Bag {
		p := &state.Bag[i]
		if !c.sees(p) {
			continue
		}
		now = append(now, *p)
		if old := entry(seen, p); old == nil || !bytes.Equal(old.Value, p.Value) {
			w.Properties = append(w.Properties, propertyOf(p, false))
		}
	}
	for i := range seen {
		if entry(now, &seen[i]) == nil {
			w.Properties = append(w.Properties, propertyOf(&seen[i], true))
		}
	}
	c.shown.properties = now
}

func entry(list []event.Property, like *event.Property) *event.Property {
	for i := range list {
		if p := &list[i]; p.Scope == like.Scope && p.Agent == like.Agent && p.Key == like.Key {
			return p
		}
	}
	return nil
}
