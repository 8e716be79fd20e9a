package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	agentv1 "example.org/relay/proto/agent/v1"
)

// uploadSize is how much of a new body goes in a frame.
const uploadSize = 256 << 10

// ReplaceBody puts what r reads in the place of the body: the octets that are to follow the
// empty line, with CRLF line ends. A small body goes with the verdict, a large one is sent to
// the relay while it is read; the relay takes it with the other edits, all or none. Where it is
// called twice, the last counts. The agent must have asked for [ChangeBody]. The error is that
// of r, or says that the relay takes no large bodies; nothing is replaced then.
func (m *Message) ReplaceBody(r io.Reader) error {
	source, err := m.upload(r)
	if err != nil {
		return err
	}
	m.replace(&agentv1.Edit{Op: &agentv1.Edit_ReplaceBody{ReplaceBody: source}})
	return nil
}

// ReplaceMessage is ReplaceBody for the whole message: header section, empty line and body.
// Nothing of what came is kept byte for byte, so that signatures break: most agents want
// ReplaceBody and edits of header fields. The handler cannot edit header fields after it.
func (m *Message) ReplaceMessage(r io.Reader) error {
	source, err := m.upload(r)
	if err != nil {
		return err
	}
	m.replace(&agentv1.Edit{Op: &agentv1.Edit_ReplaceMessage{ReplaceMessage: source}})
	m.replaced = m.s.turn
	return nil
}

// replace records the edit, in the place of one that does the same.
func (m *Message) replace(e *agentv1.Edit) {
	if m.s.turn == m.putTurn {
		m.s.edits = slices.DeleteFunc(m.s.edits, func(o *agentv1.Edit) bool { return o == m.put })
	}
	m.put, m.putTurn, m.replaced = e, m.s.turn, 0
	m.s.record(e)
}

// upload brings what r reads to the relay and returns what an edit calls it.
func (m *Message) upload(r io.Reader) (*agentv1.ContentSource, error) {
	m.s.mayEdit()
	if !hasBody(m.s.event) {
		return nil, fmt.Errorf("new body: %s takes none", m.s.event)
	}
	small, err := io.ReadAll(io.LimitReader(r, agentv1.InlineContentBytes+1))
	if err != nil {
		return nil, err
	}
	if len(small) <= agentv1.InlineContentBytes {
		return &agentv1.ContentSource{From: &agentv1.ContentSource_Inline{Inline: small}}, nil
	}
	c := m.s.conversation
	if !c.agent.can(agentv1.Capability_CAPABILITY_UPLOAD) {
		return nil, fmt.Errorf("new body: this relay takes at most %d octets from an agent (capability UPLOAD)", agentv1.InlineContentBytes)
	}
	m.s.uploads++
	if err := c.send(m.s.uploads, io.MultiReader(bytes.NewReader(small), r)); err != nil {
		return nil, err
	}
	return &agentv1.ContentSource{From: &agentv1.ContentSource_UploadId{UploadId: m.s.uploads}}, nil
}

// send sends what r reads as the chunks of an upload. One that breaks off is never named, and
// the host forgets it with the verdict.
func (c *conversation) send(id uint32, r io.Reader) error {
	data := make([]byte, uploadSize)
	for last := false; !last; {
		n, err := io.ReadFull(r, data)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			last = true
		case err != nil:
			return err
		}
		chunk := &agentv1.UploadChunk{UploadId: id, Data: data[:n], Last: last}
		if err := c.stream.SendMsg(&agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Upload{Upload: chunk}}); err != nil {
			return err
		}
	}
	return nil
}
