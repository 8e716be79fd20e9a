package nexthop

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"time"
)

// Config says where a next hop is and how it is spoken to.
type Config struct {
	// Name is what the operator calls it; for the log.
	Name string
	// Addresses are host:port, tried in order; without a port, 25. Or unix: and the path of a socket.
	Addresses []string
	// Weights, where there are any, are one for each address: it is tried first that often,
	// compared with the others; 0: only when none of the others answers.
	Weights []int
	// LMTP is spoken instead of SMTP (RFC 2033): there is a final reply for each recipient, and
	// Transaction.ContentEach has them.
	LMTP bool
	// TLS is what is asked of the connection. The zero value is NoTLS.
	TLS TLSPolicy
	// TLSName is whom the certificate must be for; "" is the host of the address.
	TLSName string
	// CA is a PEM file of whom to trust where TLS is VerifiedTLS; "" is RootCAs.
	CA string
	// Certificate and Key are PEM files of what we show where a server asks; "": nothing. They are
	// read at New and, where they have changed since, at the next handshake.
	Certificate, Key string
	// Auth is how we log in; the zero value: we do not.
	Auth Auth
	// ForwardClient is how the server is told who the client is; the zero value: not.
	ForwardClient ForwardClient
	// MaxConnections is how many there may be at a time, to all addresses together, idle ones
	// included; 0: any number. Who finds none free waits, as long as its context lets it.
	MaxConnections int
	// Hostname is our name in EHLO.
	Hostname string
	// MaxIdle is how many unused connections are kept per address; 0 is 50, negative is none.
	MaxIdle int
	// IdleTimeout is how long one is kept. Servers hang up after 300 s (RFC 5321 §4.5.3.2.7) or,
	// under load, much less; 0 is 60 s.
	IdleTimeout time.Duration
	Timeouts    Timeouts
	// RootCAs are trusted where TLS is VerifiedTLS; nil is the system's.
	RootCAs *x509.CertPool
	// Dial opens a connection; nil is that of net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve finds the IP addresses of a host, of which each is tried. Where it is nil, it is that of
	// net.Resolver, or, with a Dial of one's own, Dial's business.
	Resolve func(ctx context.Context, host string) ([]string, error)
}

// Timeouts bound the wait for each step, on top of the caller's context. Zero values are
// the defaults of RFC 5321 §4.5.3.2.
type Timeouts struct {
	Connect  time.Duration // TCP; 30 s, the RFC says nothing
	Greeting time.Duration // §4.5.3.2.1; also for EHLO and STARTTLS; 5 min
	Mail     time.Duration // §4.5.3.2.2; also for RSET; 5 min
	Rcpt     time.Duration // §4.5.3.2.3; 5 min
	Data     time.Duration // §4.5.3.2.4; 2 min
	Block    time.Duration // §4.5.3.2.5: for one write of content; 3 min
	// Termination is the wait after the final dot (§4.5.3.2.6: at least 10 min). The default, 30
	// min, is longer than clients wait, whose context ends it; it bounds those who never give up.
	Termination time.Duration
}

// Auth is how we log in at a server (RFC 4954), under TLS only.
type Auth struct {
	Mechanism  string // plain, login or xoauth2; "": we do not
	Username   string
	SecretFile string // its first line is the password, or the token; read at each login
}

// ForwardClient is a way to tell a server that trusts us who the client is.
type ForwardClient string

// The ways. The zero value and "none": it is not told. Where the server does not take XFORWARD, it
// is not told either, and the log says so; where it does not take XCLIENT, it gets no mail.
const (
	ForwardNothing ForwardClient = "none"
	XClient        ForwardClient = "xclient"
	XForward       ForwardClient = "xforward"
)

// TLSPolicy is what is asked of the connection to a next hop.
type TLSPolicy uint8

// The policies.
const (
	NoTLS            TLSPolicy = iota
	OpportunisticTLS           // if offered, any certificate; in clear where it fails
	RequiredTLS                // always, any certificate
	VerifiedTLS                // always, with a certificate for the host of the address
)

// ParseTLSPolicy reads none, opportunistic, required or verified.
func ParseTLSPolicy(s string) (TLSPolicy, error) {
	switch s {
	case "none":
		return NoTLS, nil
	case "opportunistic":
		return OpportunisticTLS, nil
	case "required":
		return RequiredTLS, nil
	case "verified":
		return VerifiedTLS, nil
	}
	return NoTLS, fmt.Errorf("tls policy %q: must be none, opportunistic, required or verified", s)
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	if c.MaxIdle == 0 {
		c.MaxIdle = 50
	}
	orElse(&c.IdleTimeout, time.Minute)
	orElse(&c.Timeouts.Connect, 30*time.Second)
	orElse(&c.Timeouts.Greeting, 5*time.Minute)
	orElse(&c.Timeouts.Mail, 5*time.Minute)
	orElse(&c.Timeouts.Rcpt, 5*time.Minute)
	orElse(&c.Timeouts.Data, 2*time.Minute)
	orElse(&c.Timeouts.Block, 3*time.Minute)
	orElse(&c.Timeouts.Termination, 30*time.Minute)
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
		if c.Resolve == nil {
			c.Resolve = net.DefaultResolver.LookupHost
		}
	}
	return c
}

func orElse(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}
