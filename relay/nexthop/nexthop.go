// Package nexthop is the sending side: one named next hop with several addresses, its pool of
// connections, TLS policy, and mail transactions over SMTP. It says what the server said and
// decides nothing for the client: what becomes of a reply is its caller's business, and so is
// trying again later.
//
// One message: Begin borrows a connection, from the pool or by connecting; Envelope sends
// MAIL, RCPT and DATA in one write as far as the server allows and reads the replies; Content
// sends header and body as they come, ends them with the dot and waits for the answer;
// Release puts the connection back.
package nexthop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Hop is a next hop. Safe for concurrent use.
type Hop struct {
	cfg        Config
	log        *alerts
	tls        credentials
	secretOpen atomic.Bool     // it has been said that others can read the file of the secret
	draw       func(n int) int // at random, from 0 to n-1
	oneClient  atomic.Bool     // a server would not be told, by XCLIENT, of a second client

	mu        sync.Mutex
	addresses []*address // in the operator's order; the slice is not changed after New
	known     mail.Extensions
	places    places
	janitor   *time.Timer // runs while anything is idle
	closed    bool        // no connection is kept
}

// address is one address of a Hop. Its fields after host are guarded by Hop.mu.
type address struct {
	hostport string
	host     string
	weight   int    // 0: tried only when none of the others answers
	logins   logins // guards itself

	idle     []*conn // by idleSince, the longest first; used from the end
	seen     bool    // ext is what the server offered last
	ext      mail.Extensions
	badUntil time.Time // tried after the others until then
	backoff  time.Duration
	bad      map[socket]badSocket // those behind a name that failed
}

var errNoAddresses = errors.New("no addresses")

// New makes a Hop; it does not connect. Failures to connect are logged to log.
func New(cfg Config, log *slog.Logger) *Hop {
	cfg = cfg.withDefaults()
	h := &Hop{cfg: cfg, log: newAlerts(log.With("next_hop", cfg.Name)), known: unknown, draw: rand.IntN}
	h.places.most = cfg.MaxConnections
	h.tls.cfg, h.tls.log = &h.cfg, h.log
	for i, hostport := range cfg.Addresses {
		a := newAddress(hostport)
		if a.weight = 1; len(cfg.Weights) > 0 {
			a.weight = cfg.Weights[i]
		}
		h.addresses = append(h.addresses, a)
	}
	return h
}

func newAddress(hostport string) *address {
	host, full := hostOf(hostport)
	return &address{hostport: full, host: host, logins: logins{turn: make(chan struct{}, 1)}}
}

// hostOf splits host:port; without a port, it is 25.
func hostOf(hostport string) (host, full string) {
	if strings.HasPrefix(hostport, unixPrefix) {
		return "", hostport
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport, net.JoinHostPort(hostport, "25")
	}
	return host, hostport
}

// unknown is what is assumed of a server that nobody has spoken to yet: what practically all
// have.
var unknown = mail.Extensions{EightBitMIME: true}

// Name is what the configuration calls it.
func (h *Hop) Name() string { return h.cfg.Name }

// Extensions are those that every address offered when it was last connected to; of the
// sizes, the smallest that any named. Before the first connection it is 8BITMIME alone; see
// Probe.
func (h *Hop) Extensions() mail.Extensions {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known
}

// Probe makes Extensions known by connecting once, where there is no connection yet. The
// connection goes to the pool. The error is a *reply.Error.
func (h *Hop) Probe(ctx context.Context) error {
	c, err := h.get(ctx, true, false)
	if err != nil {
		return err
	}
	h.put(c)
	return nil
}

// Begin borrows a connection for one mail transaction of this client: an unused one, or a new
// one to the first address that answers. Nothing of the transaction is sent yet. The error is a
// *reply.Error, 451 4.4.1, with the cause of each address.
func (h *Hop) Begin(ctx context.Context, client mail.Client) (*Transaction, error) {
	t := &Transaction{hop: h, client: client}
	if err := t.borrow(ctx, true, false); err != nil {
		return nil, err
	}
	return t, nil
}

// Close says good-bye on unused connections, and from now on to each that is given back. Begin
// still connects: a transaction that has begun before a change of configuration ends at the next
// hop that it began with.
func (h *Hop) Close() {
	h.mu.Lock()
	h.closed = true
	var idle []*conn
	for _, a := range h.addresses {
		idle = append(idle, a.idle...)
		a.idle = nil
	}
	if h.janitor != nil {
		h.janitor.Stop()
	}
	h.mu.Unlock()
	for _, c := range idle {
		c.quit()
	}
}

// get returns a connection to the first address that has one or gives one. Each address has
// its share of the time that ctx leaves, so that one which does not answer cannot keep us from
// the next. pooled: it may be one that was used before. placed: the caller has a place for it, which
// is not the caller's any more.
func (h *Hop) get(ctx context.Context, pooled, placed bool) (*conn, error) {
	defer func() {
		if placed {
			h.leave()
		}
	}()
	order, err := h.order()
	if err != nil {
		return nil, h.unavailable(err)
	}
	var causes []error
	for i, a := range order {
		if pooled {
			if c := h.take(a); c != nil {
				return c, nil
			}
		}
		if err := ctx.Err(); err != nil {
			causes = append(causes, context.Cause(ctx))
			break
		}
		if !placed {
			c, err := h.place(ctx)
			if err != nil {
				return nil, h.crowded(ctx, err)
			}
			if c != nil {
				c.used = true
				return c, nil
			}
			placed = true
		}
		c, err := h.connectWithin(ctx, a, len(order)-i)
		if err == nil {
			c.hop, c.placed, placed = h, true, false
			return c, nil
		}
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
			causes = append(causes, err) // the caller went away: says nothing about the address
			break
		}
		err = fmt.Errorf("%s: %w", a.hostport, err)
		h.failed(a)
		h.log.warn(ctx, "next hop address unavailable", a.hostport, err)
		causes = append(causes, err)
	}
	err = errors.Join(causes...)
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		h.log.error(ctx, "next hop unavailable", "", err)
	}
	return nil, h.unavailable(err)
}

func (h *Hop) connectWithin(ctx context.Context, a *address, left int) (*conn, error) {
	ctx, cancel := share(ctx, left)
	defer cancel()
	c, err := h.connect(ctx, a)
	if err != nil {
		return nil, err
	}
	h.connected(a, c.ext)
	return c, nil
}

// unavailable is what the client is told when no connection can be had: no names.
func (h *Hop) unavailable(err error) *reply.Error {
	return &reply.Error{
		Reply: reply.New(451, reply.Enhanced{Subject: 4, Detail: 1}, "next hop unavailable, try again later"),
		Op:    "connect to next hop " + h.cfg.Name,
		Err:   err,
	}
}
