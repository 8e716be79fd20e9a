package config

import (
	"crypto/tls"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/relay/relay/mail"
)

// rules are what single values cannot say about themselves.
type rules struct {
	*report
	c *Config
}

func (r *rules) check() {
	r.hostname()
	r.acceptedDomains()
	r.pairs()
	r.acme()
	r.nextHops()
	r.services()
	r.listeners()
	r.users()
	r.limits("limits", r.c.Limits)
}

// patience is how long clients wait for the greeting and for the replies to most commands
// (RFC 5321 §4.5.3.2.1 to §4.5.3.2.3).
const patience = 5 * time.Minute

func (r *rules) limits(at string, l Limits) {
	general := r.c.Limits
	for _, wait := range []struct {
		key        string
		d, general time.Duration
	}{{"tarpit", l.Tarpit, general.Tarpit}, {"greeting_delay", l.GreetingDelay, general.GreetingDelay}} {
		if wait.d >= patience && (at == "limits" || wait.d != wait.general) {
			r.add(at+"."+wait.key, "must be less than 5m, as clients wait no longer (RFC 5321 §4.5.3.2), got %q", wait.d)
		}
	}
	if l.HeaderSize > l.MessageSize && !r.has(at+".header_size") && !r.has(at+".message_size") {
		r.add(at+".header_size", "must not be more than message_size, which is %d octets", l.MessageSize)
	}
}

// missing reports a key that has no default and is not set.
func (r *rules) missing(key, value, want string) bool {
	if value == "" && !r.has(key) {
		r.add(key, "is not set: must be %s", want)
	}
	return value == ""
}

// hostname has a domain or an address literal in Received and EHLO (RFC 5321 §4.1.1.1).
func (r *rules) hostname() {
	if r.has("hostname") {
		return
	}
	name := r.c.Hostname
	if err := mail.CheckDomain(name); err != nil {
		r.add("hostname", "must be a domain name (it is the machine's name where it is not set), got %s", show(name))
	}
}

func (r *rules) acceptedDomains() {
	seen := map[string]int{}
	for i, a := range r.c.AcceptedDomains {
		key := index("accepted_domain", i) + ".name"
		if r.missing(key, a.Name, "a domain") {
			continue
		}
		if err := mail.CheckDomain(strings.TrimPrefix(a.Name, "*.")); err != nil {
			r.add(key, `must be a domain, or "*." and a domain, got %s`, show(a.Name))
			continue
		}
		if first, twice := seen[strings.ToLower(a.Name)]; twice {
			r.add(key, "%s is there already, as %s", a.Name, index("accepted_domain", first))
			continue
		}
		seen[strings.ToLower(a.Name)] = i
	}
}

func (r *rules) pairs() {
	for i, p := range r.c.TLSPairs {
		key := index("tls.pair", i)
		noCertificate := r.missing(key+".certificate", p.Certificate, "the file of a certificate chain (PEM)")
		noKey := r.missing(key+".key", p.Key, "the file of its private key (PEM)")
		if noCertificate || noKey {
			continue
		}
		if _, err := tls.LoadX509KeyPair(p.Certificate, p.Key); err != nil {
			r.add(key, "%v", err)
		}
	}
}

func (r *rules) nextHops() {
	for name, n := range r.c.NextHops {
		key := join("next_hop", name)
		if name == HubNextHop {
			r.add(key, "%q is the Hub of this process: give the next hop another name", HubNextHop)
		}
		if len(n.Addresses) == 0 && !r.has(key+".addresses") && !r.has(key) {
			r.add(key+".addresses", `is not set: must be a list of host:port, as ["127.0.0.1:25"]`)
		}
		r.nextHopAddresses(key, n)
		r.weights(key+".weights", n)
		r.nextHopTLS(key, n)
		r.nextHopAuth(key+".auth", n)
	}
}

func (r *rules) weights(key string, n NextHop) {
	switch {
	case len(n.Weights) == 0 || r.has(key) || r.has(index(key, 0)):
	case len(n.Weights) != len(n.Addresses):
		r.add(key, "must be one number for each address: there are %d addresses and %d weights", len(n.Addresses), len(n.Weights))
	case slices.Max(n.Weights) == 0:
		r.add(key, "must not all be 0: no address would be tried")
	}
}

// splitAddress takes host:port apart; ok where the host is empty, an IP address or a name, and
// the port a number.
func splitAddress(s string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", false
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return host, true
	}
	return host, mail.CheckDomain(host) == nil
}

func (r *rules) services() {
	c := r.c
	if c.FrontEnd == nil && c.Hub == nil && c.Edge == nil {
		r.add("", "no transport service: there must be [frontend], [hub] or [edge]")
	}
	if c.FrontEnd != nil {
		r.frontEnd(c.FrontEnd)
	}
	r.queued("hub", c.Hub)
	r.queued("edge", c.Edge)
	if c.Hub != nil && c.Edge != nil {
		r.add("edge", "[edge] takes the place of [hub]: one of them must go")
	}
}

func (r *rules) frontEnd(f *FrontEnd) {
	const key = "frontend.next_hop"
	switch {
	case r.has("frontend") || r.missing(key, f.NextHop, r.nextHopNames(true)):
	case f.NextHop == HubNextHop:
		if r.c.Hub == nil {
			r.add(key, "is the Hub of this process, but there is no [hub]")
		}
	default:
		n, ok := r.c.NextHops[f.NextHop]
		if !ok {
			r.add(key, "there is no [next_hop.%s]: must be %s", f.NextHop, r.nextHopNames(true))
		} else if n.Protocol == "lmtp" {
			r.add(key, "next hop %s speaks LMTP, which answers for each recipient after the content; "+
				"the FrontEnd has no queue to keep the recipients that were refused, so LMTP needs [hub] or [edge]", n.Name)
		} else {
			r.circle(n, f.Listeners)
		}
	}
	if len(f.Listeners) == 0 && !r.has("frontend") && !r.has("frontend.listener") {
		r.add("frontend", "has no [[frontend.listener]]")
	}
}

func (r *rules) queued(service string, h *Hub) {
	if h == nil || r.has(service) {
		return
	}
	key := service + ".next_hop"
	if !r.missing(key, h.NextHop, r.nextHopNames(false)) {
		if _, ok := r.c.NextHops[h.NextHop]; !ok {
			r.add(key, "there is no [next_hop.%s]: must be %s", h.NextHop, r.nextHopNames(false))
		}
	}
	if h.ExpireAfter < h.RetryInterval && !r.has(service+".expire_after") && !r.has(service+".retry_interval") {
		r.add(service+".expire_after", "must not be less than %s.retry_interval", service)
	}
	if service == "edge" && len(h.Listeners) == 0 && !r.has("edge.listener") {
		r.add("edge", "has no [[edge.listener]]")
	}
}

// nextHopNames says what a next_hop may be.
func (r *rules) nextHopNames(hub bool) string {
	var names []string
	for name := range r.c.NextHops {
		if name != HubNextHop {
			names = append(names, strconv.Quote(name))
		}
	}
	slices.Sort(names)
	if hub && r.c.Hub != nil {
		names = append(names, strconv.Quote(HubNextHop))
	}
	if len(names) == 0 {
		return "the name of a next hop; there is no [next_hop.NAME] yet"
	}
	return strings.Join(names, " or ")
}

func (r *rules) listeners() {
	seen := map[string]string{}
	r.listenersOf("frontend", r.c.FrontEnd.listeners(), seen)
	r.listenersOf("hub", r.c.Hub.listeners(), seen)
	r.listenersOf("edge", r.c.Edge.listeners(), seen)
}

// maxBanner leaves room for the hostname in a reply line of 512 octets (RFC 5321 §4.5.3.1.5).
const maxBanner = 200

func (r *rules) listenersOf(service string, all []Listener, seen map[string]string) {
	for i, l := range all {
		at := index(service+".listener", i)
		if l.TLS != "none" && len(r.c.TLSPairs) == 0 && r.c.ACME == nil && !r.has(at+".tls") && !r.has("tls") && !r.has("tls.pair") {
			r.add(at+".tls", "%s needs a [[tls.pair]] or [tls.acme]", l.TLS)
		}
		r.auth(at, l)
		if l.Limits != r.c.Limits {
			r.limits(at+".limits", l.Limits)
		}
		if bad := strings.IndexFunc(l.Banner, func(c rune) bool { return c < ' ' || c > '~' }); bad >= 0 || len(l.Banner) > maxBanner {
			r.add(at+".banner", "must be at most %d printable ASCII characters, got %s", maxBanner, show(l.Banner))
		}
		if l.TLS == "none" && l.ClientCertificate == "request" && !r.has(at+".tls") {
			r.add(at+".client_certificate", "must be none where there is no TLS, got \"request\"")
		}
		key := at + ".address"
		if r.missing(key, l.Address, `host:port, as "127.0.0.1:2525", or ":25" for all addresses`) {
			continue
		}
		if _, ok := splitAddress(l.Address); !ok {
			r.add(key, `must be host:port, as "127.0.0.1:2525", or ":25" for all addresses, got %s`, show(l.Address))
			continue
		}
		if first := taken(seen, l.Address); first != "" {
			r.add(key, "%s is taken by %s already", l.Address, first)
			continue
		}
		seen[l.Address] = at
	}
}

// taken returns the listener that has the address, or one that is in it, or "".
func taken(seen map[string]string, address string) string {
	for _, other := range slices.Sorted(maps.Keys(seen)) {
		if overlap(address, other) {
			return seen[other]
		}
	}
	return ""
}

// overlap reports whether there cannot be sockets that listen on both: each is the other, or one
// is the same port on all addresses.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	return portA == portB && portA != "0" && (strings.EqualFold(hostA, hostB) || allAddresses(hostA) || allAddresses(hostB))
}

// allAddresses reports a host of a listener that is all addresses of the machine.
func allAddresses(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// circle reports a next hop that is the FrontEnd itself.
func (r *rules) circle(n NextHop, listeners []Listener) {
	for i, a := range n.Addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			continue // a path, or reported
		}
		ip, _ := netip.ParseAddr(host)
		here := ip.IsLoopback() || strings.EqualFold(host, "localhost")
		for j, l := range listeners {
			listens, on, err := net.SplitHostPort(l.Address)
			if err == nil && on == port && (strings.EqualFold(listens, host) || here && allAddresses(listens)) {
				r.add(index(join("next_hop", n.Name)+".addresses", i), "%s is %s itself: mail would go in a circle", a, index("frontend.listener", j))
				break
			}
		}
	}
}
