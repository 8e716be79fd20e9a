package mail

import "strings"

// Domains is a set of accepted domains: exact names and "*.example.org" for all
// sub-domains of example.org, but not itself. The zero value has none. Not to be changed
// once it is shared.
type Domains struct {
	exact map[string]bool // in comparableForm
	below []string        // ".example.org", likewise
	list  []string
}

// NewDomains makes the set of these names.
func NewDomains(names ...string) Domains {
	d := Domains{exact: map[string]bool{}}
	for _, n := range names {
		d.list = append(d.list, n)
		if rest, ok := strings.CutPrefix(n, "*."); ok {
			d.below = append(d.below, "."+comparableForm(rest))
		} else {
			d.exact[comparableForm(n)] = true
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
	domain = comparableForm(domain)
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

// comparableForm is the form in which domains compare: A-labels in lower case, so that both
// forms of an internationalized name are one.
func comparableForm(domain string) string {
	if isASCII(domain) {
		return strings.ToLower(domain)
	}
	if ascii, err := lookup.ToASCII(domain); err == nil {
		return ascii
	}
	return domain
}
