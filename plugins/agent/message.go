package agent

import (
	"slices"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Message is the message of a transaction: its envelope and, from OnEndOfHeaders on, its
// header section. What an agent edits it sees at once. A Message is valid in the handler it
// is given to, on that handler's goroutine.
type Message struct {
	s          *Session
	id         string
	from       *agentv1.Mailbox
	recipients []recipient
	saved      uint64 // the turn that has noted the recipients for rollBack
	header     Header
	bag        bag
	content    content

	// The edit that puts another body or message in the place of this one, and the turns it was
	// made in; replaced: it is the whole message.
	put               *agentv1.Edit
	putTurn, replaced uint64
}

// recipient is a recipient of the local view. One that an edit of the running handler made
// has no id yet; it can be changed where the edit stands.
type recipient struct {
	p    *agentv1.Mailbox
	box  *agentv1.Mailbox // its address in the edit
	made *agentv1.Edit    // the edit that made it
	turn uint64           // when that was
}

func newMessage(s *Session) *Message {
	m := &Message{s: s}
	m.header.m = m
	return m
}

func (m *Message) take(e *agentv1.Envelope) {
	m.id, m.from = e.MessageId, e.From
	m.recipients = m.recipients[:0]
	for _, p := range e.Recipients {
		m.recipients = append(m.recipients, recipient{p: p})
	}
}

// Session returns the session the message comes in.
func (m *Message) Session() *Session { return m.s }

// ID returns the relay's id of the message, as in its log and its reply.
func (m *Message) ID() string { return m.id }

// EnvelopeID returns what the sender calls this sending of the message, the decoded ENVID
// (RFC 3461 §4.4); "" where it gave none.
func (m *Message) EnvelopeID() string {
	id, _ := m.From().Param("ENVID")
	return DecodeXtext(id)
}

// From returns the sender of the envelope.
func (m *Message) From() Mailbox { return Mailbox{m.from} }

// Recipients returns the recipients of the envelope as they are now. The slice is the caller's.
func (m *Message) Recipients() []Recipient {
	list := make([]Recipient, len(m.recipients))
	for i, r := range m.recipients {
		list[i] = Recipient{Mailbox{r.p}}
	}
	return list
}

// Header returns the header section. It is empty before OnEndOfHeaders.
func (m *Message) Header() *Header { return &m.header }

// SetSender changes the sender of the envelope; "" makes it the null sender. The agent must
// have asked for [ChangeSender].
func (m *Message) SetSender(address string) {
	m.s.mayEdit()
	before := m.from
	m.s.onFailure(func() { m.from = before })
	m.from = &agentv1.Mailbox{Address: address, Params: before.GetParams()}
	m.s.record(&agentv1.Edit{Op: &agentv1.Edit_SetSender{SetSender: &agentv1.Mailbox{Address: address}}})
}

// AddRecipient adds a recipient. The agent must have asked for [ChangeRecipients], as for the
// other edits of recipients.
func (m *Message) AddRecipient(address string) {
	m.editRecipients()
	box := &agentv1.Mailbox{Address: address}
	e := &agentv1.Edit{Op: &agentv1.Edit_AddRecipient{AddRecipient: box}}
	m.s.record(e)
	m.recipients = append(m.recipients, recipient{p: box, box: box, made: e, turn: m.s.turn})
}

// RemoveRecipient takes a recipient out of the envelope. It gets no mail and no notice.
func (m *Message) RemoveRecipient(r Recipient) { m.ReplaceRecipient(r) }

// ReplaceRecipient puts other addresses in the place of a recipient: one for an alias, many
// for a list. The recipient's parameters and its original address stay with them. It panics
// where r is no recipient of the message.
func (m *Message) ReplaceRecipient(r Recipient, addresses ...string) {
	m.editRecipients()
	boxes := make([]*agentv1.Mailbox, len(addresses))
	for i, a := range addresses {
		boxes[i] = &agentv1.Mailbox{Address: a}
	}
	i := m.index(r)
	var made []*agentv1.Edit
	switch {
	case r.p.GetId() != 0: // also the recipient in question at RCPT, which is not in the list yet
		e := recipientEdit(r.p.GetId(), boxes)
		m.s.record(e)
		made = slices.Repeat([]*agentv1.Edit{e}, len(boxes))
	case i >= 0 && m.recipients[i].made != nil && m.recipients[i].turn == m.s.turn:
		for _, box := range boxes {
			box.Params = m.recipients[i].box.Params
		}
		made = m.remake(m.recipients[i], boxes)
	default:
		panic("ReplaceRecipient: " + r.Address() + " is no recipient that the relay has numbered")
	}
	if i < 0 {
		return
	}
	now := make([]recipient, len(boxes))
	for j, box := range boxes {
		shown := &agentv1.Mailbox{Address: box.Address, Params: r.p.GetParams(), Original: r.Original()}
		now[j] = recipient{p: shown, box: box, made: made[j], turn: m.s.turn}
	}
	m.recipients = slices.Replace(m.recipients, i, i+1, now...)
}

// remake changes the edit that made r, so that it makes boxes. It returns the edit of each.
func (m *Message) remake(r recipient, boxes []*agentv1.Mailbox) []*agentv1.Edit {
	if replaced := r.made.GetReplaceRecipient(); replaced != nil {
		i := slices.Index(replaced.With, r.box)
		replaced.With = slices.Replace(replaced.With, i, i+1, boxes...)
		if len(replaced.With) == 0 {
			r.made.Op = recipientEdit(replaced.RecipientId, nil).Op
		}
		return slices.Repeat([]*agentv1.Edit{r.made}, len(boxes))
	}
	m.s.edits = slices.DeleteFunc(m.s.edits, func(e *agentv1.Edit) bool { return e == r.made })
	made := make([]*agentv1.Edit, len(boxes))
	for j, box := range boxes {
		made[j] = &agentv1.Edit{Op: &agentv1.Edit_AddRecipient{AddRecipient: box}}
		m.s.record(made[j])
	}
	return made
}

func recipientEdit(id uint32, with []*agentv1.Mailbox) *agentv1.Edit {
	if len(with) == 0 {
		return &agentv1.Edit{Op: &agentv1.Edit_RemoveRecipient{RemoveRecipient: &agentv1.RemoveRecipient{RecipientId: id}}}
	}
	return &agentv1.Edit{Op: &agentv1.Edit_ReplaceRecipient{ReplaceRecipient: &agentv1.ReplaceRecipient{RecipientId: id, With: with}}}
}

// editRecipients notes the recipients as they are before the handler's first edit of them.
func (m *Message) editRecipients() {
	m.s.mayEdit()
	if m.saved == m.s.turn {
		return
	}
	m.saved = m.s.turn
	before := slices.Clone(m.recipients)
	m.s.onFailure(func() { m.recipients = before })
}
