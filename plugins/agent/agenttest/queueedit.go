package agenttest

import (
	"fmt"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// queueEdit applies an edit that only services with a queue have.
func (c *Conn) queueEdit(at agentv1.EventType, e *agentv1.Edit) (needs agentv1.Permission, problem string) {
	m := c.message
	switch op := e.Op.(type) {
	case *agentv1.Edit_ReplaceBody:
		data, problem := c.source(op.ReplaceBody)
		m.setBody(data)
		return agentv1.Permission_PERMISSION_CHANGE_BODY, problem
	case *agentv1.Edit_ReplaceMessage:
		data, problem := c.source(op.ReplaceMessage)
		header, body, _ := strings.Cut("\r\n"+data, "\r\n\r\n")
		m.setHeader(strings.TrimPrefix(header+"\r\n", "\r\n"))
		m.setBody(body)
		return agentv1.Permission_PERMISSION_CHANGE_BODY, problem
	case *agentv1.Edit_QuarantineRecipient:
		if !hasQueue(at) {
			break
		}
		return agentv1.Permission_PERMISSION_CHANGE_RECIPIENTS, m.quarantine(op.QuarantineRecipient)
	case *agentv1.Edit_SetRoute:
		return agentv1.Permission_PERMISSION_ROUTE, m.setRoute(at, op.SetRoute)
	case *agentv1.Edit_SetPriority:
		if !routes(at) {
			break
		}
		m.queue.Priority = op.SetPriority.Priority
		return agentv1.Permission_PERMISSION_ROUTE, ""
	case *agentv1.Edit_Fork:
		if !routes(at) {
			break
		}
		return agentv1.Permission_PERMISSION_CHANGE_RECIPIENTS, c.fork(at, op.Fork)
	}
	return 0, fmt.Sprintf("the edit %v at %s", e, agent.Event(at))
}

func (m *Message) setBody(body string) {
	m.body, m.bodySent = body, false
	m.revision++
}

// notice notes a removal that the sender is told of.
func (m *Message) notice(at agentv1.EventType, r *agentv1.RemoveRecipient) string {
	if !r.Dsn {
		return ""
	}
	kind, class := agent.DSN(r.Kind), 2
	if kind == 0 {
		kind = agent.DSNFailure
	}
	if kind == agent.DSNFailure {
		class = 5
	}
	switch code := int(r.Reply.GetCode()); {
	case !hasQueue(at):
		return fmt.Sprintf("a DSN at %s, where there is no queue", agent.Event(at))
	case !m.c.h.may(agentv1.Permission_PERMISSION_REJECT):
		return fmt.Sprintf("a DSN needs the permission %s", agent.RejectMail)
	case code != 0 && code/100 != class:
		return fmt.Sprintf("a DSN of this kind with code %d", code)
	}
	if i := m.indexOf(r.RecipientId); i >= 0 {
		m.removed = append(m.removed, Removed{Recipient: m.recipients[i].Address, DSN: kind, Reply: replyOf(r.Reply)})
	}
	return ""
}

func (m *Message) quarantine(q *agentv1.QuarantineRecipient) string {
	i := m.indexOf(q.RecipientId)
	if i < 0 {
		return fmt.Sprintf("recipient %d, which is not there", q.RecipientId)
	}
	if !m.c.h.may(agentv1.Permission_PERMISSION_DISCARD) {
		return fmt.Sprintf("quarantine needs the permission %s", agent.DiscardMail)
	}
	m.removed = append(m.removed, Removed{Recipient: m.recipients[i].Address, Quarantined: q.Reason})
	m.recipients = slices.Delete(slices.Clone(m.recipients), i, i+1)
	m.envelopeSent = false
	return ""
}

func (m *Message) setRoute(at agentv1.EventType, r *agentv1.SetRoute) string {
	if at != agentv1.EventType_EVENT_TYPE_RESOLVED_MESSAGE {
		return fmt.Sprintf("a route at %s: OnResolvedMessage is the place for it", agent.Event(at))
	}
	if m.indexOf(r.RecipientId) < 0 {
		return fmt.Sprintf("recipient %d, which is not there", r.RecipientId)
	}
	m.queue.Routes = slices.DeleteFunc(m.queue.Routes, func(o *agentv1.Route) bool { return o.RecipientId == r.RecipientId })
	if r.NextHop != "" {
		m.queue.Routes = append(m.queue.Routes, &agentv1.Route{RecipientId: r.RecipientId, NextHop: r.NextHop, Overridden: true, Agent: agentName})
	}
	return ""
}

// fork takes recipients out of the message into a clone, which is shown to the agent when
// the verdict has been applied.
func (c *Conn) fork(at agentv1.EventType, f *agentv1.Fork) string {
	m := c.message
	for _, id := range f.RecipientIds {
		if m.indexOf(id) < 0 {
			return fmt.Sprintf("recipient %d, which is not there", id)
		}
	}
	if len(f.RecipientIds) == 0 || len(f.RecipientIds) >= len(m.recipients) {
		return "a fork that leaves one of the copies without recipients"
	}
	if slices.ContainsFunc(f.Edits, func(e *agentv1.Edit) bool { return e.GetFork() != nil }) {
		return "a fork in a fork"
	}
	item := c.h.cloneItem(c, f.RecipientIds)
	if problem := item.c.edits(at, f.Edits); problem != "" {
		return problem
	}
	m.recipients = slices.DeleteFunc(slices.Clone(m.recipients), func(r *agentv1.Mailbox) bool { return slices.Contains(f.RecipientIds, r.Id) })
	m.envelopeSent = false
	m.forks = append(m.forks, item)
	return ""
}

func replyOf(r *agentv1.Reply) agent.Reply {
	return agent.Reply{Code: int(r.GetCode()), Enhanced: r.GetEnhanced(), Lines: r.GetLines()}
}
