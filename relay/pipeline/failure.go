package pipeline

import (
	"errors"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// ChainLimit is the time that all agents together have for one event. A client gives up on a
// command after 5 minutes, on DATA after 2, on handing over a piece of content after 3
// (RFC 5321 §4.5.3.2.1–5) and on the reply to the content after 10 (§4.5.3.2.6); the next hop
// may take another 60 seconds of that.
func ChainLimit(k event.Kind) time.Duration {
	switch k {
	// Nobody reads the content during these two: below 3 minutes with the next hop's part.
	case event.EndOfHeaders:
		return 80 * time.Second
	case event.ProxyInboundMessage:
		return 30 * time.Second
	case event.EndOfData:
		return 4 * time.Minute
	default:
		return time.Minute // below DATA's 2 minutes with the next hop's part
	}
}

// fail applies the failure policy: who is to blame for what is in the log, what the client
// hears is ours. It reports whether the chain is over.
func (s *Session) fail(p *part, k event.Kind, err error, d *Decision) bool {
	e := Entry{Agent: p.binding.Name, At: k, Action: event.Continue, Err: err}
	if p.binding.OnFailure != Continue || errors.Is(err, event.ErrPoison) {
		e.Action = event.TempFail
	}
	// A reply has been given already, or nobody is there to have one.
	if k == event.Reject || k == event.Disconnect {
		e.Action = event.Continue
	}
	s.note(e)
	if e.Action == event.Continue {
		return false
	}
	*d = Decision{Action: event.TempFail, Reply: failureReply(k), Agent: p.binding.Name, At: k, Err: err}
	return true
}

// abandon is for a session that ended while an agent thought: nobody's fault, and no agent
// was asked, so nothing may pass.
func (s *Session) abandon(p *part, k event.Kind, err error, d *Decision) bool {
	s.note(Entry{Agent: p.binding.Name, At: k, Action: event.TempFail, Err: err})
	if k != event.Reject {
		*d = Decision{Action: event.TempFail, Reply: failureReply(k), Agent: p.binding.Name, At: k, Err: err}
	}
	return true
}

// failureReply is what the client hears of a broken agent: nothing of the agent.
func failureReply(k event.Kind) reply.Reply {
	code := 451
	if k == event.Connect {
		code = 421 // RFC 5321 §4.3.2: what a server may say in place of its greeting
	}
	return reply.New(code, reply.Enhanced{Subject: 3}, "temporarily unavailable, try again later")
}
