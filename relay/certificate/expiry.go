package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// notice is what the log has said last of the certificate in one place.
type notice struct {
	leaf  *x509.Certificate
	stage int
}

// warnings are how many days before its end a certificate is spoken of.
var warnings = []int{14, 7, 1}

// stage counts the warnings that are due, and after the end the days since. A warning counts only
// where the certificate lives four times as long: one of six days is renewed in its last two, and
// there is nothing wrong with it before.
func stage(leaf *x509.Certificate, now time.Time) int {
	const oneDay = 24 * time.Hour
	left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)
	if left < 0 {
		return len(warnings) + 1 + int(-left/oneDay)
	}
	due := 0
	for i, days := range warnings {
		if t := time.Duration(days) * oneDay; left <= t && life >= 4*t {
			due = i + 1
		}
	}
	return due
}

// remind says which certificates expire: a warning at each of the warnings, an error on each day
// after the end.
func (s *Store) remind(given []*tls.Certificate) {
	for _, f := range s.files {
		s.remindOf(f.Certificate, f.cert)
	}
	for _, c := range given {
		s.remindOf("acme", c)
	}
}

func (s *Store) remindOf(place string, c *tls.Certificate) {
	key := place
	if place == "acme" && len(c.Leaf.DNSNames) > 0 {
		key += " " + c.Leaf.DNSNames[0]
	}
	now := time.Now()
	n := s.told[key]
	if n.leaf != c.Leaf {
		n = notice{leaf: c.Leaf}
	}
	due := stage(c.Leaf, now)
	if due <= n.stage {
		s.told[key] = n
		return
	}
	n.stage = due
	s.told[key] = n
	attrs := []any{"certificate", place, "names", names(c), "expires", day(c.Leaf.NotAfter)}
	if due > len(warnings) {
		s.log.Error("certificate has expired", attrs...)
		return
	}
	s.log.Warn("certificate expires soon", append(attrs, "days", int(c.Leaf.NotAfter.Sub(now).Hours()/24))...)
}
