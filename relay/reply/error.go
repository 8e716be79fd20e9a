package reply

import (
	"context"
	"errors"
	"os"
)

// Error is a fault with two audiences: Reply is for the peer, short and truthful; Op and
// Err are for the log. Only Reply ever reaches the wire.
type Error struct {
	Reply Reply
	Op    string // what was being done
	Err   error  // the cause; may be nil
	// Agent is the agent that decided this reply, NextHop the address of the next hop whose
	// reply it is. Both empty: a rule of the relay.
	Agent, NextHop string
	Reason         string // the agent's own words for the log
	// Hangup closes the connection after the reply.
	Hangup bool
}

// Error prints the side of the log.
func (e *Error) Error() string {
	s := e.Reply.String()
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Refuse makes the error of a rule of the relay.
func Refuse(r Reply) *Error { return &Error{Reply: r} }

// From is the one door from an error to the wire. A nil error is no reply. An Error's
// Reply is told as it is; a deadline is 451 4.4.5; anything else is a fault of ours:
// 451 4.3.0 without detail. A permanent refusal is always somebody's explicit decision.
func From(err error) Reply {
	if err == nil {
		return Reply{}
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Reply
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return New(451, Enhanced{Subject: 4, Detail: 5}, "timed out, try again later")
	}
	return New(451, Enhanced{Subject: 3, Detail: 0}, "internal error, try again later")
}
