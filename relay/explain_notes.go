package relay

import (
	"fmt"
	"slices"
	"strings"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/frontend"
)

// notes are what an operator must know beside, a sentence each.
func (x *explanation) notes() {
	say := func(format string, args ...any) { x.out.Notes = append(x.out.Notes, fmt.Sprintf(format, args...)) }
	say("%s", x.whoTheClientIs())
	if n := x.listener.Networks; x.conn.Remote.IsValid() {
		if among(n.Proxy)(x.conn.Remote.Addr()) {
			say("%s is in networks.proxy: it must speak PROXY and has no rights of its own; ask again with the address it speaks for.", x.q.Ip)
		}
		if among(n.XClient)(x.conn.Remote.Addr()) {
			say("%s is in networks.xclient: where it speaks for another by XCLIENT, ask again with that address.", x.q.Ip)
		}
	}
	if x.loginMissing() {
		say("MAIL is refused with 530: listener %s takes mail only from clients who have logged in.", x.listener.Address)
	}
	if most := x.listener.Limits.MessageSize; x.q.Size > uint64(most) {
		say("MAIL is refused with 552: limits.message_size is %d octets.", most)
	}
	say("%s", x.whenVerified())
	if len(x.to) > 0 && !slices.ContainsFunc(x.out.Recipients, func(r *controlv1.ExplainedRecipient) bool { return r.Taken }) {
		say("No recipient is taken, so that no content comes.")
	}
	for i := range x.agents {
		switch a := &x.agents[i]; {
		case isBypassed(a) || a.State == "running" || a.State == "stopped":
		case a.OnFailure == "continue":
			say("Agent %s is not running: mail goes on without it where it is asked and cannot be had in time.", a.Name)
		default:
			say("Agent %s is not running: clients get 451 where it is asked and cannot be had in time.", a.Name)
		}
	}
	if names := x.changing(); len(names) > 0 {
		say("Whom the mail is from and for is judged as the client says it; these agents may change it: %s.", strings.Join(names, ", "))
	}
}

func (x *explanation) whoTheClientIs() string {
	who := "The client"
	if x.q.Ip != "" {
		who += " " + x.q.Ip
	}
	if x.conn.Internal {
		return who + " is internal: it is in networks.relay."
	}
	if x.q.Ip == "" {
		return who + " is taken for inbound: its address is not said."
	}
	return who + " is inbound: it is not in networks.relay."
}

func (x *explanation) whenVerified() string {
	hop := x.cfg.FrontEnd.NextHop
	switch {
	case x.out.RecipientsVerified == string(frontend.Live):
		return fmt.Sprintf("Recipients are verified live: next hop %s is asked at each RCPT and may refuse it there.", hop)
	case len(x.out.DeferredFor) > 0:
		return fmt.Sprintf("Recipients are verified when the header section is in, because of what may change them by then: %s.", strings.Join(x.out.DeferredFor, ", "))
	}
	return `Recipients are verified when the header section is in: frontend.recipient_check is "deferred".`
}

// changing are the agents that may change the envelope.
func (x *explanation) changing() (names []string) {
	for i := range x.agents {
		if a := &x.agents[i]; !isBypassed(a) && (a.Permissions.Has(event.ChangeSender) || a.Permissions.Has(event.ChangeRecipients)) {
			names = append(names, a.Name)
		}
	}
	return names
}
