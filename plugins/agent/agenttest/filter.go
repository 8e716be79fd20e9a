package agenttest

import (
	"slices"
	"strconv"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// concerns reports whether the relay would ask the agent, by the filter that it has at the event.
func (c *Conn) concerns(f *agentv1.Filter, e *agentv1.Event) bool {
	if f == nil {
		return true
	}
	if first := c.first; first != nil {
		if len(f.Listeners) > 0 && !slices.Contains(f.Listeners, first.Listener) ||
			f.Direction == agentv1.Filter_DIRECTION_INBOUND && first.Internal ||
			f.Direction == agentv1.Filter_DIRECTION_INTERNAL && !first.Internal {
			return false
		}
	}
	if f.Authenticated != nil && *f.Authenticated != (c.user != "" || e.GetAuth().GetSuccess()) {
		return false
	}
	return c.message == nil || c.message.concerns(f, e)
}

func (m *Message) concerns(f *agentv1.Filter, e *agentv1.Event) bool {
	if len(f.SenderDomains) > 0 && (m.from.Address == "" || !within(f.SenderDomains, m.from.Address)) || f.MaxSize > 0 && m.size() > f.MaxSize {
		return false
	}
	if len(f.RecipientDomains) == 0 {
		return true
	}
	switch e.Type {
	case agentv1.EventType_EVENT_TYPE_MAIL_COMMAND:
		return true
	case agentv1.EventType_EVENT_TYPE_RCPT_COMMAND:
		return within(f.RecipientDomains, e.GetRcpt().GetAddress())
	}
	return slices.ContainsFunc(m.recipients, func(r *agentv1.Mailbox) bool { return within(f.RecipientDomains, r.Address) })
}

// size is what MAIL has said or, where that is more, what has come of the header section.
func (m *Message) size() uint64 {
	var said, come uint64
	for _, p := range m.from.Params {
		if p.Key == "SIZE" {
			said, _ = strconv.ParseUint(p.Value, 10, 64)
		}
	}
	for _, f := range m.fields {
		come += uint64(len(f.raw))
	}
	return max(said, come)
}

// within reports whether the address is in one of the domains, of which "*.example.org" has all that
// are below it.
func within(domains []string, address string) bool {
	domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	return slices.ContainsFunc(domains, func(d string) bool {
		d = strings.ToLower(d)
		if below, ok := strings.CutPrefix(d, "*"); ok {
			return strings.HasSuffix(domain, below) && len(domain) > len(below)
		}
		return domain == d
	})
}
