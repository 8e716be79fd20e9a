package config

import (
	"crypto/x509"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"example.org/relay/relay/mail"
)

// acme checks all that can be known without asking the authority.
func (r *rules) acme() {
	const key = "tls.acme"
	a := r.c.ACME
	if a == nil || r.has("tls") || r.has(key) {
		return
	}
	r.acmeDomains(key+".domains", a.Domains)
	if !a.TermsAgreed && !r.has(key+".terms_agreed") {
		r.add(key+".terms_agreed", "must be true: no authority gives certificates to whom does not agree to its terms; read those of %s",
			a.Directory)
	}
	if u, err := url.Parse(a.Directory); !r.has(key+".directory") && (err != nil || u.Scheme != "https" || u.Host == "") {
		r.add(key+".directory", "must be an https URL, as %q, got %s", letsEncrypt, show(a.Directory))
	}
	if a.Email != "" && !isAddress(a.Email) {
		r.add(key+".email", `must be an address, as "postmaster@example.org", got %s`, show(a.Email))
	}
	if _, ok := splitAddress(a.Address); a.Address != "" && (!ok || strings.HasSuffix(a.Address, ":0")) {
		r.add(key+".address", `must be host:port, as "127.0.0.1:8080", or ":80" for all addresses, got %s`, show(a.Address))
	}
	if a.CA != "" {
		r.roots(key+".ca", a.CA)
	}
}

func (r *rules) acmeDomains(key string, all []string) {
	if len(all) == 0 && !r.has(key) {
		r.add(key, `is not set: must be a list of names, as ["mx.example.org"]`)
	}
	seen := map[string]bool{}
	for i, name := range all {
		at := index(key, i)
		_, notAnAddress := netip.ParseAddr(name)
		switch {
		case r.has(at):
		case strings.HasPrefix(name, "*."):
			r.add(at, "must be a name: a certificate for all names of a domain can only be had by a challenge in the DNS, which is not in this version")
		case mail.CheckDomain(name) != nil || notAnAddress == nil:
			r.add(at, "must be a domain name, got %s", show(name))
		case seen[strings.ToLower(name)]:
			r.add(at, "%s is there already", name)
		}
		seen[strings.ToLower(name)] = true
	}
}

// isAddress reports whether there is one address that a mailto: URL can have.
func isAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && mail.CheckDomain(s[at+1:]) == nil && !strings.ContainsAny(s, " ,?&\"<>")
}

// roots wants a file of certificates.
func (r *rules) roots(key, path string) {
	data, err := os.ReadFile(path)
	switch {
	case err != nil:
		r.add(key, "%v", err)
	case !x509.NewCertPool().AppendCertsFromPEM(data):
		r.add(key, "%s has no certificate in it (PEM)", path)
	}
}
