package mail

import "strings"

// Domains is a set of accepted domains: exact names and "*.example.org" for all
// sub-domains of example.org, but not itself. The zero value has none. Not to be changed
// once it is shared.
type Domains struct {
	exact map[string]bool
	below []string // ".example.org"
	list  []string
}

// NewDomains makes the set of these names.
func NewDomains(names ...string) Domains {
	d := Domains{exact: map[string]bool{}}
	for _, n := range names {
		d.list = append(d.list, n)
		n = strings.ToLower(n)
		if rest, ok := strings.CutPrefix(n, "*"); ok {
			d.below = append(d.below, rest)
		} else {
			d.exact[n] = true
		}
	}
	return d
}

// Names returns the names the set was made of.
func (d Domains) Names() []string { return d.list }

// Contains reports whether the domain is in the set. A domain without a name, as that of
// "<postmaster>", is: RFC 5321 §4.5.1 has it accepted everywhere.
func (d Domains) Contains(domain string) bool {
	if domain == "" {
		return true
	}
	domain = strings.ToLower(domain)
	if d.exact[domain] {
		return true
	}
	for _, b := range d.below {
		if strings.HasSuffix(domain, b) && len(domain) > len(b) {
			return true
		}
	}
	return false
}
