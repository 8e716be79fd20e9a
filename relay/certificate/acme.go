package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// ACME is an authority and what it is asked for.
type ACME struct {
	Domains   []string // in A-labels and lower case; one certificate for each
	Directory string   // URL
	Email     string   // "": none
	Challenge string   // "http-01" or "tls-alpn-01"
	Address   string   // where challenges are answered; "": the challenge's own port
	Roots     []byte   // PEM of whom to trust as the directory; nil: the system's
	Dir       string   // where account, keys and certificates are kept
}

// authority asks for certificates, keeps and renews them. The methods are called by the Store
// under its lock, but for start, stop and release.
type authority struct {
	ACME
	log    *slog.Logger
	cache  *certmagic.Cache
	magic  *certmagic.Config
	ctx    context.Context
	cancel context.CancelFunc

	// answers is nil while its address cannot be had; problem is why.
	answers *answers
	problem string
	// kept are certificates of an authority before this one, until there are others.
	kept map[string]*tls.Certificate
}

// newAuthority makes one that does nothing yet. stir is called when there is a new certificate.
func newAuthority(a ACME, log *slog.Logger, stir func()) *authority {
	m := &authority{ACME: a, log: log}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	zlog := zap.New(core{ctx: m.ctx, log: log})
	var magic atomic.Pointer[certmagic.Config]
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return magic.Load(), nil },
		Logger:           zlog,
	})
	m.magic = certmagic.New(m.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: a.Dir},
		OCSP:    certmagic.OCSPConfig{DisableStapling: true},
		Logger:  zlog,
		OnEvent: func(_ context.Context, event string, data map[string]any) error {
			m.happened(event, data)
			stir()
			return nil
		},
	})
	issuer := certmagic.ACMEIssuer{
		CA: a.Directory, TestCA: a.Directory, // else a second attempt would go elsewhere
		Email: a.Email, Agreed: true, // config has asked
		DisableHTTPChallenge:      a.Challenge != http01,
		DisableTLSALPNChallenge:   a.Challenge != tlsALPN01,
		DisableDistributedSolvers: true,
		Logger:                    zlog,
	}
	host, port, _ := net.SplitHostPort(challengeAddress(a.Challenge, a.Address))
	issuer.ListenHost = host
	n, _ := strconv.Atoi(port)
	if a.Challenge == http01 {
		issuer.AltHTTPPort = n
	} else {
		issuer.AltTLSALPNPort = n
	}
	if a.Roots != nil {
		issuer.TrustedRoots = x509.NewCertPool()
		issuer.TrustedRoots.AppendCertsFromPEM(a.Roots)
	}
	m.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(m.magic, issuer)}
	magic.Store(m.magic)
	return m
}

func (m *authority) happened(event string, data map[string]any) {
	if event != "cert_obtained" {
		return // failures are logged where they happen, with their causes
	}
	name, _ := data["identifier"].(string)
	renewed, _ := data["renewal"].(bool)
	m.log.Info("certificate obtained", "name", name, "renewed", renewed, "directory", m.Directory)
}

// takeOver opens the address for challenges, or goes on with that of the authority before.
func (m *authority) takeOver(old *authority) error {
	if old != nil && old.answers != nil && old.Challenge == m.Challenge && old.Address == m.Address {
		m.answers = old.answers
		return nil
	}
	var err error
	m.answers, err = listenForChallenges(m.Challenge, m.Address, m.log)
	return err
}

// inherit keeps the certificates of the authority before for the names that are still wanted.
func (m *authority) inherit(old *authority) {
	m.kept = map[string]*tls.Certificate{}
	for _, name := range m.Domains {
		if c := old.certificate(name); c != nil {
			m.kept[name] = c
		}
	}
}

// start asks for what is missing, in the background. It goes on by itself: tries again what
// fails, at growing intervals, and renews what nears its end.
func (m *authority) start() {
	if err := os.MkdirAll(m.Dir, 0o700); err != nil {
		m.log.Error("acme", "says", "folder for certificates", "error", err)
	} else if err := os.Chmod(m.Dir, 0o700); err != nil {
		m.log.Error("acme", "says", "folder for certificates", "error", err)
	}
	_ = m.magic.ManageAsync(m.ctx, m.Domains) // only ManageSync fails
}

// listen opens the address for challenges where that could not be done before. Mail does not
// wait for it.
func (m *authority) listen() {
	if m.answers != nil {
		return
	}
	var err error
	m.answers, err = listenForChallenges(m.Challenge, m.Address, m.log)
	switch {
	case err != nil && m.problem != err.Error():
		m.problem = err.Error()
		m.log.Error("ACME challenges cannot be answered", "cause", err)
	case err == nil && m.problem != "":
		m.problem = ""
		m.log.Info("ACME challenges can be answered again")
	}
}

// stop asks nothing any more. What is under way is given up; it does not wait long for that.
func (m *authority) stop() {
	m.cancel()
	stopped := make(chan struct{})
	go func() {
		m.cache.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(2 * time.Second):
	}
}

// release closes the address for challenges.
func (m *authority) release() {
	if m.answers != nil {
		m.answers.close()
	}
}

// certificates are those there are, in the order of their names.
func (m *authority) certificates() []*tls.Certificate {
	var all []*tls.Certificate
	for _, name := range m.Domains {
		if c := m.certificate(name); c != nil {
			all = append(all, c)
		}
	}
	return all
}

func (m *authority) certificate(name string) *tls.Certificate {
	var best *tls.Certificate
	for _, c := range m.cache.AllMatchingCertificates(name) {
		if c.Leaf != nil && (best == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
			best = &c.Certificate
		}
	}
	if best == nil {
		return m.kept[name]
	}
	// The cache hands out copies: of one certificate, the first is kept, so that a set can be seen to be the same.
	if k := m.kept[name]; k != nil && k.Leaf.Equal(best.Leaf) {
		return k
	}
	if m.kept == nil {
		m.kept = map[string]*tls.Certificate{}
	}
	m.kept[name] = best
	return best
}
