package config

import (
	"fmt"
	"maps"
	"slices"
)

// NotInForce names what is set but has no effect in this version, a sentence for each.
// A relay that would do less than its operator wrote does not start on some of them:
// without its Hub, a next hop "hub" leads nowhere.
func (c *Config) NotInForce() []string {
	var all []string
	add := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	for i, a := range c.AcceptedDomains {
		add(a.Recipients != "verify", "%s.recipients = %q: it is for the Hub and the Edge, which are not in this version; "+
			"the FrontEnd asks its next hop", index("accepted_domain", i), a.Recipients)
	}
	add(c.FrontEnd != nil && c.FrontEnd.NextHop == HubNextHop,
		"frontend.next_hop = %q: the Hub is not in this version, so the FrontEnd has nowhere to send to", HubNextHop)
	for _, name := range slices.Sorted(maps.Keys(c.NextHops)) {
		add(c.NextHops[name].Protocol == "lmtp", "%s.protocol = \"lmtp\": LMTP is for the Hub and the Edge, which are not in this version",
			join("next_hop", name))
	}
	add(c.Hub != nil, "hub: the Hub is not in this version; nothing is queued and its listeners do not listen")
	add(c.Edge != nil, "edge: the Edge is not in this version; nothing is queued and its listeners do not listen")
	return all
}
