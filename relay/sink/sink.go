// Package sink is a next hop for trying things: it takes any mail, shows it and keeps it,
// and can be told to refuse or to dawdle at any stage. It is not part of a running relay.
//
// It stands behind the relay's own listening side: smtpserver gives each session's
// transactions to a transaction here, which hands them to printer and file. Replies and
// delays before MAIL come from an agent in the same process, bound to the events there.
package sink

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/smtpserver"
)

// Format is how messages are shown.
type Format int

// The formats. The zero value is Whole.
const (
	Whole Format = iota // envelope, header and the first lines of the body
	Lines               // one line each
	JSON                // one JSON object each, on a line
)

// Limits far beyond what anybody tries.
const (
	maxMessage    = 1_000_000_000 // octets
	maxHeader     = 64 << 20      // octets
	maxRecipients = 100_000
	patience      = time.Hour
)

// Options say how a Sink behaves. The zero value shows whole messages to nobody and keeps
// nothing.
type Options struct {
	Dir    string    // where messages are kept; created; empty: nowhere
	Out    io.Writer // where messages are shown; nil: nowhere
	Format Format
	Rules  Rules
	TLS    *tls.Config // nil: STARTTLS is not offered
	Log    *slog.Logger
}

// Sink takes mail. Safe for concurrent use.
type Sink struct {
	server *smtpserver.Server
	dir    string
	rules  Rules
	quiet  bool
	print  *printer
	seq    atomic.Int64
}

// New makes a sink. It takes nothing before Serve.
func New(o Options) (*Sink, error) {
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("directory for messages: %w", err)
		}
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	s := &Sink{dir: o.Dir, rules: o.Rules, quiet: o.Format != Whole, print: &printer{out: o.Out, format: o.Format}}
	p := pipeline.New(event.FrontEnd, mail.Domains{})
	p.Set(s.bindings())
	cfg := smtpserver.Config{
		Hostname: "localhost",
		Limits: smtpserver.Limits{
			MessageSize: maxMessage, HeaderSize: maxHeader, Recipients: maxRecipients,
			CommandTimeout: patience, DataTimeout: patience,
		},
		Pipeline: p,
		Backend:  s,
		Log:      o.Log,
	}
	if o.TLS != nil {
		cfg.TLSMode, cfg.TLS = smtpserver.StartTLS, func() *tls.Config { return o.TLS }
	}
	s.server = smtpserver.New(cfg)
	return s, nil
}

// Serve takes mail from a listener until Shutdown, and then returns nil. It may be called once.
func (s *Sink) Serve(l net.Listener) error { return s.server.Serve(l) }

// Shutdown takes no more connections and lets messages under way come to their end, until
// ctx ends.
func (s *Sink) Shutdown(ctx context.Context) error { return s.server.Shutdown(ctx) }

// Extensions are all there are.
func (s *Sink) Extensions() mail.Extensions {
	return mail.Extensions{
		Pipelining: true, EightBitMIME: true, SMTPUTF8: true, DSN: true, EnhancedStatusCodes: true, Chunking: true,
		SizeOffered: true, Size: maxMessage,
	}
}

// Open begins a session.
func (s *Sink) Open(agents *pipeline.Session) smtpserver.Transaction {
	return &transaction{sink: s, agents: agents}
}

// wait is a delay of the rules. It ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
