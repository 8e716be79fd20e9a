package agent

import (
	"slices"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Connection is a delivery agent's connection to where it delivers: OnOpenConnection,
// OnDeliverMailItem for one message after the other, OnCloseConnection. It is valid in the
// handler it is given to, on that handler's goroutine.
type Connection struct{ s *Session }

// delivery is what a session of that kind knows.
type delivery struct {
	facts   *agentv1.DeliveryDetail
	kept    any
	results []*agentv1.RecipientResult // of the running handler
}

func connection(s *Session, e *agentv1.Event) *Connection {
	if d := e.GetDelivery(); d != nil {
		s.delivery.facts = d
	}
	return &Connection{s}
}

// ID returns the session's id, as in the relay's log.
func (c *Connection) ID() string { return c.s.id }

// Session returns the session, which has the bag. It has no client.
func (c *Connection) Session() *Session { return c.s }

// NextHop returns whose queue it is, as the relay's configuration calls it.
func (c *Connection) NextHop() string { return c.s.delivery.facts.GetNextHop() }

// Domain returns the recipients' domain, where the queue is that of one.
func (c *Connection) Domain() string { return c.s.delivery.facts.GetDomain() }

// Waiting returns how many messages wait at least, at OnOpenConnection.
func (c *Connection) Waiting() int { return int(c.s.delivery.facts.GetWaiting()) }

// RemoteHost returns who the agent has said it is connected to, with [Connected].
func (c *Connection) RemoteHost() string { return c.s.delivery.facts.GetRemoteHost() }

// Keep holds a value of the agent's own for the handlers to come on this connection, such as
// its net.Conn. It is not in the bag and is lost with the process.
func (c *Connection) Keep(value any) { c.s.delivery.kept = value }

// Kept returns what Keep was given; nil where it was not, or in another process.
func (c *Connection) Kept() any { return c.s.delivery.kept }

// DeliveryItem is a message to deliver. It cannot be edited.
type DeliveryItem struct{ *MailItem }

// Attempt returns the attempt of delivery, from 1.
func (i *DeliveryItem) Attempt() int { return int(i.s.delivery.facts.GetAttempt()) }

// Recipients returns those who are to be delivered now; the envelope may have more.
func (i *DeliveryItem) Recipients() []Recipient {
	ids := i.s.delivery.facts.GetRecipientIds()
	return slices.DeleteFunc(i.Message.Recipients(), func(r Recipient) bool { return !slices.Contains(ids, r.p.GetId()) })
}

// Delivered says that a recipient has the message. reply is the remote's, 2yz.
//
// The verdict of the handler is for the recipients of whom it has said nothing.
func (i *DeliveryItem) Delivered(r Recipient, reply Reply) {
	i.result(r, &agentv1.RecipientResult{Action: agentv1.Action_ACTION_DELIVERED, Reply: reply.wire()})
}

// Deferred says that a recipient is to be tried again after d at the earliest; 0 leaves the
// time to the relay. reply is the remote's, 4yz.
func (i *DeliveryItem) Deferred(r Recipient, d time.Duration, reply Reply) {
	i.result(r, &agentv1.RecipientResult{Action: agentv1.Action_ACTION_DEFER, Reply: reply.wire(), DeferMs: milliseconds(d)})
}

// Failed says that a recipient cannot be delivered: the sender is told. reply is the
// remote's, 5yz.
func (i *DeliveryItem) Failed(r Recipient, reply Reply) {
	i.result(r, &agentv1.RecipientResult{Action: agentv1.Action_ACTION_REJECT, Reply: reply.wire()})
}

// result notes what became of a recipient; the last counts.
func (i *DeliveryItem) result(r Recipient, result *agentv1.RecipientResult) {
	result.RecipientId = i.numbered("result", r)
	d := &i.s.delivery
	d.results = slices.DeleteFunc(d.results, func(o *agentv1.RecipientResult) bool { return o.RecipientId == result.RecipientId })
	d.results = append(d.results, result)
}

// fill moves the results to the verdict.
func (d *delivery) fill(v *agentv1.Verdict) {
	v.RecipientResults, d.results = d.results, nil
}

// takeItem begins another message where an event brings one of the queue.
func (s *Session) takeItem(e *agentv1.Event) {
	d := e.GetDelivery()
	if d == nil || e.Type != agentv1.EventType_EVENT_TYPE_DELIVER_MAIL_ITEM {
		return
	}
	if s.message == nil || s.delivery.facts.GetQueueId() != d.QueueId {
		s.message = newMessage(s)
	}
}
