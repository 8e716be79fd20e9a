package smtpserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
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

// Limits bound what a client may ask for. Those of the first group are replaced by the defaults where
// they are zero; of the others, zero is no limit.
type Limits struct {
	MessageSize     int64         // octets; default 35,000,000
	Recipients      int           // accepted in a transaction; default 200
	HeaderSize      int           // octets of the header section; default 256,000
	HeaderFields    int           // default 10,000
	CommandTimeout  time.Duration // for a whole command line, waiting for it included; default 5m
	DataTimeout     time.Duration // in the content, without an octet of it; default 10m
	Errors          int           // bad commands of a session: not known, mangled, out of order; default 20
	UnknownCommands int           // of them, commands that no server knows; default 10
	AuthFailures    int           // of a session; default 3

	MessageTimeout time.Duration // for a whole content
	SessionTimeout time.Duration // for a session; a content that is under way may end
	// MinimumRate is what a client must send in octets a second, once it has begun to send a command
	// line or a content.
	MinimumRate int64
	// Connections are those of this listener at a time; PerAddress those of one client, PerNetwork
	// those of its network, also of this listener.
	Connections            int
	ConnectionsPerAddress  int
	ConnectionsPerNetwork  int
	Tarpit                 time.Duration // each refusal after the third waits so long
	GreetingDelay          time.Duration // the banner waits so long for those who cannot
	AuthFailuresPerAddress int           // in ten minutes
	// RepairLineEnds makes CRLF of each CR and each LF of a content that stands alone, which is
	// refused otherwise.
	RepairLineEnds bool
}

// Limits that are nobody's business to change.
const (
	// maxLine is the longest command line, CRLF included. RFC 5321 §4.5.3.1.4 has 512, more
	// with extensions: SMTPUTF8, DSN and SIZE together stay below this.
	maxLine = 4096
	// maxSkip is how much of a longer line is read to find its end.
	maxSkip = 64 << 10
	// sizeRoom is what a message may grow by in the relay: trace and edited fields.
	sizeRoom = 1 << 10
	// minDrain is the least that is read of a message after it has been refused, so that the
	// client comes to hear the reply.
	minDrain = 1 << 20
)

// Config is what a Server needs. All of it is fixed for the Server's life.
type Config struct {
	Hostname string // in banner and EHLO
	Banner   string // what follows the hostname in the banner; "": "ESMTP relay"
	Listener string // the listener's address as configured, shown to agents and in the log
	Limits   Limits
	TLSMode  TLSMode
	// TLS is asked at each handshake; nil: there is no certificate now, so there can be none. Needed
	// where TLSMode is not NoTLS.
	TLS      func() *tls.Config
	Pipeline *pipeline.Pipeline
	Backend  Backend
	Log      *slog.Logger
	// Internal reports whether a client may send to any domain; nil: none.
	Internal func(netip.Addr) bool
	// Proxy reports whether who connects must say by PROXY for whom, and has no rights of its own;
	// nil: nobody.
	Proxy func(netip.Addr) bool
	// XClient reports whether a client may say by XCLIENT for whom it speaks; nil: none.
	XClient func(netip.Addr) bool
	// Auth is who judges those who log in; nil: AUTH is not offered. It is offered under TLS only.
	Auth Authenticator
	// AuthRequired: nobody else may send.
	AuthRequired bool
	// Clients counts them; nil: those of this Server alone are.
	Clients *Clients
}

// Authenticator lets users log in. Safe for concurrent use.
type Authenticator interface {
	// Mechanisms are the names of those offered, the strongest first.
	Mechanisms() []string
	// Start begins an exchange. The mechanism is one of Mechanisms, in upper case.
	Start(mechanism string, client netip.Addr) Exchange
}

// Exchange is one SASL exchange (RFC 4422), the server's side. Used by one goroutine.
type Exchange interface {
	// Next takes the client's response and returns the next challenge, until done. The first
	// response is nil where the client sent no initial one. It may take its time: a password
	// is hashed, another server may be asked. ErrCredentials and ErrMalformed are the client's fault;
	// any other error says that this could not be found out: the client may try again later.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// User is who has logged in, or the name that was tried; "" where none is known.
	User() string
}

// How an exchange fails by the client's fault.
var (
	// ErrCredentials: the client is not who it claims to be. Too many are not let try again.
	ErrCredentials = errors.New("wrong user name or password")
	// ErrMalformed: a response is not what the mechanism has, and nothing was judged by it.
	ErrMalformed = errors.New("malformed response")
)

func (l Limits) withDefaults() Limits {
	l.MessageSize = cmp.Or(l.MessageSize, 35_000_000)
	l.Recipients = cmp.Or(l.Recipients, 200)
	l.HeaderSize = cmp.Or(l.HeaderSize, 256_000)
	l.HeaderFields = cmp.Or(l.HeaderFields, 10_000)
	l.CommandTimeout = cmp.Or(l.CommandTimeout, 5*time.Minute)
	l.DataTimeout = cmp.Or(l.DataTimeout, 10*time.Minute)
	l.Errors = cmp.Or(l.Errors, 20)
	l.UnknownCommands = cmp.Or(l.UnknownCommands, 10)
	l.AuthFailures = cmp.Or(l.AuthFailures, 3)
	return l
}
