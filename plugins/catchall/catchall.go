package main

import (
	"context"
	"strings"

	"example.org/relay/plugins/agent"
)

// catchall rewrites recipients once the headers are in, so that the next hop is asked about
// the address that is delivered to, not about the one that was written to.
type catchall struct {
	settings settings
	accepted func(domain string) bool
}

func factory() agent.Factory {
	return agent.Build("catchall", newCatchall,
		agent.Describe("delivers alias_tag@domain to alias@domain and puts [tag] before the Subject"),
		agent.Asks(agent.ChangeHeaders, agent.ChangeRecipients),
		agent.ChangesRecipientsAt(agent.EventEndOfHeaders),
		agent.Headers("Subject"),
	)
}

func newCatchall(setup agent.Setup) (*catchall, error) {
	c := &catchall{settings: defaults(), accepted: setup.Accepts}
	if err := setup.Settings(&c.settings); err != nil {
		return nil, err
	}
	return c, nil
}

// OnEndOfHeaders rewrites each tagged recipient and marks the Subject.
func (c *catchall) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	recipients := m.Recipients()
	taken := make(map[string]bool, len(recipients)) // addresses that get the message already
	for _, r := range recipients {
		if _, _, tagged := c.split(r.Mailbox); !tagged {
			taken[key(r.Address())] = true
		}
	}
	var tags tagSet
	for _, r := range recipients {
		alias, tag, tagged := c.split(r.Mailbox)
		if !tagged {
			tags.outside = tags.outside || !c.takes(r.Domain())
			continue
		}
		tags.add(tag)
		address := agent.Join(alias, r.Domain())
		if taken[key(address)] {
			m.RemoveRecipient(r) // two tags of one alias are one mailbox: one copy
			continue
		}
		taken[key(address)] = true
		m.ReplaceRecipient(r, address)
	}
	if tag, ok := tags.agreed(); ok {
		if tag = agent.Showable(tag); tag != "" {
			m.Header().TagSubject(strings.ReplaceAll(c.settings.TagFormat, placeholder, tag))
		}
	}
	return agent.Continue()
}

// split returns the parts of a recipient's local part, if the agent is to rewrite it.
func (c *catchall) split(r agent.Mailbox) (alias, tag string, tagged bool) {
	local, domain := agent.Split(r.Address())
	if domain == "" || !c.takes(domain) || c.leavesAlone(local) {
		return "", "", false
	}
	return splitLocal(local, c.settings.Separator)
}

// splitLocal parts a local part at its first separator. Neither part may be empty: an
// address that begins with the separator has no alias, one that ends with it no tag.
func splitLocal(local, separator string) (alias, tag string, tagged bool) {
	alias, tag, tagged = strings.Cut(local, separator)
	if !tagged || alias == "" || tag == "" {
		return "", "", false
	}
	return alias, tag, true
}

// takes reports whether recipients of the domain are rewritten.
func (c *catchall) takes(domain string) bool {
	if len(c.settings.Domains) == 0 {
		return c.accepted(domain)
	}
	return agent.Matches(c.settings.Domains, domain)
}

func (c *catchall) leavesAlone(local string) bool {
	for _, kept := range c.settings.LeaveAlone {
		if strings.EqualFold(kept, local) {
			return true
		}
	}
	return false
}

// key is an address for comparing: the domain without regard to case, the local part as it is
// written, because only its own host knows what it means (RFC 5321 §2.4).
func key(address string) string {
	local, domain := agent.Split(address)
	return agent.Join(local, strings.ToLower(domain))
}

// tagSet tells whether the recipients' tags agree.
type tagSet struct {
	tag     string // the last one; none is empty
	several bool   // two differ
	outside bool   // a recipient is in a domain that is not the agent's
}

func (s *tagSet) add(tag string) {
	s.several = s.several || s.tag != "" && s.tag != tag
	s.tag = tag
}

// agreed returns the tag to put into the Subject. Everybody gets the same Subject: where tags
// differ, none of them is right for all, and people outside are not shown under which
// addresses somebody here is written to.
func (s *tagSet) agreed() (string, bool) { return s.tag, s.tag != "" && !s.several && !s.outside }
