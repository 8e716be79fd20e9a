package nexthop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

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

// open opens a connection to the first of the sockets behind an address that is one.
func (h *Hop) open(ctx context.Context, a *address, policy TLSPolicy) (*conn, error) {
	login, err := h.mayLogIn(ctx, a)
	if err != nil {
		return nil, err
	}
	defer login.end()
	sockets, err := h.sockets(ctx, a)
	if err != nil {
		return nil, err
	}
	var causes []error
	for i, s := range sockets {
		within, cancel := share(ctx, len(sockets)-i)
		c, err := h.openSocket(within, a, s, policy, login)
		cancel()
		if err == nil {
			if len(sockets) > 1 {
				h.noteGood(a, s)
			}
			return c, nil
		}
		if len(sockets) > 1 {
			if !errors.Is(context.Cause(ctx), context.Canceled) {
				h.noteBad(a, s)
			}
			err = fmt.Errorf("%s: %w", s.address, err)
		}
		causes = append(causes, err)
		if ctx.Err() != nil || errors.Is(err, errLogin) {
			break // the next one asks for the same password
		}
	}
	return nil, errors.Join(causes...)
}

func (h *Hop) openSocket(ctx context.Context, a *address, s socket, policy TLSPolicy, login *attempt) (*conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, h.cfg.Timeouts.Connect)
	nc, err := h.cfg.Dial(dialCtx, s.network, s.address)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := newConn(nc, a)
	stop := c.watch(ctx)
	err = h.ready(c, policy, login)
	if !c.unwatch(stop) && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// ready brings a connection to where mail can be sent.
func (h *Hop) ready(c *conn, policy TLSPolicy, login *attempt) error {
	if err := h.greet(c, policy); err != nil {
		return err
	}
	if login != nil {
		if err := h.login(c, login); err != nil {
			if errors.Is(err, errLogin) && !errors.Is(context.Cause(c.ctx), context.Canceled) {
				h.log.error(c.ctx, "cannot log in at next hop, no mail goes to it", c.addr.hostport, err)
			}
			return err
		}
	}
	if err := c.unasked(h.cfg.Timeouts.Greeting); err != nil {
		return err
	}
	return h.checkForwarding(c)
}

// mayLogIn reads the secret and asks whether it may be tried; nil where we do not log in.
func (h *Hop) mayLogIn(ctx context.Context, a *address) (*attempt, error) {
	if h.cfg.Auth.Mechanism == "" {
		return nil, nil
	}
	secret, err := h.secret(ctx)
	if err != nil {
		h.log.error(ctx, "cannot log in at next hop, no mail goes to it", a.hostport, err)
		return nil, err
	}
	return a.logins.admit(ctx, secret)
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
		return err
	}
	// RFC 3207 §4.2: what was said before counts no more.
	return lateAlert(h.hello(c))
}

// lateAlert makes a failed handshake of what TLS 1.3 lets a server say only behind the client's end of
// it: that it does not like the client's certificate, or that there is none.
func lateAlert(err error) error {
	var e *net.OpError
	if errors.As(err, &e) && e.Op == "remote error" { // crypto/tls has no other name for it
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	return err
}

// startTLS puts TLS over the connection. What the server, or somebody between, sent in clear
// behind its 220 is thrown away with the reader that may hold it.
func (c *conn) startTLS(h *Hop) error {
	cfg, err := h.tls.forAddress(c.ctx, c.addr)
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	tc := tls.Client(c.raw, cfg)
	c.arm(h.cfg.Timeouts.Greeting)
	if err := tc.Handshake(); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, explain(c.cause(err), cfg.ServerName))
	}
	c.net = tc
	c.r.Reset(tc)
	return nil
}

// refusedBy is a reply as the cause of a failure.
func refusedBy(r reply.Reply) error { return &answer{r} }

type answer struct{ reply.Reply }

func (a *answer) Error() string { return "server answered " + a.String() }
