package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"example.org/relay/relay/config"
)

// service is one listener, and what its clients may do, a sentence each.
type service struct {
	title  string
	rights []string
}

// relaying says who may send where, listener by listener, and where it goes: what an operator
// wants to see twice before a port is opened to the world.
func relaying(cfg *config.Config) []service {
	f := cfg.FrontEnd
	if f == nil {
		return nil
	}
	to := f.NextHop
	if h, ok := cfg.NextHops[to]; ok {
		to = fmt.Sprintf("%s (%s, TLS %s)", to, addresses(h), h.TLS)
	}
	all := []service{{title: "FrontEnd passes mail on to next hop " + to}}
	for _, l := range f.Listeners {
		all = append(all, service{fmt.Sprintf("FrontEnd listens on %s (TLS %s):", l.Address, l.TLS), rights(l, cfg.Domains().Names())})
	}
	if certificates := len(cfg.TLSPairs) > 0 || cfg.ACME != nil; certificates && !slices.ContainsFunc(f.Listeners, hasTLS) {
		all = append(all, service{title: `WARNING: there are certificates, and no listener has TLS: each has tls = "none"`})
	}
	return all
}

func hasTLS(l config.Listener) bool { return l.TLS != "none" }

// sentences are the same for programs, each line complete in itself.
func sentences(all []service) []string {
	lines := []string{}
	for _, s := range all {
		if len(s.rights) == 0 {
			lines = append(lines, s.title)
		}
		for _, r := range s.rights {
			lines = append(lines, s.title+" "+r)
		}
	}
	return lines
}

func addresses(h config.NextHop) string {
	if len(h.Weights) == 0 {
		return strings.Join(h.Addresses, ", then ")
	}
	all := make([]string, len(h.Addresses))
	for i, a := range h.Addresses {
		all[i] = fmt.Sprintf("%s with weight %d", a, h.Weights[i])
	}
	return strings.Join(all, ", ")
}

// rights are what clients of one listener may do, a sentence each.
func rights(l config.Listener, domains []string) []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch {
	case l.Auth == "required":
		add("who has logged in may send to any domain; nobody else may send")
	case len(domains) == 0:
		add("strangers may send to no domain: there is no [[accepted_domain]]")
	default:
		add("everybody may send to %s", strings.Join(domains, ", "))
	}
	if l.Auth == "optional" {
		add("who has logged in may send to any domain")
	}
	for _, p := range l.Networks.Relay {
		switch {
		case l.Auth == "required": // it comes first
		case everybody(p):
			add("WARNING: %s may send to any domain, and that is everybody: an open relay", p)
		default:
			add("%s may send to any domain", p)
		}
	}
	for _, p := range l.Networks.Proxy {
		if everybody(p) {
			add("WARNING: %s must speak PROXY, so that anybody can claim any address", p)
		} else {
			add("%s must speak PROXY, and has the rights of whom it speaks for", p)
		}
	}
	for _, p := range l.Networks.XClient {
		if everybody(p) {
			add("WARNING: %s may claim any address by XCLIENT, and that is everybody", p)
		} else {
			add("%s may say by XCLIENT whom it speaks for, and then has their rights", p)
		}
	}
	return all
}

// everybody reports a network that is the whole world, or half of it.
func everybody(p netip.Prefix) bool { return p.Bits() <= 1 }
