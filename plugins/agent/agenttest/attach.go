package agenttest

import (
	agentv1 "example.org/relay/proto/agent/v1"
)

// attach puts into the event what changed since the agent saw it.
func (c *Conn) attach(e *agentv1.Event, sub *agentv1.Subscription) {
	e.Connection, c.connection = c.connection, nil
	e.Client, c.client = c.client, nil
	e.Properties, c.fresh = c.fresh, nil
	m := c.message
	if m == nil {
		if c.over {
			e.Envelope, c.over = &agentv1.Envelope{}, false
		}
		return
	}
	c.over = false
	if !m.envelopeSent {
		e.Envelope, m.envelopeSent = m.envelope(), true
	}
	if sub.Content == agentv1.Subscription_CONTENT_NONE {
		return
	}
	if !m.headersSent && c.h.may(agentv1.Permission_PERMISSION_READ_HEADERS) {
		e.Headers, m.headersSent = m.headers(sub.HeaderNames), true
	}
	if sub.Content != agentv1.Subscription_CONTENT_HEADERS && !m.bodySent && c.h.may(agentv1.Permission_PERMISSION_READ_BODY) && !c.h.config.OldRelay {
		e.Content, m.bodySent = c.content(sub.Content), true
	}
}
