package agent

import (
	"strings"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Verdict is a handler's answer. The zero Verdict continues.
type Verdict struct {
	action   agentv1.Action
	code     uint32
	enhanced string
	lines    []string
	reason   string
	failure  error

	wait       time.Duration // with DEFER
	connection queueResult
}

// Continue lets the event go on to the next agent.
func Continue() Verdict { return Verdict{} }

// Accept lets the event pass and asks no further agents about it.
func Accept() Verdict { return Verdict{action: agentv1.Action_ACTION_ACCEPT} }

// Reject refuses the command, the recipient or the message for good: 550 5.7.1 with the
// text, or the relay's own words where none is given. Each text is a line of the reply.
// The agent must have asked for [RejectMail].
func Reject(text ...string) Verdict {
	return refusal(agentv1.Action_ACTION_REJECT, 550, "5.7.1", text)
}

// TempFail refuses for now: 451 4.7.1 with the text. The client will try again.
// The agent must have asked for [RejectMail].
func TempFail(text ...string) Verdict {
	return refusal(agentv1.Action_ACTION_TEMPFAIL, 451, "4.7.1", text)
}

// Disconnect answers 421 4.7.0 with the text and closes the connection.
// The agent must have asked for [RejectMail].
func Disconnect(text ...string) Verdict {
	return refusal(agentv1.Action_ACTION_DISCONNECT, 421, "4.7.0", text)
}

// Discard answers 250 to the client and drops the message. The relay logs it.
// The agent must have asked for [DiscardMail].
func Discard() Verdict { return Verdict{action: agentv1.Action_ACTION_DISCARD} }

// Skip continues, and asks for no more events of this kind in this session.
func Skip() Verdict { return Verdict{action: agentv1.Action_ACTION_SKIP} }

// Detach continues, and asks for nothing more of this session.
func Detach() Verdict { return Verdict{action: agentv1.Action_ACTION_DETACH} }

// Fail says that the agent could not judge (its database is away, say): the operator's
// failure policy for this agent decides. The error goes to the log, never to the client.
// The handler's edits are dropped.
func Fail(err error) Verdict { return Verdict{failure: err} }

// Code replaces the reply code and the enhanced status code of a refusal, as in
// Reject("no such user").Code(550, "5.1.1"). An empty enhanced code leaves its choice
// to the relay. The relay checks that both fit the action.
func (v Verdict) Code(code int, enhanced string) Verdict {
	v.code, v.enhanced = uint32(code), enhanced
	return v
}

// Text gives the words of the reply, as for Reject. With Continue it is the answer to
// HELP and NOOP.
func (v Verdict) Text(lines ...string) Verdict {
	v.lines = split(lines)
	return v
}

// Because gives the reason for log and trace. The client never sees it.
func (v Verdict) Because(reason string) Verdict {
	v.reason = reason
	return v
}

func refusal(a agentv1.Action, code uint32, enhanced string, text []string) Verdict {
	v := Verdict{action: a, lines: split(text)}
	if len(text) > 0 {
		v.code, v.enhanced = code, enhanced
	}
	return v
}

// split keeps a line break in a text from being a bad reply: it makes two lines of it.
func split(text []string) []string {
	var lines []string
	for _, t := range text {
		for line := range strings.Lines(t) {
			lines = append(lines, strings.TrimRight(line, "\r\n"))
		}
	}
	return lines
}

// fill writes v into a cleared p.
func (v *Verdict) fill(p *agentv1.Verdict) {
	p.Action = v.action
	p.Reason = v.reason
	if v.code != 0 || len(v.lines) > 0 {
		p.Reply = &agentv1.Reply{Code: v.code, Enhanced: v.enhanced, Lines: v.lines}
	}
	if v.failure != nil {
		p.Failure = &agentv1.Failure{Kind: agentv1.Failure_KIND_TRANSIENT, Detail: v.failure.Error()}
	}
	v.fillQueue(p)
}
