package mail

import "strings"

// Path is a reverse-path or forward-path (RFC 5321 §4.1.2): a mailbox, or nothing.
// The zero value is the null reverse-path "<>". A path made by ParsePath or
// ParseMailbox round-trips: parsing what String prints gives the same path.
type Path struct {
	// Local is the local-part without quoting: what a quoted-string means.
	Local string
	// Domain is as it was given: a domain, an A-label or U-label, or an address
	// literal with its brackets. Empty for the null path and for "<postmaster>"
	// (RFC 5321 §4.1.1.3).
	Domain string
}

// IsNull reports whether p is the null reverse-path.
func (p Path) IsNull() bool { return p.Local == "" && p.Domain == "" }

// Equal reports whether both name the same mailbox: domains compare without
// regard to case, local-parts exactly (RFC 5321 §2.4).
func (p Path) Equal(q Path) bool {
	return p.Local == q.Local && strings.EqualFold(p.Domain, q.Domain)
}

// String prints the mailbox without "<" and ">", the local-part quoted where it must be
// (RFC 5321 §4.1.2), whether or not it came quoted. The null path is "".
func (p Path) String() string {
	if p.Domain == "" {
		return p.Local
	}
	return quoteLocal(p.Local) + "@" + p.Domain
}

// Wire prints the path as it goes into a command: "<" String ">".
func (p Path) Wire() string { return "<" + p.String() + ">" }

// NeedsUTF8 reports whether the path can only be sent with SMTPUTF8 (RFC 6531).
func (p Path) NeedsUTF8() bool { return !isASCII(p.Local) || !isASCII(p.Domain) }

// quoteLocal is the one place that turns a local-part back into its form on the wire. It
// does not trust what the local-part holds: `victim@internal> ORCPT=rfc822;a` is a legal
// one and must stay one.
func quoteLocal(local string) string {
	if isDotString(local) {
		return local
	}
	b := make([]byte, 0, len(local)+8)
	b = append(b, '"')
	for i := range len(local) {
		if local[i] == '"' || local[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, local[i])
	}
	return string(append(b, '"'))
}

// isDotString reports whether a local-part can stand without quotes.
func isDotString(s string) bool {
	dot := true // what stands before the first character counts as a dot: none may follow
	for i := range len(s) {
		switch {
		case s[i] == '.':
			if dot {
				return false
			}
			dot = true
		case isAtext(s[i]):
			dot = false
		default:
			return false
		}
	}
	return !dot
}

// isAtext reports an atom's character (RFC 5322 §3.2.3); an octet of a character beyond
// ASCII is one too (RFC 6531 §3.3).
func isAtext(c byte) bool {
	return isAlnum(c) || c >= 0x80 || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
