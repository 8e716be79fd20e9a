package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"example.org/relay/relay/mail"
)

// unixPrefix begins an address that is the path of a socket.
const unixPrefix = "unix:"

func (r *rules) nextHopAddresses(key string, n NextHop) {
	for i, a := range n.Addresses {
		at := index(key+".addresses", i)
		if r.has(at) {
			continue
		}
		if path, ok := strings.CutPrefix(a, unixPrefix); ok {
			if !filepath.IsAbs(path) {
				r.add(at, `must be "unix:" and an absolute path, as "unix:/run/dovecot/lmtp", got %s`, show(a))
			}
			if n.TLS == "verified" && n.TLSName == "" {
				r.add(at, `has no host whose certificate could be verified: set tls_name, or tls = "none"`)
			}
			continue
		}
		if host, ok := splitAddress(a); !ok || host == "" || strings.HasSuffix(a, ":0") {
			r.add(at, `must be host:port, as "127.0.0.1:25", got %s`, show(a))
		}
	}
}

// nextHopTLS has no setting that looks as if it kept mail safe and does nothing.
func (r *rules) nextHopTLS(key string, n NextHop) {
	for _, only := range []struct{ key, value string }{{"tls_name", n.TLSName}, {"ca", n.CA}} {
		if only.value != "" && n.TLS != "verified" && !r.has(key+".tls") {
			r.add(key+"."+only.key, `is looked at with tls = "verified" only; here tls is %s`, show(n.TLS))
		}
	}
	if n.TLSName != "" {
		if _, err := netip.ParseAddr(n.TLSName); err != nil && (mail.CheckDomain(n.TLSName) != nil || !isASCII(n.TLSName)) {
			r.add(key+".tls_name", `must be a domain name, as "mail.example.org" (in its "xn--" form), or an IP address, got %s`, show(n.TLSName))
		}
	}
	if n.CA != "" && !r.has(key+".ca") {
		r.certificates(key+".ca", n.CA)
	}
	switch {
	case n.Certificate == "" && n.Key == "":
	case n.Certificate == "":
		r.add(key+".certificate", "is not set, but key is: both or none")
	case n.Key == "":
		r.add(key+".key", "is not set, but certificate is: both or none")
	case n.TLS == "none":
		r.add(key+".certificate", `is never shown with tls = "none"`)
	default:
		if _, err := tls.LoadX509KeyPair(n.Certificate, n.Key); err != nil {
			r.add(key+".certificate", "%v", err)
		}
	}
}

// certificates checks a file of those to trust.
func (r *rules) certificates(key, name string) {
	rest, err := os.ReadFile(name)
	if err != nil {
		r.add(key, "%v", err)
		return
	}
	found := false
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			r.add(key, "%s: %v", name, err)
			return
		}
		found = true
	}
	if !found {
		r.add(key, "%s: there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)", name)
	}
}

// nextHopAuth: a secret goes over TLS only, and never where it may turn out to be clear.
func (r *rules) nextHopAuth(key string, n NextHop) {
	a := n.Auth
	if a == nil || r.has(key) {
		return
	}
	if n.TLS != "required" && n.TLS != "verified" {
		r.add(key, `needs tls = "required" or "verified", or the secret could go in clear; here tls is %s`, show(n.TLS))
	}
	if n.ForwardClient == "xclient" {
		r.add(strings.TrimSuffix(key, ".auth")+".forward_client", `cannot be "xclient" together with auth: each client would have the rights of that login`)
	}
	if !r.missing(key+".username", a.Username, "the name to log in with") && strings.ContainsAny(a.Username, "\x00\x01\r\n") {
		r.add(key+".username", "must not have control characters in it, got %s", show(a.Username))
	}
	if a.Mechanism == "xoauth2" {
		// Its file may be somebody's who comes up after us: it is read when it is needed.
		r.missing(key+".token_file", a.TokenFile, "the file of the token")
		r.unused(key+".password_file", a.PasswordFile, "token_file", a.Mechanism)
		return
	}
	r.unused(key+".token_file", a.TokenFile, "password_file", a.Mechanism)
	if !r.missing(key+".password_file", a.PasswordFile, "the file of the password") {
		r.password(key+".password_file", a.PasswordFile)
	}
}

func (r *rules) unused(key, value, instead, mechanism string) {
	if value != "" {
		r.add(key, "is not for mechanism %s, which has %s", show(mechanism), instead)
	}
}

// password checks that there is one.
func (r *rules) password(key, name string) {
	content, err := os.ReadFile(name)
	if err != nil {
		r.add(key, "%v", err)
		return
	}
	first, _, _ := bytes.Cut(content, []byte("\n"))
	switch first = bytes.TrimRight(first, "\r"); {
	case len(first) == 0:
		r.add(key, "%s: the first line, which is the password, is empty", name)
	case len(content) > maxPasswordFile:
		r.add(key, "%s: is larger than %d octets", name, maxPasswordFile)
	case bytes.ContainsAny(first, "\x00\x01") || !utf8.Valid(first):
		r.add(key, "%s: the first line, which is the password, is not text", name)
	}
}

// maxPasswordFile is what the sending side reads of such a file.
const maxPasswordFile = 64 << 10

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c > '~' }) < 0
}
