package agent

import (
	"slices"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// MailItem is a message on its way from the queue to delivery. Its Session shows the client
// as it was when the message came in; the message's bag is the one that the agents of the
// SMTP events have filled.
type MailItem struct {
	*Message
	facts *agentv1.RoutingDetail
}

// ResolvedItem is a MailItem at OnResolvedMessage, the one place where a recipient can be
// sent another way.
type ResolvedItem struct{ *MailItem }

// Priority says in which order messages of a queue are tried.
type Priority int32

// The priorities.
const (
	PriorityLow    = Priority(agentv1.Priority_PRIORITY_LOW)
	PriorityNormal = Priority(agentv1.Priority_PRIORITY_NORMAL)
	PriorityHigh   = Priority(agentv1.Priority_PRIORITY_HIGH)
)

// Arrival says how a message came into the queue.
type Arrival int32

// The ways in.
const (
	ArrivalSMTP     = Arrival(agentv1.Arrival_ARRIVAL_SMTP)
	ArrivalAgent    = Arrival(agentv1.Arrival_ARRIVAL_AGENT)    // an agent has submitted it
	ArrivalDSN      = Arrival(agentv1.Arrival_ARRIVAL_DSN)      // a notice of the relay's own
	ArrivalOperator = Arrival(agentv1.Arrival_ARRIVAL_OPERATOR) // resubmitted by command
)

// Route is where a recipient's mail goes next.
type Route struct {
	NextHop    string // as the relay's configuration calls it
	Overridden bool   // by an agent's SetRoute
	Agent      string // whose
}

// DSN is what a delivery status notification says became of a recipient. It goes to a sender
// who asked for such, a failure also to one who asked for nothing.
type DSN int32

// The kinds of a DSN (RFC 3464 §2.3.3).
const (
	DSNFailure  = DSN(agentv1.DsnKind_DSN_KIND_FAILURE)
	DSNRelayed  = DSN(agentv1.DsnKind_DSN_KIND_RELAYED)
	DSNExpanded = DSN(agentv1.DsnKind_DSN_KIND_EXPANDED)
)

// QueueID returns the id of this copy in the queue. Copies that were forked share their ID.
func (i *MailItem) QueueID() string { return i.facts.GetQueueId() }

// Received returns when the relay took the message.
func (i *MailItem) Received() time.Time { return time.UnixMilli(i.facts.GetReceivedUnixMs()) }

// Expires returns when what is not delivered is returned to the sender.
func (i *MailItem) Expires() time.Time { return time.UnixMilli(i.facts.GetExpiresUnixMs()) }

// Attempt returns 1, and one more each time the message was deferred and came again.
func (i *MailItem) Attempt() int { return int(i.facts.GetAttempt()) }

// LastReply returns why it was last deferred; the zero Reply where it was not.
func (i *MailItem) LastReply() Reply { return replyOf(i.facts.GetLastReply()) }

// Size returns the octets of header section and body.
func (i *MailItem) Size() int64 { return int64(i.facts.GetSize()) }

// Arrival returns how the message came in.
func (i *MailItem) Arrival() Arrival { return Arrival(i.facts.GetArrival()) }

// SubmittedBy returns the agent that has submitted it, with ArrivalAgent.
func (i *MailItem) SubmittedBy() string { return i.facts.GetSubmittedBy() }

// ForkOf returns the QueueID of the copy it was forked from; empty for the first.
func (i *MailItem) ForkOf() string { return i.facts.GetForkOf() }

// Priority returns the message's priority.
func (i *MailItem) Priority() Priority {
	if p := Priority(i.facts.GetPriority()); p != 0 {
		return p
	}
	return PriorityNormal
}

// SetPriority changes the priority. The agent must have asked for [RouteMail].
func (i *MailItem) SetPriority(p Priority) {
	i.s.mayEdit()
	before := i.facts.Priority
	facts := i.facts
	i.s.onFailure(func() { facts.Priority = before })
	facts.Priority = agentv1.Priority(p)
	i.s.record(&agentv1.Edit{Op: &agentv1.Edit_SetPriority{SetPriority: &agentv1.SetPriority{Priority: facts.Priority}}})
}

// Route returns where the recipient's mail goes, and whether that is known: from
// OnRoutedMessage on it is, before that only what an agent has set.
func (i *MailItem) Route(r Recipient) (Route, bool) {
	for _, route := range i.facts.GetRoutes() {
		if route.RecipientId == r.p.GetId() {
			return Route{route.NextHop, route.Overridden, route.Agent}, true
		}
	}
	return Route{}, false
}

// SetRoute sends the recipient's mail to a next hop, as the relay's configuration calls it,
// in the place of the one that the relay would choose; "" takes back what was set. The agent must have
// asked for [RouteMail]. It panics where an edit of the same handler made the recipient.
func (i *ResolvedItem) SetRoute(r Recipient, nextHop string) {
	i.s.mayEdit()
	id := i.numbered("SetRoute", r)
	before, facts := i.facts.Routes, i.facts
	i.s.onFailure(func() { facts.Routes = before })
	facts.Routes = slices.DeleteFunc(slices.Clone(before), func(o *agentv1.Route) bool { return o.RecipientId == id })
	if nextHop != "" {
		facts.Routes = append(facts.Routes, &agentv1.Route{RecipientId: id, NextHop: nextHop, Overridden: true, Agent: i.s.agent})
	}
	i.s.record(&agentv1.Edit{Op: &agentv1.Edit_SetRoute{SetRoute: &agentv1.SetRoute{RecipientId: id, NextHop: nextHop}}})
}

// Fork lets these recipients go on as a message of their own, which is this one as the edits
// made so far left it. edit changes the clone before it goes; nil changes nothing. The clone
// comes to the same agent at the same event, in a session of its own, after this copy, and then
// goes its own way: an agent that forks must see from the clone that it has. At least one
// recipient must stay. The agent must have asked for [ChangeRecipients]. Fork panics where a
// recipient is none of the message's, or where an edit of the same handler made it.
func (i *MailItem) Fork(recipients []Recipient, edit func(clone *MailItem)) {
	m, s := i.Message, i.s
	m.editRecipients()
	f := &agentv1.Fork{}
	for _, r := range recipients {
		f.RecipientIds = append(f.RecipientIds, m.numbered("Fork", r))
	}
	leave := func(r recipient) bool { return slices.Contains(f.RecipientIds, r.p.GetId()) }
	if edit != nil {
		f.Edits = s.aside(func() { edit(i.clone(leave)) })
	}
	m.recipients = slices.DeleteFunc(slices.Clone(m.recipients), leave)
	s.record(&agentv1.Edit{Op: &agentv1.Edit_Fork{Fork: f}})
}

// clone is the local view of a fork, with the recipients that leave.
func (i *MailItem) clone(leave func(recipient) bool) *MailItem {
	m := *i.Message
	m.recipients = slices.DeleteFunc(slices.Clone(m.recipients), func(r recipient) bool { return !leave(r) })
	m.header = Header{m: &m}
	for _, f := range i.header.all() {
		own := *f
		own.h, own.edit = &m.header, nil
		m.header.fields = append(m.header.fields, &own)
	}
	m.bag = i.bag.clone()
	m.put = nil
	m.content.file, m.content.window = nil, nil
	i.s.message = &m // whose bag the keys mean
	return &MailItem{Message: &m, facts: i.facts}
}

// aside runs f and returns the edits that it made, which are not those of the message in hand.
func (s *Session) aside(f func()) []*agentv1.Edit {
	outer, message := s.edits, s.message
	s.edits = nil
	defer func() { s.edits, s.message = outer, message }()
	f()
	return s.edits
}

// RemoveWithDSN takes a recipient out of the envelope and tells the sender, with the reply's
// code and words, whose class must fit the kind. Only services with a queue do it. The agent
// must have asked for [ChangeRecipients] and [RejectMail].
func (m *Message) RemoveWithDSN(r Recipient, kind DSN, reply Reply) {
	m.takeOut("RemoveWithDSN", r, func(id uint32) *agentv1.Edit {
		return &agentv1.Edit{Op: &agentv1.Edit_RemoveRecipient{RemoveRecipient: &agentv1.RemoveRecipient{
			RecipientId: id, Dsn: true, Kind: agentv1.DsnKind(kind), Reply: reply.wire(),
		}}}
	})
}

// QuarantineRecipient takes a recipient out of the message into a copy that the queue holds
// until an operator lets it go. Only services with a queue do it. The agent must have asked
// for [ChangeRecipients] and [DiscardMail].
func (m *Message) QuarantineRecipient(r Recipient, reason string) {
	m.takeOut("QuarantineRecipient", r, func(id uint32) *agentv1.Edit {
		return &agentv1.Edit{Op: &agentv1.Edit_QuarantineRecipient{QuarantineRecipient: &agentv1.QuarantineRecipient{
			RecipientId: id, Reason: reason,
		}}}
	})
}

// ExpandRecipient is ReplaceRecipient for a mailing list: a sender who asked for notice of
// success is told that the list was expanded, and the members report failures only (RFC 3461
// §5.2.7.3). Only services with a queue do it; addresses that come at OnResolvedMessage or
// later are resolved in a message of their own.
func (m *Message) ExpandRecipient(r Recipient, reply Reply, addresses ...string) {
	m.numbered("ExpandRecipient", r)
	m.ReplaceRecipient(r, addresses...)
	if e := m.s.edits[len(m.s.edits)-1].GetReplaceRecipient(); e != nil {
		e.Expanded, e.Reply = true, reply.wire()
	}
}

// takeOut takes a recipient out by an edit of its id.
func (m *Message) takeOut(what string, r Recipient, edit func(id uint32) *agentv1.Edit) {
	id := m.numbered(what, r)
	m.editRecipients()
	m.recipients = slices.DeleteFunc(slices.Clone(m.recipients), func(o recipient) bool { return o.p.GetId() == id })
	m.s.record(edit(id))
}

// numbered returns the relay's number of a recipient. It panics where there is none.
func (m *Message) numbered(what string, r Recipient) uint32 {
	if r.p.GetId() == 0 {
		panic(what + ": " + r.Address() + " is no recipient that the relay has numbered")
	}
	return r.p.GetId()
}
