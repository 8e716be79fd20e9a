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
	// Addresses are host:port, tried in order; without a port, 25.
	Addresses []string
	// TLS is what is asked of the connection. The zero value is NoTLS.
	TLS TLSPolicy
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
	}
	return c
}

func orElse(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}
