package agenttest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// Mail is a message in the queue.
type Mail struct {
	From     string
	To       []string
	Header   string // lines that end in CRLF
	Body     string
	Received time.Time      // zero: now
	Attempt  int            // 0: the first
	Priority agent.Priority // 0: normal
	Arrival  agent.Arrival  // 0: by SMTP
	NextHop  string         // where the relay would route it; empty: "mailserver"
}

// Item is a message on its way from the queue to delivery. Its methods are the events, in
// their order; a test may leave out those that it has no use for.
type Item struct {
	h         *Host
	c         *Conn
	m         *Message
	committed *Message // what Defer goes back to
	nextHop   string
	over      bool
}

// ItemResult is an answer and the item after its edits.
type ItemResult struct {
	Result
	Priority agent.Priority
	Routes   map[string]string // the next hop of a recipient, where an agent or the relay has chosen one
	Forks    []Fork            // what this answer forked off
}

// Fork is a clone, and what came of it when it was shown to the agent at the same event.
type Fork struct {
	Item   *Item
	Result ItemResult
}

// Queued puts a message into the queue, as if a client had brought it.
func (h *Host) Queued(mail Mail) *Item {
	h.t.Helper()
	c := h.conn()
	m := &Message{
		c: c, id: fmt.Sprintf("message-%d", h.items+1), from: &agentv1.Mailbox{Address: mail.From},
		bag: make(map[string][]byte), nextRcpt: 1, nextField: 1, body: mail.Body,
	}
	m.setHeader(mail.Header)
	for _, to := range mail.To {
		m.recipients = append(m.recipients, &agentv1.Mailbox{Address: to, Id: m.nextRcpt})
		m.nextRcpt++
	}
	return h.item(m, mail)
}

// Queued puts the message that a client has brought into the queue, with its bag and what is
// known of the client.
func (m *Message) Queued() *Item {
	m.c.h.t.Helper()
	c := m.c.h.conn()
	c.like(m.c)
	return m.c.h.item(m.clone(c, m.ids()), Mail{})
}

func (h *Host) item(m *Message, mail Mail) *Item {
	if mail.NextHop == "" {
		mail.NextHop = "mailserver"
	}
	m.c.message, m.queue = m, h.facts(m, mail)
	i := &Item{h: h, c: m.c, m: m, nextHop: mail.NextHop}
	i.commit()
	return i
}

func (h *Host) facts(m *Message, mail Mail) *agentv1.RoutingDetail {
	if mail.Arrival == 0 {
		mail.Arrival = agent.ArrivalSMTP
	}
	if mail.Received.IsZero() {
		mail.Received = time.Now()
	}
	size := len(m.body)
	for _, f := range m.fields {
		size += len(f.raw)
	}
	h.items++
	return &agentv1.RoutingDetail{
		QueueId:        fmt.Sprintf("queued-%d", h.items),
		ReceivedUnixMs: mail.Received.UnixMilli(), ExpiresUnixMs: mail.Received.Add(48 * time.Hour).UnixMilli(),
		Attempt: uint32(max(mail.Attempt, 1)), Priority: agentv1.Priority(mail.Priority), Arrival: agentv1.Arrival(mail.Arrival),
		Size: uint64(size),
	}
}

// cloneItem is the item of a fork of the message in hand. Its session begins when it is shown.
func (h *Host) cloneItem(of *Conn, ids []uint32) *Item {
	c := h.conn()
	c.like(of)
	m := of.message.clone(c, ids)
	c.message, m.queue = m, proto.CloneOf(of.message.queue)
	h.items++
	m.queue.ForkOf, m.queue.QueueId = m.queue.QueueId, fmt.Sprintf("queued-%d", h.items)
	m.queue.Routes = slices.DeleteFunc(m.queue.Routes, func(r *agentv1.Route) bool { return !slices.Contains(ids, r.RecipientId) })
	return &Item{h: h, c: c, m: m}
}

// Submitted is OnSubmittedMessage.
func (i *Item) Submitted() ItemResult {
	i.h.t.Helper()
	return i.event(agentv1.EventType_EVENT_TYPE_SUBMITTED_MESSAGE)
}

// Resolved is OnResolvedMessage.
func (i *Item) Resolved() ItemResult {
	i.h.t.Helper()
	return i.event(agentv1.EventType_EVENT_TYPE_RESOLVED_MESSAGE)
}

// Routed is OnRoutedMessage. Recipients without a route have that of Mail.NextHop.
func (i *Item) Routed() ItemResult {
	i.h.t.Helper()
	i.route()
	return i.event(agentv1.EventType_EVENT_TYPE_ROUTED_MESSAGE)
}

// Categorized is OnCategorizedMessage.
func (i *Item) Categorized() ItemResult {
	i.h.t.Helper()
	i.route()
	return i.event(agentv1.EventType_EVENT_TYPE_CATEGORIZED_MESSAGE)
}

// Property returns the JSON of what the agent has set under a key in the message's bag; ""
// where it has not.
func (i *Item) Property(key string) string { return string(i.m.bag[key]) }

// SetProperty puts a value into the message's bag as if the agent named in the key,
// "agent-name/key", had set it.
func (i *Item) SetProperty(key string, value any) {
	i.h.t.Helper()
	i.c.setFresh(agentv1.Property_SCOPE_MESSAGE, key, value)
}

func (i *Item) route() {
	for _, r := range i.m.recipients {
		if !slices.ContainsFunc(i.m.queue.Routes, func(o *agentv1.Route) bool { return o.RecipientId == r.Id }) {
			i.m.queue.Routes = append(i.m.queue.Routes, &agentv1.Route{RecipientId: r.Id, NextHop: i.nextHop})
		}
	}
}

func (i *Item) event(kind agentv1.EventType) ItemResult {
	i.h.t.Helper()
	r := ItemResult{Result: Result{Verdict: Verdict{Action: "continue"}}}
	if i.over {
		return r
	}
	if i.c.stream == nil && i.h.subscription(kind) != nil {
		i.c.resume()
		i.c.open(agentv1.SessionKind_SESSION_KIND_ROUTING)
	}
	i.m.forks = nil
	r.Result = i.m.result(&agentv1.Event{Type: kind, Detail: &agentv1.Event_Routing{Routing: proto.CloneOf(i.m.queue)}})
	forks := i.m.forks
	i.act(r.Verdict)
	i.show(&r)
	for _, fork := range forks {
		if i.h.forks++; i.h.forks > 100 {
			i.h.t.Fatalf("agenttest: %s forks without end: the agent must see from a clone that it has forked it", agent.Event(kind))
		}
		fork.nextHop = i.nextHop
		fork.commit()
		r.Forks = append(r.Forks, Fork{fork, fork.event(kind)})
	}
	return r
}

func (i *Item) show(r *ItemResult) {
	r.Priority = agent.Priority(i.m.queue.Priority)
	if r.Priority == 0 {
		r.Priority = agent.PriorityNormal
	}
	r.Routes = make(map[string]string)
	for _, route := range i.m.queue.Routes {
		if at := i.m.indexOf(route.RecipientId); at >= 0 {
			r.Routes[i.m.recipients[at].Address] = route.NextHop
		}
	}
}

// commit makes the message as it is the one that Defer goes back to.
func (i *Item) commit() {
	i.committed = i.m.clone(i.c, i.m.ids())
	i.committed.queue = proto.CloneOf(i.m.queue)
}

// act does what ends the item's way, or begins it anew.
func (i *Item) act(v Verdict) {
	i.h.t.Helper()
	if v.Failure != "" {
		return
	}
	switch v.Action {
	case "reject", "delete", "quarantine":
		i.over = true
	case "defer":
	default:
		return
	}
	if err := i.c.end(agentv1.SessionEnd_REASON_HOST_CLOSED); err != nil {
		i.h.t.Fatalf("agenttest: the end of the session: %v", err)
	}
	if !i.over {
		i.again()
	}
}

// again is the message as it was committed, but for the bag, for another attempt.
func (i *Item) again() {
	old, bag := i.c, maps.Clone(i.m.bag)
	queue := proto.CloneOf(i.committed.queue)
	queue.Attempt, queue.LastReply = i.m.queue.Attempt+1, old.last.GetReply()
	i.c = i.h.conn()
	i.c.like(old)
	i.m = i.committed.clone(i.c, i.committed.ids())
	i.m.bag, i.m.queue, i.c.message = bag, queue, i.m
}
