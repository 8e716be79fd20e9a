package agenttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// Message is the mail transaction of a session.
type Message struct {
	Verdict Verdict // of OnMailCommand

	c          *Conn
	id         string
	from       *agentv1.Mailbox
	recipients []*agentv1.Mailbox
	nextRcpt   uint32
	fields     []field
	nextField  uint32
	bag        map[string][]byte
	body       string
	revision   uint32                 // of the body
	queue      *agentv1.RoutingDetail // in the queue
	removed    []Removed              // by the answer in hand
	forks      []*Item                // by the answer in hand

	envelopeSent, headersSent, bodySent bool             // the agent has seen them as they are
	asking                              *agentv1.Mailbox // at RCPT: in question, not in the envelope yet
}

type field struct {
	id  uint32
	raw string // with its line end
}

// Mail is the client's MAIL with a sender, "" for the null sender, and parameters such as
// "SIZE=1000". It begins a message.
func (c *Conn) Mail(from string, params ...string) *Message {
	c.h.t.Helper()
	m := &Message{c: c, id: fmt.Sprintf("message-%d", c.seq+1), bag: make(map[string][]byte), nextRcpt: 1, nextField: 1}
	m.from = mailbox(from, params)
	c.message = m
	m.Verdict = c.event(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_MAIL_COMMAND, Detail: &agentv1.Event_Mail{Mail: m.from}})
	return m
}

// Rcpt is the client's RCPT. The recipient is in the message unless the agent refuses,
// removes or replaces it.
func (m *Message) Rcpt(to string, params ...string) Verdict {
	m.c.h.t.Helper()
	box := mailbox(to, params)
	box.Id = m.nextRcpt
	m.nextRcpt++
	m.asking = box
	m.recipients = append(m.recipients, box)
	v := m.c.event(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, Detail: &agentv1.Event_Rcpt{Rcpt: box}})
	m.asking = nil
	if v.Action == "reject" || v.Action == "tempfail" || v.Action == "disconnect" {
		m.recipients = slices.DeleteFunc(m.recipients, func(r *agentv1.Mailbox) bool { return r.Id == box.Id })
	}
	m.envelopeSent = false
	return v
}

// Data is the client's DATA.
func (m *Message) Data() Verdict {
	m.c.h.t.Helper()
	return m.c.event(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_DATA_COMMAND, Detail: &agentv1.Event_Command{Command: &agentv1.CommandDetail{}}})
}

// EndOfHeaders brings the header section, lines that end in CRLF.
func (m *Message) EndOfHeaders(header string) Result {
	m.c.h.t.Helper()
	m.setHeader(header)
	return m.result(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_END_OF_HEADERS})
}

func (m *Message) setHeader(header string) {
	m.fields = nil
	for line := range strings.Lines(header) {
		if n := len(m.fields); n > 0 && (line[0] == ' ' || line[0] == '\t') {
			m.fields[n-1].raw += line
			continue
		}
		m.fields = append(m.fields, field{m.nextField, line})
		m.nextField++
	}
	m.headersSent = false
}

// ProxyInboundMessage says that the relay has chosen the next hop. What an agent may still do
// there is to set properties; the message is settled.
func (m *Message) ProxyInboundMessage(hop agent.NextHop) Verdict {
	m.c.h.t.Helper()
	return m.c.event(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_PROXY_INBOUND_MESSAGE, Detail: &agentv1.Event_Proxy{
		Proxy: &agentv1.ProxyDetail{NextHop: hop.Name, Address: hop.Address},
	}})
}

// EndOfData says that the whole message is in, with this body.
func (m *Message) EndOfData(body string) Result {
	m.c.h.t.Helper()
	m.body, m.bodySent = body, false
	return m.result(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_END_OF_DATA})
}

func (m *Message) result(e *agentv1.Event) Result {
	m.c.h.t.Helper()
	m.removed = nil
	v := m.c.event(e)
	r := Result{Verdict: v, Sender: m.from.Address, Body: m.body, Removed: m.removed}
	for _, rcpt := range m.recipients {
		r.Recipients = append(r.Recipients, rcpt.Address)
	}
	for _, f := range m.fields {
		r.Header += f.raw
	}
	return r
}

// clone is the message as it is, for another session, with these recipients.
func (m *Message) clone(c *Conn, ids []uint32) *Message {
	other := *m
	other.c = c
	other.fields, other.bag = slices.Clone(m.fields), maps.Clone(m.bag)
	other.recipients = slices.DeleteFunc(slices.Clone(m.recipients), func(r *agentv1.Mailbox) bool { return !slices.Contains(ids, r.Id) })
	other.removed, other.forks = nil, nil
	other.envelopeSent, other.headersSent, other.bodySent = false, false, false
	return &other
}

func (m *Message) ids() []uint32 {
	var ids []uint32
	for _, r := range m.recipients {
		ids = append(ids, r.Id)
	}
	return ids
}

func (m *Message) indexOf(id uint32) int {
	return slices.IndexFunc(m.recipients, func(r *agentv1.Mailbox) bool { return r.Id == id })
}

func mailbox(address string, params []string) *agentv1.Mailbox {
	box := &agentv1.Mailbox{Address: address}
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		box.Params = append(box.Params, &agentv1.EsmtpParam{Key: strings.ToUpper(key), Value: value})
	}
	return box
}

// envelope and headers are the attached parts.
func (m *Message) envelope() *agentv1.Envelope {
	e := &agentv1.Envelope{From: m.from, MessageId: m.id}
	for _, r := range m.recipients {
		if r != m.asking {
			e.Recipients = append(e.Recipients, r)
		}
	}
	return e
}

func (m *Message) headers(names []string) *agentv1.HeaderBlock {
	b := &agentv1.HeaderBlock{}
	for _, f := range m.fields {
		name, _, _ := strings.Cut(f.raw, ":")
		shown := len(names) == 0 || slices.ContainsFunc(names, func(n string) bool {
			return strings.EqualFold(n, strings.TrimRight(name, " \t"))
		})
		if shown {
			b.Raw = append(b.Raw, f.raw...)
			b.End = append(b.End, uint32(len(b.Raw)))
			b.Id = append(b.Id, f.id)
		}
	}
	return b
}
