package agenttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// apply checks a verdict by the relay's rules and applies its edits, all or none.
func (c *Conn) apply(at agentv1.EventType, v *agentv1.Verdict) {
	c.h.t.Helper()
	if v.Failure != nil {
		if len(v.Edits) > 0 {
			c.h.refuse("a failure comes with edits")
		}
		return
	}
	if problem := c.actionProblem(at, v); problem != "" {
		c.h.refuse(problem)
		return
	}
	if problem := c.edits(at, v.Edits); problem != "" {
		c.h.refuse(problem)
		return
	}
	switch v.Action {
	case agentv1.Action_ACTION_SKIP:
		c.off[at] = true
	case agentv1.Action_ACTION_DETACH:
		c.detached = true
	}
}

func (c *Conn) actionProblem(at agentv1.EventType, v *agentv1.Verdict) string {
	if !offered(at, v.Action) {
		return fmt.Sprintf("%s does not take %s", agent.Event(at), v.Action)
	}
	needs, class := demands(v.Action)
	if delivers(at) {
		needs = agentv1.Permission_PERMISSION_DELIVER
	}
	if needs != 0 && !c.h.may(needs) {
		return fmt.Sprintf("%s needs the permission %s", v.Action, agent.Permission(needs))
	}
	if at == agentv1.EventType_EVENT_TYPE_REJECT && v.Action != agentv1.Action_ACTION_CONTINUE && v.Action != agentv1.Action_ACTION_DISCONNECT {
		return "OnReject can only continue or disconnect"
	}
	if v.Action == agentv1.Action_ACTION_DISCARD && (at < agentv1.EventType_EVENT_TYPE_MAIL_COMMAND || at > agentv1.EventType_EVENT_TYPE_END_OF_DATA) {
		return fmt.Sprintf("there is no message to discard at %s", agent.Event(at))
	}
	if at == agentv1.EventType_EVENT_TYPE_PROXY_INBOUND_MESSAGE && (needs != 0 || len(edits(v)) > 0) {
		return "OnProxyInboundMessage comes when the message is settled: it can only continue or accept, and set properties"
	}
	if code := v.Reply.GetCode(); class != 0 && code != 0 && code/100 != class {
		return fmt.Sprintf("%s with code %d", v.Action, code)
	}
	if enhanced := v.Reply.GetEnhanced(); class != 0 && enhanced != "" && !strings.HasPrefix(enhanced, fmt.Sprint(class)+".") {
		return fmt.Sprintf("%s with enhanced code %s", v.Action, enhanced)
	}
	for _, line := range v.Reply.GetLines() {
		if len(line) > 510 || strings.ContainsAny(line, "\r\n\x00") {
			return fmt.Sprintf("reply line %q", line)
		}
	}
	return ""
}

// edits are those that change the message.
func edits(v *agentv1.Verdict) []*agentv1.Edit {
	return slices.DeleteFunc(slices.Clone(v.Edits), func(e *agentv1.Edit) bool { return e.GetSetProperty() != nil })
}

// edits applies edits, all or none.
func (c *Conn) edits(at agentv1.EventType, list []*agentv1.Edit) (problem string) {
	restore := c.state()
	for _, e := range list {
		if problem := c.edit(at, e); problem != "" {
			restore()
			return problem
		}
	}
	return ""
}

// state returns what takes the edits back.
func (c *Conn) state() (restore func()) {
	bag, m := maps.Clone(c.bag), c.message
	if m == nil {
		return func() { c.bag = bag }
	}
	before := *m
	if m.queue != nil {
		before.queue = proto.CloneOf(m.queue)
	}
	before.fields, before.recipients, before.bag = slices.Clone(m.fields), slices.Clone(m.recipients), maps.Clone(m.bag)
	return func() { c.bag, *m = bag, before }
}

// edit applies one edit. The result says what the relay would refuse.
func (c *Conn) edit(at agentv1.EventType, e *agentv1.Edit) string {
	if set := e.GetSetProperty(); set != nil {
		return c.setProperty(set.Property)
	}
	m := c.message
	if m == nil {
		return "an edit of a message where there is none"
	}
	needs, problem := agentv1.Permission_PERMISSION_UNSPECIFIED, ""
	switch op := e.Op.(type) {
	case *agentv1.Edit_SetSender:
		needs = agentv1.Permission_PERMISSION_CHANGE_SENDER
		m.from = &agentv1.Mailbox{Address: op.SetSender.Address, Params: m.from.GetParams()}
		m.from, problem = withParams(m.from, op.SetSender.Params, mailParams)
		m.envelopeSent = false
	case *agentv1.Edit_AddRecipient, *agentv1.Edit_RemoveRecipient, *agentv1.Edit_ReplaceRecipient:
		needs, problem = agentv1.Permission_PERMISSION_CHANGE_RECIPIENTS, m.editRecipients(at, e)
		m.envelopeSent = false
	case *agentv1.Edit_SetMailParams:
		needs = agentv1.Permission_PERMISSION_CHANGE_SENDER
		m.from, problem = withParams(m.from, op.SetMailParams.Params, mailParams)
		m.envelopeSent = false
	case *agentv1.Edit_SetRcptParams:
		needs, problem = agentv1.Permission_PERMISSION_CHANGE_RECIPIENTS, m.setRcptParams(op.SetRcptParams)
		m.envelopeSent = false
	case *agentv1.Edit_AddHeader, *agentv1.Edit_ReplaceHeader, *agentv1.Edit_RemoveHeader:
		needs, problem = agentv1.Permission_PERMISSION_CHANGE_HEADERS, m.editHeader(e)
		m.headersSent = false
	default:
		needs, problem = c.queueEdit(at, e)
	}
	if !c.h.may(needs) {
		return fmt.Sprintf("the edit %v needs the permission %s", e, agent.Permission(needs))
	}
	return problem
}

func (c *Conn) setProperty(p *agentv1.Property) string {
	bag := c.bag
	if p.Scope == agentv1.Property_SCOPE_MESSAGE {
		if c.message == nil {
			return "a property of a message where there is none"
		}
		bag = c.message.bag
	}
	if p.Key == "" || strings.Contains(p.Key, "/") {
		return fmt.Sprintf("property key %q", p.Key)
	}
	if p.Removed {
		delete(bag, p.Key)
	} else {
		bag[p.Key] = p.Value
	}
	size := 0
	for _, v := range c.bag {
		size += len(v)
	}
	if size > agentv1.MaxPropertyBytes {
		return fmt.Sprintf("properties of %d bytes in a session", size)
	}
	return ""
}

func (m *Message) editRecipients(at agentv1.EventType, e *agentv1.Edit) string {
	takesOut := e.GetRemoveRecipient() != nil && hasQueue(at)
	if declared := m.c.h.offer.ChangesRecipientsAt; at >= agentv1.EventType_EVENT_TYPE_DATA_COMMAND && at > declared && !takesOut {
		return fmt.Sprintf("an edit of recipients at %s that the factory does not declare (ChangesRecipientsAt)", agent.Event(at))
	}
	var id uint32
	var with []*agentv1.Mailbox
	switch op := e.Op.(type) {
	case *agentv1.Edit_AddRecipient:
		with = []*agentv1.Mailbox{op.AddRecipient}
	case *agentv1.Edit_RemoveRecipient:
		id = op.RemoveRecipient.RecipientId
		if problem := m.notice(at, op.RemoveRecipient); problem != "" {
			return problem
		}
	case *agentv1.Edit_ReplaceRecipient:
		if op.ReplaceRecipient.Expanded && !hasQueue(at) {
			return fmt.Sprintf("an expanded list at %s, where there is no queue", agent.Event(at))
		}
		id, with = op.ReplaceRecipient.RecipientId, op.ReplaceRecipient.With
	}
	i := len(m.recipients)
	var old *agentv1.Mailbox
	if e.GetAddRecipient() == nil {
		i = slices.IndexFunc(m.recipients, func(r *agentv1.Mailbox) bool { return r.Id == id })
		if i < 0 {
			return fmt.Sprintf("recipient %d, which is not there", id)
		}
		old = m.recipients[i]
	}
	var boxes []*agentv1.Mailbox
	for _, w := range with {
		if problem := m.addressProblem(w.Address); problem != "" {
			return problem
		}
		box := &agentv1.Mailbox{Address: w.Address, Id: m.nextRcpt}
		if old != nil {
			box.Params, box.Original = old.Params, original(old)
		}
		box, problem := withParams(box, w.Params, rcptParams)
		if problem != "" {
			return problem
		}
		m.nextRcpt++
		boxes = append(boxes, box)
	}
	m.recipients = slices.Replace(m.recipients, i, min(i+1, len(m.recipients)), boxes...)
	return ""
}

func original(r *agentv1.Mailbox) string {
	if r.Original != "" {
		return r.Original
	}
	return r.Address
}

func (m *Message) addressProblem(address string) string {
	local, domain := agent.Split(address)
	if local == "" || agent.Join(local, domain) != address || strings.ContainsAny(address, "\r\n\x00") {
		return fmt.Sprintf("the address %q", address)
	}
	if !agent.Matches(m.c.h.config.AcceptedDomains, domain) && !m.c.h.may(agentv1.Permission_PERMISSION_RELAY) {
		return fmt.Sprintf("the address %q, whose domain is not accepted, needs the permission %s", address, agent.RelayMail)
	}
	return ""
}

func (m *Message) editHeader(e *agentv1.Edit) string {
	switch op := e.Op.(type) {
	case *agentv1.Edit_AddHeader:
		return m.addHeader(op.AddHeader)
	case *agentv1.Edit_ReplaceHeader:
		r := op.ReplaceHeader
		i := m.fieldAt(r.Id)
		if i < 0 {
			return fmt.Sprintf("header field %d, which is not there", r.Id)
		}
		name, _, _ := strings.Cut(m.fields[i].raw, ":")
		if r.Name != "" {
			name = r.Name
		}
		m.fields[i].raw = name + ":" + string(r.Value) + "\r\n"
		return fieldProblem(strings.TrimRight(name, " \t"), string(r.Value))
	case *agentv1.Edit_RemoveHeader:
		if name := op.RemoveHeader.GetAllNamed(); name != "" {
			m.fields = slices.DeleteFunc(m.fields, func(f field) bool {
				n, _, _ := strings.Cut(f.raw, ":")
				return strings.EqualFold(strings.TrimRight(n, " \t"), name)
			})
			return ""
		}
		i := m.fieldAt(op.RemoveHeader.GetId())
		if i < 0 {
			return fmt.Sprintf("header field %d, which is not there", op.RemoveHeader.GetId())
		}
		m.fields = slices.Delete(m.fields, i, i+1)
	}
	return ""
}

func (m *Message) addHeader(a *agentv1.AddHeader) string {
	at := 0
	switch where := a.At.(type) {
	case *agentv1.AddHeader_Bottom:
		at = len(m.fields)
	case *agentv1.AddHeader_BeforeId:
		at = m.fieldAt(where.BeforeId)
	case *agentv1.AddHeader_AfterId:
		at = m.fieldAt(where.AfterId) + 1
	}
	m.fields = slices.Insert(m.fields, max(at, 0), field{m.nextField, a.Name + ":" + string(a.Value) + "\r\n"})
	m.nextField++
	return fieldProblem(a.Name, string(a.Value))
}

func (m *Message) fieldAt(id uint32) int {
	return slices.IndexFunc(m.fields, func(f field) bool { return f.id == id })
}

// fieldProblem: a name is printable ASCII without a colon (RFC 5322 §2.2), a value breaks a
// line only before white space (§2.2.3).
func fieldProblem(name, value string) string {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
	if name == "" || strings.ContainsFunc(name, bad) {
		return fmt.Sprintf("the header name %q", name)
	}
	rest := strings.ReplaceAll(strings.ReplaceAll(value, "\r\n ", ""), "\r\n\t", "")
	if strings.ContainsAny(rest, "\r\n\x00") {
		return fmt.Sprintf("the header value %q", value)
	}
	return ""
}
