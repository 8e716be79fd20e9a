package smtpserver

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"example.org/relay/relay/pipeline"
)

// TLSMode is how a listener does TLS.
type TLSMode string

// The modes. The zero value is NoTLS.
const (
	NoTLS    TLSMode = "none"
	StartTLS TLSMode = "starttls" // RFC 3207
	Implicit TLSMode = "implicit" // RFC 8314 §3: TLS before the banner
)

// Limits bound what a client may ask for. Zero values are replaced by the defaults.
type Limits struct {
	MessageSize    int64         // octets; default 35,000,000
	Recipients     int           // accepted in a transaction; default 200
	HeaderSize     int           // octets of the header section; default 256,000
	CommandTimeout time.Duration // for a whole command line, waiting for it included; default 5m
	DataTimeout    time.Duration // in the content, without an octet of it; default 10m
}

// Limits that are nobody's business to change.
const (
	// maxLine is the longest command line, CRLF included. RFC 5321 §4.5.3.1.4 has 512, more
	// with extensions: SMTPUTF8, DSN and SIZE together stay below this.
	maxLine = 4096
	// maxSkip is how much of a longer line is read to find its end.
	maxSkip = 64 << 10
	// maxBad is how many bad commands a session may send: not known, mangled, out of order.
	maxBad = 20
	// maxFields is how many fields a header section may have.
	maxFields = 10_000
	// sizeRoom is what a message may grow by in the relay: trace and edited fields.
	sizeRoom = 1 << 10
	// minDrain is the least that is read of a message after it has been refused, so that the
	// client comes to hear the reply.
	minDrain = 1 << 20
)

// Config is what a Server needs. All of it is fixed for the Server's life.
type Config struct {
	Hostname string // in banner and EHLO
	Listener string // the listener's address as configured, shown to agents and in the log
	Limits   Limits
	TLSMode  TLSMode
	// TLS is asked at each handshake. Needed where TLSMode is not NoTLS.
	TLS      func() *tls.Config
	Pipeline *pipeline.Pipeline
	Backend  Backend
	Log      *slog.Logger
	// Internal reports whether a client may send to any domain; nil: none.
	Internal func(netip.Addr) bool
}

func (l Limits) withDefaults() Limits {
	if l.MessageSize == 0 {
		l.MessageSize = 35_000_000
	}
	if l.Recipients == 0 {
		l.Recipients = 200
	}
	if l.HeaderSize == 0 {
		l.HeaderSize = 256_000
	}
	if l.CommandTimeout == 0 {
		l.CommandTimeout = 5 * time.Minute
	}
	if l.DataTimeout == 0 {
		l.DataTimeout = 10 * time.Minute
	}
	return l
}
