package agent

import (
	"errors"
	"fmt"
	"io"
	"os"

	agentv1 "example.org/relay/proto/agent/v1"
)

// pullSize is how much of a body is asked for at a time.
const pullSize = 256 << 10

// Body reads the body of a message: what follows the empty line after the header section,
// byte for byte as it came, line ends included. It can be read at OnEndOfData, in the routing
// events and at OnDeliverMailItem, by a handler that decides; the agent must have asked for
// [ReadBody], which those that have OnEndOfData or OnDeliverMailItem do without saying so.
//
// A small body has come with the event. A large one is a file of the relay's, or is pulled
// from the relay as it is read, a piece at a time: it is never in memory as a whole. A Body is
// valid in its handler, on the handler's goroutine, and shows the body as it came to the
// handler, whatever that puts in its place.
type Body struct {
	m      *Message
	offset int64
}

// Body returns a reader that stands at the beginning of the body.
func (m *Message) Body() *Body { return &Body{m: m} }

// Size returns the length in octets; 0 where the body is not shown.
func (b *Body) Size() int64 { return int64(b.m.content.ref.GetBodySize()) }

// Revision counts how often an agent has replaced the body, as shown to this one.
func (b *Body) Revision() int { return int(b.m.content.ref.GetRevision()) }

// Read reads on. The error says where the body cannot be had: not granted, an event that does
// not have it, a relay that does not give it.
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.readAt(p, b.offset)
	b.offset += int64(n)
	return n, err
}

// ReadAt reads len(p) octets from an offset; fewer only with an error, io.EOF at the end.
func (b *Body) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, errors.New("body: a negative offset")
	}
	n := 0
	for n < len(p) {
		m, err := b.readAt(p[n:], offset+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readAt reads at least one octet, or says why it cannot.
func (b *Body) readAt(p []byte, offset int64) (int, error) {
	c := &b.m.content
	if c.ref == nil {
		return 0, b.m.noBody()
	}
	if offset >= b.Size() {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.Size()-offset)]
	switch where := c.ref.Where.(type) {
	case *agentv1.ContentRef_Inline:
		if offset >= int64(len(where.Inline)) {
			return 0, io.ErrUnexpectedEOF
		}
		return copy(p, where.Inline[offset:]), nil
	case *agentv1.ContentRef_File:
		return c.readFile(b.m.s, where.File, p, offset)
	case *agentv1.ContentRef_OnDemand:
		return c.pull(b.m.s, p, offset, b.Size())
	}
	return 0, errors.New("body: the relay gives it in a way that this version of the package does not know")
}

// noBody says why there is no body to read.
func (m *Message) noBody() error {
	s := m.s
	switch {
	case s.conversation == nil || !hasBody(s.event):
		return fmt.Errorf("body: %s has none: it can be read at OnEndOfData, in the routing events and at OnDeliverMailItem", s.event)
	case !s.conversation.agent.may(ReadBody):
		return fmt.Errorf("body: the operator has not granted %s", ReadBody)
	case !s.conversation.agent.can(agentv1.Capability_CAPABILITY_CONTENT_READ):
		return errors.New("body: this relay does not give bodies to agents (capability CONTENT_READ)")
	}
	return errors.New("body: the relay has not shown it")
}

func hasBody(e Event) bool {
	switch e {
	case EventEndOfData, EventSubmittedMessage, EventResolvedMessage, EventRoutedMessage, EventCategorizedMessage, EventDeliverMailItem:
		return true
	}
	return false
}

// content is where a message's body is, with what a handler holds of it.
type content struct {
	ref  *agentv1.ContentRef // nil: not shown
	file *os.File            // opened by the running handler
	err  error               // why the file could not be

	window []byte // a piece pulled by the running handler
	at     int64  // where in the body it begins
}

func (c *content) take(ref *agentv1.ContentRef) {
	c.release()
	c.ref = ref
}

// release gives back what the handler held.
func (c *content) release() {
	if c.file != nil {
		_ = c.file.Close()
	}
	c.file, c.err, c.window = nil, nil, nil
}

func (c *content) readFile(s *Session, f *agentv1.FileRef, p []byte, offset int64) (int, error) {
	if s.watching {
		return 0, errWatching // the file may be another's by now
	}
	if c.file == nil && c.err == nil {
		if c.file, c.err = os.Open(f.Path); c.err != nil {
			c.err = fmt.Errorf("body: the file that the relay has named: %w", c.err)
		}
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.file.ReadAt(p, int64(f.Offset)+offset)
	switch {
	case n > 0:
		return n, nil
	case errors.Is(err, io.EOF):
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// pull reads from the window, which it moves to where it is wanted.
func (c *content) pull(s *Session, p []byte, offset, size int64) (int, error) {
	if offset < c.at || offset >= c.at+int64(len(c.window)) {
		if err := c.fetch(s, offset, min(pullSize, size-offset)); err != nil {
			return 0, err
		}
	}
	return copy(p, c.window[offset-c.at:]), nil
}

func (c *content) fetch(s *Session, offset, length int64) error {
	c.window, c.at = c.window[:0], offset
	read := &agentv1.ReadContent{Offset: uint64(offset), Length: uint64(length)}
	err := s.conversation.ask(&agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Read{Read: read}}, func(f *agentv1.HostFrame) (bool, error) {
		chunk := f.GetContent()
		switch {
		case chunk == nil:
			return false, nil // an answer to something else
		case chunk.Failure != nil:
			return true, fmt.Errorf("body: the relay cannot read it: %s", chunk.Failure.Detail)
		case chunk.Offset != uint64(offset)+uint64(len(c.window)):
			return true, fmt.Errorf("body: the relay sent octets from %d on, asked were those from %d", chunk.Offset, offset+int64(len(c.window)))
		}
		c.window = append(c.window, chunk.Data...)
		return chunk.Last, nil
	})
	if err == nil && int64(len(c.window)) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.window = c.window[:0]
	}
	return err
}
