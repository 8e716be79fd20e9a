package nexthop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"example.org/relay/relay/reply"
)

// errHandshake marks a TLS handshake that failed.
var errHandshake = errors.New("tls handshake")

// connect opens a connection and brings it to where MAIL can be sent.
func (h *Hop) connect(ctx context.Context, a *address) (*conn, error) {
	c, err := h.open(ctx, a, h.cfg.TLS)
	if h.cfg.TLS == OpportunisticTLS && errors.Is(err, errHandshake) && ctx.Err() == nil {
		// After a failed handshake the two ends no longer agree on what is being spoken.
		h.log.warn(ctx, "next hop offers TLS that does not work, going on in clear", a.hostport, err)
		c, err = h.open(ctx, a, NoTLS)
	}
	return c, err
}

func (h *Hop) open(ctx context.Context, a *address, policy TLSPolicy) (*conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, h.cfg.Timeouts.Connect)
	nc, err := h.cfg.Dial(dialCtx, "tcp", a.hostport)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := newConn(nc, a)
	stop := c.watch(ctx)
	err = h.greet(c, policy)
	if err == nil {
		err = h.checkForwarding(c)
	}
	if !c.unwatch(stop) && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// greet reads the greeting, says hello and negotiates TLS (RFC 5321 §3.1, §3.2; RFC 3207).
func (h *Hop) greet(c *conn, policy TLSPolicy) error {
	d := h.cfg.Timeouts.Greeting
	r, err := c.read(d)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if r.Code != 220 {
		return fmt.Errorf("greeting: %w", refusedBy(r))
	}
	if err := h.hello(c); err != nil {
		return err
	}
	if policy == NoTLS || policy == OpportunisticTLS && !c.ext.StartTLS {
		return nil
	}
	if !c.ext.StartTLS {
		return errors.New("TLS is required and the server does not offer STARTTLS")
	}
	r, err = c.command("STARTTLS", d)
	if err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if r.Code != 220 {
		if policy == OpportunisticTLS && r.Code != 421 {
			h.log.warn(c.ctx, "next hop offers STARTTLS and refuses it, going on in clear", c.addr.hostport, refusedBy(r))
			return nil
		}
		return fmt.Errorf("STARTTLS: %w", refusedBy(r))
	}
	if err := c.startTLS(h); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, c.cause(err))
	}
	// RFC 3207 §4.2: what was said before counts no more.
	return h.hello(c)
}

// startTLS puts TLS over the connection. What the server, or somebody between, sent in clear
// behind its 220 is thrown away with the reader that may hold it.
func (c *conn) startTLS(h *Hop) error {
	tc := tls.Client(c.raw, c.addr.tls)
	c.arm(h.cfg.Timeouts.Greeting)
	if err := tc.Handshake(); err != nil {
		return err
	}
	c.net = tc
	c.r.Reset(tc)
	return nil
}

// refusedBy is a reply as the cause of a failure.
func refusedBy(r reply.Reply) error { return &answer{r} }

type answer struct{ reply.Reply }

func (a *answer) Error() string { return "server answered " + a.String() }
