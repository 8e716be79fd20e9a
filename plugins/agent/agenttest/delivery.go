package agenttest

import (
	"fmt"
	"slices"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Queue is the mail that waits for a delivery agent.
type Queue struct {
	NextHop string // empty: "mailserver"
	Domain  string
	Waiting int
}

// Delivery is a connection of a delivery agent.
type Delivery struct {
	Opened DeliveryResult // of OnOpenConnection

	h      *Host
	c      *Conn
	queue  Queue
	remote string
}

// DeliveryResult is the answer of a delivery agent.
type DeliveryResult struct {
	Verdict      Verdict
	RemoteHost   string             // who the agent is connected to
	Unregistered bool               // it has ended the connection
	Queue        string             // what becomes of the whole queue: "", "defer" or "fail"
	Recipients   map[string]Outcome // of OnDeliverMailItem
}

// Outcome is what became of a recipient.
type Outcome struct {
	Action string // "delivered", "defer" or "reject"
	Code   int    // of the reply; 0: none was given
	Text   string
	Wait   time.Duration // with "defer"
}

// OpenConnection says that mail waits.
func (h *Host) OpenConnection(q Queue) *Delivery {
	h.t.Helper()
	if q.NextHop == "" {
		q.NextHop = "mailserver"
	}
	d := &Delivery{h: h, c: h.conn(), queue: q}
	d.c.open(agentv1.SessionKind_SESSION_KIND_DELIVERY)
	detail := d.detail()
	detail.Waiting = uint32(q.Waiting)
	d.Opened = d.event(agentv1.EventType_EVENT_TYPE_OPEN_CONNECTION, detail)
	d.remote = d.Opened.RemoteHost
	return d
}

func (d *Delivery) detail() *agentv1.DeliveryDetail {
	return &agentv1.DeliveryDetail{NextHop: d.queue.NextHop, Domain: d.queue.Domain, RemoteHost: d.remote}
}

// Deliver gives the agent one message; Mail.Attempt is that of delivery.
func (d *Delivery) Deliver(mail Mail) DeliveryResult {
	d.h.t.Helper()
	return d.deliver(d.h.Queued(mail), max(mail.Attempt, 1))
}

// DeliverItem gives the agent a message that has come through the routing events.
func (d *Delivery) DeliverItem(i *Item) DeliveryResult {
	d.h.t.Helper()
	return d.deliver(i, 1)
}

func (d *Delivery) deliver(i *Item, attempt int) DeliveryResult {
	d.h.t.Helper()
	m := i.m.clone(d.c, i.m.ids())
	d.c.message = m
	detail := d.detail()
	detail.QueueId, detail.Attempt, detail.Item, detail.RecipientIds = m.queue.QueueId, uint32(attempt), m.queue, m.ids()
	r := d.event(agentv1.EventType_EVENT_TYPE_DELIVER_MAIL_ITEM, detail)
	r.Recipients = d.outcomes(m)
	return r
}

// Close says that nothing more is to come, and ends the session.
func (d *Delivery) Close() DeliveryResult {
	d.h.t.Helper()
	d.c.message, d.c.over = nil, true
	r := d.event(agentv1.EventType_EVENT_TYPE_CLOSE_CONNECTION, d.detail())
	if err := d.c.end(agentv1.SessionEnd_REASON_HOST_CLOSED); err != nil {
		d.h.t.Fatalf("agenttest: the end of the session: %v", err)
	}
	return r
}

func (d *Delivery) event(kind agentv1.EventType, detail *agentv1.DeliveryDetail) DeliveryResult {
	d.h.t.Helper()
	d.c.last = nil
	r := DeliveryResult{Verdict: d.c.event(&agentv1.Event{Type: kind, Detail: &agentv1.Event_Delivery{Delivery: detail}})}
	c := d.c.last.GetConnection()
	r.RemoteHost, r.Unregistered = c.GetRemoteHost(), c.GetUnregister()
	switch c.GetQueue() {
	case agentv1.ConnectionResult_QUEUE_FATE_DEFER:
		r.Queue = "defer"
	case agentv1.ConnectionResult_QUEUE_FATE_FAIL:
		r.Queue = "fail"
	}
	return r
}

// outcomes tells of each recipient: what the agent has said of it, else its verdict.
func (d *Delivery) outcomes(m *Message) map[string]Outcome {
	d.h.t.Helper()
	v := d.c.last
	if v == nil || v.Failure != nil {
		return nil
	}
	all := make(map[string]Outcome)
	for _, r := range m.recipients {
		one := &agentv1.RecipientResult{Action: v.Action, Reply: v.Reply, DeferMs: v.DeferMs}
		if i := slices.IndexFunc(v.RecipientResults, func(o *agentv1.RecipientResult) bool { return o.RecipientId == r.Id }); i >= 0 {
			one = v.RecipientResults[i]
		}
		if problem := outcomeProblem(one); problem != "" {
			d.h.refuse(fmt.Sprintf("recipient %s: %s", r.Address, problem))
			return nil
		}
		out := verdictOf(&agentv1.Verdict{Action: one.Action, Reply: one.Reply, DeferMs: one.DeferMs})
		all[r.Address] = Outcome{Action: out.Action, Code: out.Code, Text: out.Text, Wait: out.Wait}
	}
	return all
}

func outcomeProblem(r *agentv1.RecipientResult) string {
	switch r.Action {
	case agentv1.Action_ACTION_DELIVERED, agentv1.Action_ACTION_DEFER, agentv1.Action_ACTION_REJECT:
	default:
		return fmt.Sprintf("%s does not say what became of it", r.Action)
	}
	_, class := demands(r.Action)
	if code := r.Reply.GetCode(); code != 0 && code/100 != class {
		return fmt.Sprintf("%s with code %d", r.Action, code)
	}
	return ""
}
