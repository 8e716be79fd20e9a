package agent

import (
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Quarantine takes the message, 250 to the client, and holds it in the queue until an
// operator lets it go. Only services with a queue have it, at OnEndOfData and in the routing
// events. The agent must have asked for [DiscardMail].
func Quarantine(reason string) Verdict {
	return Verdict{action: agentv1.Action_ACTION_QUARANTINE, reason: reason}
}

// Defer puts off a message in routing or in delivery: it comes again after d at the earliest;
// 0 leaves the time to the relay. In routing it comes as it was committed, without what any
// agent has edited in this pass; the handler's edits are dropped, but for those of the bags. The
// text is what the queue shows as the reason, 451 4.7.1. The agent must have asked for
// [RejectMail], where it does not deliver itself.
func Defer(d time.Duration, text ...string) Verdict {
	v := refusal(agentv1.Action_ACTION_DEFER, 451, "4.7.1", text)
	v.wait = d
	return v
}

// Delete drops a message in routing, without telling the sender. The agent must have asked
// for [DiscardMail].
func Delete() Verdict { return Verdict{action: agentv1.Action_ACTION_DELETE} }

// Connected is the answer of OnOpenConnection where there is a connection. remoteHost is who
// is at its end, for the log and for DSNs.
func Connected(remoteHost string) Verdict {
	return Verdict{connection: queueResult{remoteHost: remoteHost}}
}

// Delivered is the answer of OnDeliverMailItem where the recipients have the message, but for
// those of whom the handler has said otherwise. The text is the remote's reply, 250 2.0.0.
func Delivered(text ...string) Verdict {
	return refusal(agentv1.Action_ACTION_DELIVERED, 250, "2.0.0", text)
}

// DeferQueue puts off all messages of a queue, the one in hand among them, for d at least; 0
// leaves the time to the relay. It is for OnOpenConnection and OnDeliverMailItem.
func DeferQueue(d time.Duration, text ...string) Verdict {
	v := Defer(d, text...)
	v.connection.queue = agentv1.ConnectionResult_QUEUE_FATE_DEFER
	return v
}

// FailQueue fails all messages of a queue, the one in hand among them: their senders are told
// the text, 550 5.7.1. It is for OnOpenConnection and OnDeliverMailItem.
func FailQueue(text ...string) Verdict {
	v := Reject(text...)
	v.connection.queue = agentv1.ConnectionResult_QUEUE_FATE_FAIL
	return v
}

// Unregister says, with any answer of OnDeliverMailItem, that the connection is over: no
// more messages come on it, and OnCloseConnection follows.
func (v Verdict) Unregister() Verdict {
	v.connection.unregister = true
	return v
}

// fillQueue writes what only services with a queue have.
func (v *Verdict) fillQueue(p *agentv1.Verdict) {
	p.DeferMs = milliseconds(v.wait)
	if c := v.connection; c != (queueResult{}) {
		p.Connection = &agentv1.ConnectionResult{RemoteHost: c.remoteHost, Unregister: c.unregister, Queue: c.queue}
	}
}

// queueResult is the wire's ConnectionResult.
type queueResult struct {
	remoteHost string
	unregister bool
	queue      agentv1.ConnectionResult_QueueFate
}

// milliseconds rounds up, so that a wait is never shorter than asked.
func milliseconds(d time.Duration) uint32 {
	const most = time.Duration(1<<32-1) * time.Millisecond
	return uint32((min(max(d, 0), most-time.Millisecond) + time.Millisecond - 1) / time.Millisecond)
}
