package nexthop

import (
	"fmt"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// hello sends EHLO, and HELO to servers that do not know it. RFC 5321 §3.2 names 500, 501, 502,
// 504 and 550 as the replies to try HELO after; servers have others. LMTP has LHLO alone (RFC 2033
// §4.1).
func (h *Hop) hello(c *conn) error {
	verb := h.helloVerb()
	r, err := h.greetAs(c, verb)
	if err != nil {
		return err
	}
	if r.Code == 250 {
		h.offered(c, r.Lines)
		return nil
	}
	c.offers, c.ext = nil, mail.Extensions{}
	if !c.forward.told {
		c.forward.lists = 0
	}
	if !r.Permanent() || h.cfg.LMTP {
		return fmt.Errorf("%s: %w", verb, refusedBy(r))
	}
	if r, err = h.greetAs(c, "HELO"); err != nil {
		return err
	}
	if r.Code != 250 {
		return fmt.Errorf("HELO: %w", refusedBy(r))
	}
	return nil
}

func (h *Hop) helloVerb() string {
	if h.cfg.LMTP {
		return "LHLO"
	}
	return "EHLO"
}

func (h *Hop) greetAs(c *conn, verb string) (reply.Reply, error) {
	r, err := c.command(verb+" "+h.cfg.Hostname, h.cfg.Timeouts.Greeting)
	if err != nil {
		return r, fmt.Errorf("%s: %w", verb, err)
	}
	return r, nil
}

// offered takes note of what a reply to EHLO offers.
func (h *Hop) offered(c *conn, lines []string) {
	c.offers = parseKeywords(lines)
	c.ext = c.offers.extensions()
	c.ext.RequireTLS = c.ext.RequireTLS && h.keepsTLS(c)
	if !c.forward.told { // to the client it may list less, and still takes it from us
		c.forward.lists = parseForwarding(lines, h.cfg.ForwardClient)
	}
}

// keepsTLS reports whether the connection is what REQUIRETLS asks for: under TLS, with a
// certificate that was verified for the server's name (RFC 8689 §4.2.1).
func (h *Hop) keepsTLS(c *conn) bool { return h.cfg.TLS == VerifiedTLS && c.net != c.raw }
