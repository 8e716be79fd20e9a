package nexthop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.org/relay/relay/mail"
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

// hello sends EHLO, and HELO to servers that do not know it. RFC 5321 §3.2 names 500, 501, 502,
// 504 and 550 as the replies to try HELO after; servers have others.
func (h *Hop) hello(c *conn) error {
	r, err := c.command("EHLO "+h.cfg.Hostname, h.cfg.Timeouts.Greeting)
	if err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	if r.Code == 250 {
		h.offered(c, r.Lines)
		return nil
	}
	if !r.Permanent() {
		return fmt.Errorf("EHLO: %w", refusedBy(r))
	}
	c.ext, c.forward.lists = mail.Extensions{}, 0
	r, err = c.command("HELO "+h.cfg.Hostname, h.cfg.Timeouts.Greeting)
	if err != nil {
		return fmt.Errorf("HELO: %w", err)
	}
	if r.Code != 250 {
		return fmt.Errorf("HELO: %w", refusedBy(r))
	}
	return nil
}

// offered takes note of what a reply to EHLO offers.
func (h *Hop) offered(c *conn, lines []string) {
	c.ext = parseExtensions(lines)
	c.ext.RequireTLS = c.ext.RequireTLS && h.keepsTLS(c)
	c.forward.lists = parseForwarding(lines, h.cfg.ForwardClient)
}

// keepsTLS reports whether the connection is what REQUIRETLS asks for: under TLS, with a
// certificate that was verified for the server's name (RFC 8689 §4.2.1).
func (h *Hop) keepsTLS(c *conn) bool { return h.cfg.TLS == VerifiedTLS && c.net != c.raw }

// parseExtensions reads the lines of an EHLO reply: the first is the server's name, each of
// the others a keyword, in any case (RFC 5321 §4.1.1.1), with its parameters.
func parseExtensions(lines []string) mail.Extensions {
	var e mail.Extensions
	for _, line := range lines[1:] {
		keyword, param, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(keyword) {
		case "PIPELINING":
			e.Pipelining = true
		case "8BITMIME":
			e.EightBitMIME = true
		case "SMTPUTF8":
			e.SMTPUTF8 = true
		case "DSN":
			e.DSN = true
		case "ENHANCEDSTATUSCODES":
			e.EnhancedStatusCodes = true
		case "CHUNKING":
			e.Chunking = true
		case "STARTTLS":
			e.StartTLS = true
		case "REQUIRETLS":
			e.RequireTLS = true
		case "SIZE":
			e.SizeOffered = true
			// RFC 1870 §4: up to 20 digits; what is beyond an int64 is no limit to us.
			if n, err := strconv.ParseInt(strings.TrimSpace(param), 10, 64); err == nil && n > 0 {
				e.Size = n
			}
		}
	}
	return e
}

// refusedBy is a reply as the cause of a failure.
func refusedBy(r reply.Reply) error { return &answer{r} }

type answer struct{ reply.Reply }

func (a *answer) Error() string { return "server answered " + a.String() }
