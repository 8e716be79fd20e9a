package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// lookup maps a domain beyond ASCII to its A-labels as a resolver would (UTS 46), so that
// both forms of one name compare equal.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// CheckDomain says what is wrong with a domain name, in ASCII or with U-labels.
func CheckDomain(name string) error {
	in := parser{utf8: true}
	if err := in.checkText(name); err != nil {
		return err
	}
	return checkDomain(name)
}

// checkDomain wants labels of letters, digits and inner hyphens (RFC 5321 §4.1.2), of at
// most 63 octets each and 255 in all (§4.5.3.1.2, RFC 1035 §2.3.4), counted in A-labels.
func checkDomain(name string) error {
	if name == "" {
		return errors.New("no domain")
	}
	if len(name) > 1024 {
		return fmt.Errorf("%w: domain", ErrTooLong)
	}
	ascii := name
	if !isASCII(name) {
		var err error
		if ascii, err = lookup.ToASCII(name); err != nil {
			return fmt.Errorf("domain %q: %w", name, err)
		}
		// Mapping turns other full stops into dots; RFC 6531 §3.3 has only the dot.
		if strings.Count(ascii, ".") != strings.Count(name, ".") {
			return fmt.Errorf("domain %q: a full stop that is no dot", name)
		}
	}
	if len(ascii) > 255 {
		return fmt.Errorf("%w: domain has %d octets; at most 255", ErrTooLong, len(ascii))
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if !isLabel(label) {
			return fmt.Errorf("domain %.80q: bad label %.70q", name, label)
		}
	}
	return nil
}

// isLabel reports a legal label. Deviates: an underscore is taken for a letter, as resolvers
// do; hosts with such names send mail.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

// checkLiteral checks what stands between the brackets of an address literal (RFC 5321
// §4.1.3): an IPv4 address, "IPv6:" and an address, or another tag and its content.
func checkLiteral(s string) error {
	if len(s) > 253 {
		return fmt.Errorf("%w: address literal has %d octets; at most 253", ErrTooLong, len(s))
	}
	tag, content, tagged := strings.Cut(s, ":")
	switch {
	case !tagged && isIPv4(s):
		return nil
	case tagged && strings.EqualFold(tag, "IPv6"):
		if a, err := netip.ParseAddr(content); err == nil && a.Is6() && a.Zone() == "" {
			return nil
		}
	case tagged && isLabel(tag) && isDcontent(content):
		// A bare IPv6 address has the form of a tag and its content.
		if _, err := netip.ParseAddr(s); err != nil {
			return nil
		}
	}
	return fmt.Errorf("bad address literal %.80q", "["+s+"]")
}

// isIPv4 reports four numbers up to 255, of one to three digits, with or without leading zeros.
func isIPv4(s string) bool {
	n := 0
	for part := range strings.SplitSeq(s, ".") {
		n++
		if part == "" || len(part) > 3 || len(part) == 3 && part > "255" {
			return false
		}
		for i := range len(part) {
			if part[i] < '0' || part[i] > '9' {
				return false
			}
		}
	}
	return n == 4
}

func isDcontent(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '[' || c == '\\' || c == ']' {
			return false
		}
	}
	return s != ""
}
