package nexthop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// credentials are the files of TLS: whom we trust, and who we are. Files that have changed are read
// again for the next connection; where they are no good then, what was read before stays in force.
// Safe for concurrent use.
type credentials struct {
	cfg *Config
	log *alerts

	mu    sync.Mutex
	read  [3]os.FileInfo // CA, Certificate, Key as they were read; nil: not there
	valid bool           // roots and own are in force
	roots *x509.CertPool
	own   []tls.Certificate
	// made are the configurations of the addresses. They hold the sessions that can be resumed, which
	// were verified with these roots and this certificate, and end with them.
	made map[*address]*tls.Config
}

// forAddress returns the configuration of a handshake. The error is that of the files.
func (c *credentials) forAddress(ctx context.Context, a *address) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(); err != nil {
		if !c.valid {
			return nil, err
		}
		c.log.error(ctx, "files of TLS for the next hop are no good, the old ones stay in force", "", err)
	}
	if made, ok := c.made[a]; ok {
		return made, nil
	}
	made := &tls.Config{
		ServerName:         a.host,
		RootCAs:            c.roots,
		Certificates:       c.own,
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
		// Any certificate is better than none against those who only listen (RFC 7435).
		InsecureSkipVerify: c.cfg.TLS != VerifiedTLS,
	}
	if c.cfg.TLSName != "" {
		made.ServerName = c.cfg.TLSName
	}
	if c.made == nil {
		c.made = map[*address]*tls.Config{}
	}
	c.made[a] = made
	return made, nil
}

// refresh reads the files where any of them has changed.
func (c *credentials) refresh() error {
	var now [3]os.FileInfo
	changed := !c.valid
	for i, name := range []string{c.cfg.CA, c.cfg.Certificate, c.cfg.Key} {
		if name != "" {
			now[i], _ = os.Stat(name) // what is wrong with it, reading says
		}
		changed = changed || !sameFile(now[i], c.read[i])
	}
	if !changed {
		return nil
	}
	roots, own, err := readCredentials(c.cfg)
	if err != nil {
		return err // and again at the next connection, until it is mended
	}
	c.roots, c.own, c.read, c.valid = roots, own, now, true
	clear(c.made)
	return nil
}

// sameFile reports whether nobody has written the file, or put another in its place.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func readCredentials(cfg *Config) (*x509.CertPool, []tls.Certificate, error) {
	roots := cfg.RootCAs
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, nil, err
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("%s: no certificate in it", cfg.CA)
		}
	}
	if cfg.Certificate == "" {
		return roots, nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cfg.Certificate, cfg.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s and key %s: %w", cfg.Certificate, cfg.Key, err)
	}
	return roots, []tls.Certificate{pair}, nil
}

// explain adds to a certificate that was not verified which name was asked for and what the
// certificate says of itself: the operator has to change one of them.
func explain(err error, name string) error {
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) || len(bad.UnverifiedCertificates) == 0 {
		return err
	}
	leaf := bad.UnverifiedCertificates[0]
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 10
	if len(names) > most {
		names = append(names[:most], "and others")
	}
	return fmt.Errorf("certificate is not valid for %q: %w; it is for %q, issued by %q, from %s to %s", name, bad.Err,
		strings.Join(names, ", "), leaf.Issuer.String(), leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime))
}
