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
