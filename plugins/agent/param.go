package agent

import (
	"fmt"
	"slices"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// SetParam sets a parameter of the sender, as a client gives it at MAIL: RET, ENVID or AUTH; "" takes
// it out. The relay refuses the others: they say what the message is. The agent must have
// asked for [ChangeSender].
func (m *Message) SetParam(key, value string) {
	m.s.mayEdit()
	before := m.from
	m.s.onFailure(func() { m.from = before })
	m.from = withParam(before, key, value)
	m.s.record(&agentv1.Edit{Op: &agentv1.Edit_SetMailParams{SetMailParams: &agentv1.SetParams{Params: param(key, value)}}})
}

// SetRecipientParam sets a parameter of a recipient, as a client gives it at RCPT: NOTIFY or ORCPT; ""
// takes it out. The agent must have asked for [ChangeRecipients]. It panics where r is no
// recipient of the message.
func (m *Message) SetRecipientParam(r Recipient, key, value string) {
	m.editRecipients()
	i := m.index(r)
	now := withParam(r.p, key, value)
	switch {
	case r.p.GetId() != 0:
		m.s.record(&agentv1.Edit{Op: &agentv1.Edit_SetRcptParams{
			SetRcptParams: &agentv1.SetParams{RecipientId: r.p.GetId(), Params: param(key, value)},
		}})
	case i >= 0 && m.recipients[i].made != nil && m.recipients[i].turn == m.s.turn:
		box := m.recipients[i].box
		box.Params = append(without(box.Params, key), param(key, value)...)
	default:
		panic("SetRecipientParam: " + r.Address() + " is no recipient that the relay has numbered")
	}
	if i >= 0 {
		m.recipients[i].p = now
	}
}

// index is where a recipient is in the list; one that the relay has numbered is known by that.
func (m *Message) index(r Recipient) int {
	return slices.IndexFunc(m.recipients, func(o recipient) bool {
		return o.p == r.p || r.p.GetId() != 0 && o.p.GetId() == r.p.GetId()
	})
}

func param(key, value string) []*agentv1.EsmtpParam {
	return []*agentv1.EsmtpParam{{Key: strings.ToUpper(key), Value: value}}
}

// withParam is a copy of the mailbox with the parameter set.
func withParam(p *agentv1.Mailbox, key, value string) *agentv1.Mailbox {
	now := &agentv1.Mailbox{Address: p.GetAddress(), Id: p.GetId(), Original: p.GetOriginal(), Params: without(p.GetParams(), key)}
	if value != "" {
		now.Params = append(now.Params, param(key, value)...)
	}
	return now
}

func without(params []*agentv1.EsmtpParam, key string) []*agentv1.EsmtpParam {
	return slices.DeleteFunc(slices.Clone(params), func(p *agentv1.EsmtpParam) bool { return strings.EqualFold(p.GetKey(), key) })
}

// EncodeXtext writes a text as the values of ENVID, ORCPT and AUTH hold it (RFC 3461 §4): "+" and two
// hexadecimal digits stand for what may not be there as it is.
func EncodeXtext(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// DecodeXtext undoes EncodeXtext. What is no xtext stays as it is.
func DecodeXtext(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '+' && i+2 < len(value) {
			if high, low := digit(value[i+1]), digit(value[i+2]); high >= 0 && low >= 0 {
				b.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// digit is what a hexadecimal digit stands for, -1 for no digit.
func digit(c byte) int {
	if 'a' <= c && c <= 'f' {
		c -= 'a' - 'A'
	}
	return strings.IndexByte("0123456789ABCDEF", c)
}
