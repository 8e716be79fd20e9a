package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"example.org/relay/plugins/agent"
)

// kind is which fact a list is about.
type kind int

const (
	client kind = iota
	hello
	sender
	recipient
)

var kindNames = [...]string{"client", "hello", "sender", "recipient"}

func (k kind) String() string { return kindNames[k] }

// stage is from when on the fact is known.
func (k kind) stage() stage { return stage(k) }

// set is a list that is made to be asked: however long it is, a question costs as many looks
// into a map as the address has prefixes of lengths in use, or the name has labels. The values
// are the lines of the entries. Immutable once made.
type set struct {
	kind     kind
	names    map[string]int // domains and addresses, "local@" for a local part in any domain, "<>"
	under    map[string]int // the domain of a "*." entry
	networks map[netip.Prefix]int
	lengths  []int // of the networks' prefixes, longest first, as they are in IPv6
}

const nullSender = "<>"

func newSet(k kind) *set {
	return &set{kind: k, names: map[string]int{}, under: map[string]int{}, networks: map[netip.Prefix]int{}}
}

// mostProblems are told of one list.
const mostProblems = 10

// readSet reads a list, one entry a line.
func readSet(k kind) func(io.Reader) (*set, error) {
	return func(r io.Reader) (*set, error) {
		s := newSet(k)
		var problems []error
		entries, read := agent.Lines(r)
		for line, entry := range entries {
			if err := s.add(entry, line); err != nil {
				problems = append(problems, fmt.Errorf("line %d: %w", line, err))
			}
			if len(problems) == mostProblems {
				break
			}
		}
		problems = append(problems, read())
		return s, errors.Join(problems...)
	}
}

// add puts an entry in. The first of equal ones counts.
func (s *set) add(entry string, line int) error {
	if s.kind == client {
		return s.addNetwork(entry, line)
	}
	into, key := s.names, ""
	switch {
	case s.kind == sender && entry == nullSender:
		key = nullSender
	case s.kind != hello && strings.Contains(entry, "@"):
		local, domain := agent.Split(entry)
		if local == "" || strings.ContainsFunc(local, control) || strings.HasPrefix(domain, "*") || domain == "" && !strings.HasSuffix(entry, "@") {
			return fmt.Errorf("%q is no address: must be as user@example.org, user@ for any domain, example.org or *.example.org", entry)
		}
		if domain != "" {
			if err := checkDomain(domain); err != nil {
				return err
			}
		}
		key = addressKey(local, domain)
	default:
		name, below := strings.CutPrefix(entry, "*.")
		if err := checkDomain(name); err != nil {
			return err
		}
		if below {
			into = s.under
		}
		key = domainKey(name)
	}
	if _, there := into[key]; !there {
		into[key] = line
	}
	return nil
}

func (s *set) addNetwork(entry string, line int) error {
	addr, err := netip.ParseAddr(entry)
	network := netip.PrefixFrom(addr, addr.BitLen())
	if err != nil {
		network, err = netip.ParsePrefix(entry)
	}
	if err != nil || addr.Zone() != "" {
		return fmt.Errorf("%q is no network: must be as 192.0.2.0/24, 192.0.2.1, 2001:db8::/32", entry)
	}
	if addr := network.Addr(); addr.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(addr.Unmap(), network.Bits()-96)
	}
	if network != network.Masked() {
		return fmt.Errorf("%q has an address behind its prefix: the network is %s", entry, network.Masked())
	}
	if _, there := s.networks[network]; there {
		return nil
	}
	s.networks[network] = line
	length := network.Bits()
	if network.Addr().Is4() {
		length += 96
	}
	if i, there := slices.BinarySearchFunc(s.lengths, length, func(a, b int) int { return b - a }); !there {
		s.lengths = slices.Insert(s.lengths, i, length)
	}
	return nil
}

// findAddr returns the smallest network with the address.
func (s *set) findAddr(addr netip.Addr) (entry string, line int, found bool) {
	addr = addr.Unmap().WithZone("")
	for network := range s.prefixes(addr) {
		if line, found = s.networks[network]; found {
			return network.String(), line, true
		}
	}
	return "", 0, false
}

// prefixes yields the networks that have the address and can be in the set.
func (s *set) prefixes(addr netip.Addr) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for _, length := range s.lengths {
			if addr.Is4() {
				length -= 96
			}
			if network, err := addr.Prefix(length); err == nil && !yield(network) {
				return
			}
		}
	}
}

// find returns the entry that has a HELO name or an address: the address itself, the local
// part in any domain, the domain, a domain above it.
func (s *set) find(fact string) (entry string, line int, found bool) {
	if s.kind == sender && fact == "" {
		line, found = s.names[nullSender]
		return nullSender, line, found
	}
	domain := fact
	if s.kind != hello {
		var local string
		local, domain = agent.Split(fact)
		for _, key := range []string{addressKey(local, domain), addressKey(local, "")} {
			if line, found = s.names[key]; found {
				return key, line, true
			}
		}
	}
	if domain == "" {
		return "", 0, false
	}
	domain = domainKey(domain)
	if line, found = s.names[domain]; found {
		return domain, line, true
	}
	for above := range parents(domain) {
		if line, found = s.under[above]; found {
			return "*." + above, line, true
		}
	}
	return "", 0, false
}

// parents yields the domains above a domain, the nearest first. An address literal has none.
func parents(domain string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if strings.HasPrefix(domain, "[") {
			return
		}
		for {
			_, above, found := strings.Cut(domain, ".")
			if !found || above == "" || !yield(above) {
				return
			}
			domain = above
		}
	}
}

// addressKey is an address for comparing. Local parts are compared without regard to case, as
// nearly every host does that has mailboxes: a list that could be passed by a capital would be
// none.
func addressKey(local, domain string) string {
	if domain != "" {
		domain = domainKey(domain)
	}
	return strings.ToLower(local) + "@" + domain
}

// names maps a domain beyond ASCII to its A-labels as a resolver would (UTS 46), so that both
// forms of one name compare equal.
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// domainKey is a domain for comparing: in small letters and A-labels, without the dot of the
// root, an address literal as the address it means.
func domainKey(domain string) string {
	if addr, ok := literal(domain); ok {
		return "[" + addr.String() + "]"
	}
	domain = strings.TrimSuffix(domain, ".")
	if strings.ContainsFunc(domain, beyondASCII) {
		if ascii, err := names.ToASCII(domain); err == nil {
			return ascii
		}
	}
	return strings.ToLower(domain)
}

// literal reads an address literal (RFC 5321 §4.1.3).
func literal(domain string) (netip.Addr, bool) {
	inside, ok := strings.CutPrefix(domain, "[")
	if !ok || !strings.HasSuffix(inside, "]") {
		return netip.Addr{}, false
	}
	inside = strings.TrimSuffix(inside, "]")
	if len(inside) > 5 && strings.EqualFold(inside[:5], "IPv6:") {
		inside = inside[5:]
	}
	addr, err := netip.ParseAddr(inside)
	return addr.Unmap(), err == nil && addr.Zone() == ""
}

func checkDomain(domain string) error {
	if _, ok := literal(domain); ok {
		return nil
	}
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`@*<>"[](),:;/\`, r) }
	key := domainKey(domain)
	if key == "" || len(key) > 255 || strings.ContainsFunc(domain, bad) || strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") || strings.Contains(key, "..") ||
		strings.ContainsFunc(key, beyondASCII) {
		return fmt.Errorf("%q is no domain: must be as example.org, *.example.org or [192.0.2.1]", domain)
	}
	return nil
}

func beyondASCII(r rune) bool { return r > '~' }

func control(r rune) bool { return r < ' ' || r == 0x7f }
