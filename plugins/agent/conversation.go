package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
)

// maxState bounds the state a host may send in chunks; the relay's own limits are far below.
const maxState = 64 << 20

// conversation is one Session stream: one SMTP session after the other, on one goroutine.
// The frames are used again, because objects are what an event costs most.
type conversation struct {
	service *service
	stream  grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]
	agent   *instance
	session *Session

	in       agentv1.HostFrame
	verdicts agentv1.Verdicts
	frame    agentv1.AgentFrame // holds verdicts
	answered []*agentv1.Verdict // all verdict objects made so far; verdicts has the first of them

	envelope, headers []byte     // state that comes in chunks before its Events frame
	asking            sync.Mutex // held while a message is submitted
	deciding          bool       // guarded by asking: a handler runs whose verdict is awaited
	submitted         uint32     // the last submission's id
	limit             *deadline  // of the frame in hand; nil: none

	broken error // the host broke the contract in the middle of a handler
}

var sessionEnded = &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Ended{Ended: &agentv1.SessionEnded{}}}

func newConversation(p *service, stream grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]) *conversation {
	c := &conversation{service: p, stream: stream}
	c.frame.Frame = &agentv1.AgentFrame_Verdicts{Verdicts: &c.verdicts}
	return c
}

func (c *conversation) run() error {
	for {
		if err := c.stream.RecvMsg(&c.in); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := c.hear(); err != nil {
			return err
		}
	}
}

// hear handles one frame. Frames this version does not know are ignored.
func (c *conversation) hear() error {
	switch f := c.in.Frame.(type) {
	case *agentv1.HostFrame_Start:
		c.begin(f.Start)
		return nil
	case *agentv1.HostFrame_State:
		return c.chunk(f.State)
	case *agentv1.HostFrame_Events:
		if c.session == nil {
			return status.Error(codes.InvalidArgument, "events before the start of a session")
		}
		return c.answer(f.Events)
	case *agentv1.HostFrame_End:
		return c.end(f.End)
	}
	return nil
}

// begin takes the newest agent value for the session, to the end of its first transaction.
func (c *conversation) begin(start *agentv1.SessionStart) {
	c.agent = c.service.current.Load()
	c.session = &Session{
		id: start.SessionId, agent: c.agent.name, resumed: start.Resumed, turn: 1, kind: start.Kind, conversation: c,
	}
	c.session.takeProperties(start.Properties)
	c.envelope, c.headers = nil, nil
}

// chunk gathers a part of the state that is larger than a frame.
func (c *conversation) chunk(s *agentv1.StateChunk) error {
	if len(c.envelope)+len(c.headers)+len(s.Data) > maxState {
		return status.Error(codes.ResourceExhausted, "the state of the session is too large")
	}
	switch s.Part {
	case agentv1.StateChunk_PART_ENVELOPE:
		c.envelope = append(c.envelope, s.Data...)
	case agentv1.StateChunk_PART_HEADERS:
		c.headers = append(c.headers, s.Data...)
	}
	return nil
}

// join attaches what came in chunks to the first event of the frame.
func (c *conversation) join(e *agentv1.Event) error {
	if c.envelope != nil {
		whole := &agentv1.Envelope{}
		if err := proto.Unmarshal(c.envelope, whole); err != nil {
			return status.Errorf(codes.InvalidArgument, "envelope in chunks: %v", err)
		}
		e.Envelope, c.envelope = whole, nil
	}
	if c.headers != nil {
		whole := &agentv1.HeaderBlock{}
		if err := proto.Unmarshal(c.headers, whole); err != nil {
			return status.Errorf(codes.InvalidArgument, "headers in chunks: %v", err)
		}
		e.Headers, c.headers = whole, nil
	}
	return nil
}

// answer runs the handlers of a frame's events, in order, and sends the verdicts.
func (c *conversation) answer(f *agentv1.Events) error {
	c.verdicts.Verdicts = c.verdicts.Verdicts[:0]
	if err := c.handle(f.Events, f.TimeoutMs); err != nil {
		return err
	}
	if len(c.verdicts.Verdicts) == 0 {
		return nil
	}
	return c.stream.SendMsg(&c.frame)
}

// end runs the handlers of the events still pending and gives the stream back.
func (c *conversation) end(f *agentv1.SessionEnd) error {
	c.verdicts.Verdicts = c.verdicts.Verdicts[:0]
	if c.session != nil {
		for _, e := range f.Events {
			e.Notify = true
		}
		if err := c.handle(f.Events, 0); err != nil {
			return err
		}
	}
	c.session, c.agent = nil, nil
	return c.stream.SendMsg(sessionEnded)
}

func (c *conversation) handle(events []*agentv1.Event, timeout uint32) error {
	if len(events) == 0 {
		return nil
	}
	if err := c.join(events[0]); err != nil {
		return err
	}
	ctx := c.stream.Context()
	if c.limit = nil; timeout > 0 {
		d := withDeadline(ctx, time.Duration(timeout)*time.Millisecond)
		defer d.end()
		ctx, c.limit = d, d
	}
	for _, e := range events {
		c.take(e)
		if e.Notify {
			c.notify(ctx, e)
		} else {
			c.decide(ctx, e)
		}
		if c.broken != nil {
			return c.broken
		}
	}
	return nil
}

// take brings the session up to an event. With another transaction comes the newest agent
// value: a client may keep its session for hours, new settings are for the next message. A
// delivery keeps its own to the end, which holds the connection.
func (c *conversation) take(e *agentv1.Event) {
	before := c.session.message
	c.session.take(e)
	c.session.event = Event(e.Type)
	if c.session.message != before && c.session.kind != agentv1.SessionKind_SESSION_KIND_DELIVERY {
		c.agent = c.service.current.Load()
	}
}

// handlerOf returns the handler for an event; one without a call for those not bound.
func (c *conversation) handlerOf(e *agentv1.Event) handler {
	if e.Type < 0 || int(e.Type) >= len(c.agent.calls) {
		return handler{}
	}
	return c.agent.calls[e.Type]
}

// notify runs a watching handler. What it set in the bags goes with the next verdict.
func (c *conversation) notify(ctx context.Context, e *agentv1.Event) {
	h := c.handlerOf(e)
	if h.call == nil {
		return
	}
	s := c.session
	s.watching = true
	edits := len(s.edits)
	if _, err := c.protect(ctx, h, e); err != nil {
		s.rollBack(edits)
	}
	s.watching = false
	s.nextTurn()
}

// decide runs a handler and adds its verdict to the frame.
func (c *conversation) decide(ctx context.Context, e *agentv1.Event) {
	v := c.next()
	v.Seq = e.Seq
	s := c.session
	edits := len(s.edits)
	if h := c.handlerOf(e); h.call != nil {
		s.watching = !h.decides
		c.setDeciding(h.decides)
		verdict, err := c.protect(ctx, h, e)
		c.setDeciding(false) // waits for a goroutine of the handler's that is submitting
		s.watching = false
		verdict.fill(v)
		s.delivery.fill(v)
		if err != nil {
			v.Failure = &agentv1.Failure{Kind: agentv1.Failure_KIND_INTERNAL, Detail: err.Error()}
		}
	}
	c.attachEdits(v, edits)
	s.nextTurn()
}

func (c *conversation) setDeciding(now bool) {
	c.asking.Lock()
	c.deciding = now
	c.asking.Unlock()
}

// attachEdits moves the edits to the verdict; those of a handler that failed are dropped.
// Edits beyond what a frame can take fail the verdict here, where the author is told how many.
func (c *conversation) attachEdits(v *agentv1.Verdict, before int) {
	s := c.session
	if v.Failure == nil && len(s.edits) > 0 {
		if problem := tooMuch(s.edits); problem != "" {
			seq := v.Seq
			v.Reset()
			v.Seq = seq
			v.Failure = &agentv1.Failure{Kind: agentv1.Failure_KIND_INTERNAL, Detail: problem}
		}
	}
	if v.Failure != nil {
		v.RecipientResults = nil
		s.rollBack(before)
		if tooMuch(s.edits) != "" {
			s.edits = nil
		}
		return // what handlers that only watched have set goes with the next verdict
	}
	if v.Action == agentv1.Action_ACTION_DEFER { // it comes again as it was committed
		s.edits = slices.DeleteFunc(s.edits, func(e *agentv1.Edit) bool { return e.GetSetProperty() == nil })
	}
	if len(s.edits) > 0 {
		v.Edits = s.edits
		s.edits = nil
	}
}

func tooMuch(edits []*agentv1.Edit) string {
	if len(edits) > agentv1.MaxEdits {
		return fmt.Sprintf("%d edits; a verdict may have %d", len(edits), agentv1.MaxEdits)
	}
	size := 0
	for _, e := range edits {
		size += proto.Size(e)
	}
	if limit := agentv1.MaxFrameBytes - 4096; size > limit {
		return fmt.Sprintf("edits of %d bytes; a verdict may have %d", size, limit)
	}
	return ""
}

// protect calls a handler. A panic is the handler's failure and costs nobody else anything.
func (c *conversation) protect(ctx context.Context, h handler, e *agentv1.Event) (v Verdict, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.agent.log.Error("panic in "+h.name, "session", c.session.id, "panic", r, "stack", string(debug.Stack()))
			v, err = Verdict{}, fmt.Errorf("panic in %s: %v", h.name, r)
		}
	}()
	return h.call(ctx, c.session, e), nil
}

// next returns a cleared verdict that is part of the frame.
func (c *conversation) next() *agentv1.Verdict {
	n := len(c.verdicts.Verdicts)
	if n == len(c.answered) {
		c.answered = append(c.answered, &agentv1.Verdict{})
	}
	v := c.answered[n]
	v.Reset()
	c.verdicts.Verdicts = append(c.verdicts.Verdicts, v)
	return v
}
