package certificate

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"
)

// set is all certificates of one moment. It is not changed once it is made.
type set struct {
	all []*tls.Certificate
	// named are those for a name, in lower case, "*.example.org" as it stands in the certificate,
	// the ones to prefer first.
	named map[string][]*tls.Certificate
	// others are for those who ask for no name, or one that is not there: the default, and
	// then those that share a name with it, since a client may be able to verify only one kind of key.
	others []*tls.Certificate
}

// newSet prefers what an authority gave to a pair for the same name: such a pair is there for the
// time until there is more. The default is the first pair all the same.
func newSet(given, pairs []*tls.Certificate) *set {
	s := &set{all: slices.Concat(given, pairs), named: map[string][]*tls.Certificate{}}
	for _, c := range s.all {
		for _, name := range names(c) {
			s.named[name] = append(s.named[name], c)
		}
	}
	first := slices.Concat(pairs, given)
	if len(first) == 0 {
		return s
	}
	s.others = first[:1:1]
	for _, name := range names(first[0]) {
		for _, c := range s.named[name] {
			if !slices.Contains(s.others, c) {
				s.others = append(s.others, c)
			}
		}
	}
	return s
}

func (s *set) empty() bool { return len(s.all) == 0 }

func (s *set) equal(other *set) bool { return other != nil && slices.Equal(s.all, other.all) }

// names are those that a certificate is for, in lower case.
func names(c *tls.Certificate) []string {
	all := c.Leaf.DNSNames
	if len(all) == 0 && c.Leaf.Subject.CommonName != "" {
		all = []string{c.Leaf.Subject.CommonName} // of old times, and many a certificate made by hand
	}
	lower := make([]string, len(all))
	for i, name := range all {
		lower[i] = strings.ToLower(name)
	}
	slices.Sort(lower)
	return slices.Compact(lower)
}

// choose returns the certificate for a client, nil where there is none at all.
func (s *set) choose(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	_, parent, _ := strings.Cut(name, ".")
	groups := [...][]*tls.Certificate{s.named[name], s.named["*."+parent], s.others}

	// That it is for the name we know better: of a certificate without alternative names, Go
	// would say that it is for none.
	can := *hello
	can.ServerName = ""
	now := time.Now()
	for _, group := range groups {
		var supported *tls.Certificate
		for _, c := range group {
			if can.SupportsCertificate(c) != nil {
				continue
			}
			if !now.Before(c.Leaf.NotBefore) && !now.After(c.Leaf.NotAfter) {
				return c
			}
			if supported == nil {
				supported = c
			}
		}
		if supported != nil {
			return supported
		}
	}
	for _, group := range groups {
		if len(group) > 0 {
			return group[0] // the handshake will say what is wrong with it
		}
	}
	return nil
}
