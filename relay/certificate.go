package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/net/idna"

	"example.org/relay/relay/certificate"
	"example.org/relay/relay/config"
)

// certificates is where a configuration has the listeners' certificates from.
func (r *Relay) certificates(cfg *config.Config) (certificate.Settings, error) {
	var s certificate.Settings
	for _, p := range cfg.TLSPairs {
		s.Pairs = append(s.Pairs, certificate.Pair(p))
	}
	a := cfg.ACME
	if a == nil {
		return s, nil
	}
	s.ACME = &certificate.ACME{
		Directory: a.Directory, Email: a.Email, Challenge: a.Challenge, Address: a.Address, Dir: filepath.Join(r.stateDir, "acme"),
	}
	for _, name := range a.Domains {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return s, fmt.Errorf("tls.acme.domains: %s: %w", name, err)
		}
		s.ACME.Domains = append(s.ACME.Domains, strings.ToLower(ascii))
	}
	if a.CA != "" {
		roots, err := os.ReadFile(a.CA)
		if err != nil {
			return s, fmt.Errorf("tls.acme.ca: %w", err)
		}
		s.ACME.Roots = roots
	}
	return s, nil
}
