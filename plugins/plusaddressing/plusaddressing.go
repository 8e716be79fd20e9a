package main

import (
	"context"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
)

// plusaddressing rewrites recipients at RCPT, so that the next hop is asked about the
// mailbox while the client waits for its answer.
type plusaddressing struct {
	settings settings
	accepted func(domain string) bool
}

func factory() agent.Factory {
	return agent.Build("plusaddressing", newPlusaddressing,
		agent.Describe("delivers alias+tag@domain to alias@domain"),
		agent.Asks(agent.ChangeRecipients, agent.ChangeHeaders),
	)
}

func newPlusaddressing(setup agent.Setup) (*plusaddressing, error) {
	p := &plusaddressing{settings: defaults(), accepted: setup.Accepts}
	if err := setup.Settings(&p.settings); err != nil {
		return nil, err
	}
	if p.settings.OriginalHeader != "" && !setup.May(agent.ChangeHeaders) {
		return nil, agent.FieldError{Field: "original_header", Problem: "needs the permission change-headers, which was not granted"}
	}
	return p, nil
}

// Wants leaves the header section alone where no field is to keep the address.
func (p *plusaddressing) Wants(e agent.Event) bool {
	return e != agent.EventEndOfHeaders || p.settings.OriginalHeader != ""
}

// WantsHeaders limits what the agent is shown to the field it writes.
func (p *plusaddressing) WantsHeaders() []string { return []string{p.settings.OriginalHeader} }

// OnRcptCommand takes the tag off.
func (p *plusaddressing) OnRcptCommand(_ context.Context, m *agent.Message, r agent.Recipient) agent.Verdict {
	alias, tagged := p.split(r.Mailbox)
	if !tagged {
		return agent.Continue()
	}
	address := agent.Join(alias, r.Domain())
	if plain(r) && slices.ContainsFunc(m.Recipients(), func(o agent.Recipient) bool { return plain(o) && same(o.Address(), address) }) {
		m.RemoveRecipient(r) // two tags of one alias are one mailbox: one copy
		return agent.Continue()
	}
	m.ReplaceRecipient(r, address)
	return agent.Continue()
}

// plain reports whether a recipient asks for no notifications of its own, which would be lost
// with it (RFC 3461 §4).
func plain(r agent.Recipient) bool {
	_, notify := r.Param("NOTIFY")
	_, orcpt := r.Param("ORCPT")
	return !notify && !orcpt
}

// same compares two addresses: the domain without regard to case, the local part as it is
// written, because only its own host knows what it means (RFC 5321 §2.4).
func same(a, b string) bool {
	localA, domainA := agent.Split(a)
	localB, domainB := agent.Split(b)
	return localA == localB && strings.EqualFold(domainA, domainB)
}

// OnEndOfHeaders keeps the address that was written to. Only a message for one recipient
// gets it: others must not learn whom else it was sent to (RFC 5321 §7.2).
func (p *plusaddressing) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	recipients := m.Recipients()
	if len(recipients) != 1 || same(recipients[0].Original(), recipients[0].Address()) {
		return agent.Continue()
	}
	m.Header().Add(p.settings.OriginalHeader, recipients[0].Original())
	return agent.Continue()
}

// split returns the alias, if the agent is to rewrite the recipient.
func (p *plusaddressing) split(r agent.Mailbox) (alias string, tagged bool) {
	local, domain := r.Local(), r.Domain()
	if domain == "" || !p.takes(domain) || p.leavesAlone(local, domain) {
		return "", false
	}
	return splitLocal(local, p.settings.Separators)
}

// splitLocal parts a local part at the first of the separators in it. An address that begins
// with it has no alias; one that ends with it has an empty tag.
func splitLocal(local string, separators []string) (alias string, tagged bool) {
	first := len(local)
	for _, s := range separators {
		if i := strings.Index(local, s); i >= 0 {
			first = min(first, i)
		}
		if s == "-" && reserved(local) {
			return "", false
		}
	}
	if first == 0 || first == len(local) {
		return "", false
	}
	return local[:first], true
}

// reserved are names with a hyphen that mean something by themselves: senders of bounces, and
// the owners and commands of mailing lists (RFC 2142 §6).
func reserved(local string) bool {
	local = strings.ToLower(local)
	return local == "mailer-daemon" || local == "double-bounce" ||
		strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request") || strings.HasSuffix(local, "-owner")
}

// takes reports whether recipients of the domain are rewritten. It must be an accepted one:
// how another host reads its addresses is its own matter.
func (p *plusaddressing) takes(domain string) bool {
	return p.accepted(domain) && (len(p.settings.Domains) == 0 || agent.Matches(p.settings.Domains, domain))
}

func (p *plusaddressing) leavesAlone(local, domain string) bool {
	return slices.ContainsFunc(p.settings.LeaveAlone, func(entry string) bool {
		l, d := agent.Split(entry)
		if d != "" && !strings.EqualFold(d, domain) {
			return false
		}
		if start, open := strings.CutSuffix(l, "*"); open {
			return len(local) >= len(start) && strings.EqualFold(local[:len(start)], start)
		}
		return strings.EqualFold(l, local)
	})
}
