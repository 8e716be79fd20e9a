package agent

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "example.org/relay/proto/agent/v1"
)

// errWatching: the host awaits nothing of a handler that only watches, and answers it nothing.
var errWatching = errors.New("a handler that only watches cannot ask the relay for anything: give it a Verdict as its result")

// ask sends a frame in the middle of a handler, on its goroutine, and gives the host's frames to
// take until that says that the answer is complete. Frames that this version does not know
// are passed over; one that may not come while an event awaits its verdict ends the stream.
func (c *conversation) ask(f *agentv1.AgentFrame, take func(*agentv1.HostFrame) (done bool, err error)) error {
	if c.session.watching {
		return errWatching
	}
	if err := c.stream.SendMsg(f); err != nil {
		return err
	}
	for {
		answer := &agentv1.HostFrame{} // c.in holds the events in hand
		if err := c.stream.RecvMsg(answer); err != nil {
			return err
		}
		switch answer.Frame.(type) {
		case nil:
			continue
		case *agentv1.HostFrame_Start, *agentv1.HostFrame_Events, *agentv1.HostFrame_End, *agentv1.HostFrame_State:
			c.broken = status.Error(codes.InvalidArgument, "a frame that may not come while an event awaits its verdict")
			return c.broken
		}
		if done, err := take(answer); done || err != nil {
			return err
		}
	}
}
