package nexthop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// How a server is told who the client is. Both commands are Postfix's, and others have them:
//
//	XFORWARD  is for the log. It goes before each MAIL, in the group of the envelope: servers
//	          forget it with each transaction. Where it is not offered or refused, mail goes on.
//	XCLIENT   makes the client's rights and reputation its own: the session begins anew, as the
//	          client's. Without it the client would have ours, which may be more than it ought to
//	          have; so where it is not offered or refused, no mail goes.
//
// A connection that has been told of one client never carries the mail of another.

// Caps of both commands.
const (
	maxForwardLine  = 512 // of a command, with CRLF
	maxForwardValue = 255 // of a value, as it is sent
)

// attributes are the facts that a server wants to be told, as its EHLO reply lists them.
type attributes uint16

const (
	attrName attributes = 1 << iota
	attrAddr
	attrPort
	attrProto
	attrHelo
	attrIdent
	attrSource
	attrLogin
	attrDestAddr
	attrDestPort
)

// attributeNames are in the order of the bits, which is that of the command.
var attributeNames = [...]string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE", "LOGIN", "DESTADDR", "DESTPORT"}

// What each command knows. One that lists others is not told those.
const (
	xforwardAttributes = attrName | attrAddr | attrPort | attrProto | attrHelo | attrIdent | attrSource
	xclientAttributes  = attrName | attrAddr | attrPort | attrProto | attrHelo | attrLogin | attrDestAddr | attrDestPort
)

// forwarding is what a connection has been told of clients.
type forwarding struct {
	lists attributes // what its EHLO reply to us lists for our command; 0: not offered
	// client is whom the session is, by XCLIENT; its zero value where told is false.
	client mail.Client
	told   bool // of some client, and the server took it
	mute   bool // XFORWARD was refused: it is not said again
}

// bound reports that a connection can carry no other client's mail: what the server holds of
// this one cannot be replaced, or servers of this hop are known to refuse that.
func (h *Hop) bound(c *conn) bool { return c.forward.told && (c.forward.mute || h.oneClient.Load()) }

// parseForwarding finds what the EHLO reply lists for the command.
func parseForwarding(lines []string, way ForwardClient) attributes {
	if way != XClient && way != XForward {
		return 0
	}
	var all attributes
	for _, line := range lines[min(1, len(lines)):] {
		words := strings.Fields(line)
		if len(words) == 0 || !strings.EqualFold(words[0], string(way)) {
			continue
		}
		for _, w := range words[1:] {
			for i, name := range attributeNames {
				if strings.EqualFold(w, name) {
					all |= 1 << i
				}
			}
		}
	}
	if way == XClient {
		return all & xclientAttributes
	}
	return all & xforwardAttributes
}

// checkForwarding is the last word of connecting: whether clients can be told of at all.
func (h *Hop) checkForwarding(c *conn) error {
	switch way := h.cfg.ForwardClient; {
	case c.forward.lists != 0:
	case way == XClient:
		return errors.New("the server does not offer XCLIENT, and mail would go with the rights of this relay")
	case way == XForward:
		h.log.warn(c.ctx, "next hop does not offer XFORWARD, it is not told who the client is", c.addr.hostport, errNotOffered)
	}
	return nil
}

var errNotOffered = errors.New("not in its reply to EHLO, where servers list it for those they trust")

// errOtherClient is a connection that has been told of another client and cannot be told of this.
var errOtherClient = errors.New("connection cannot be told of another client")

// introduce makes the session the client's, by XCLIENT; nothing where it is already. The caller
// closes the connection after an error.
func (h *Hop) introduce(ctx context.Context, c *conn, client *mail.Client) error {
	if h.cfg.ForwardClient != XClient || c.forward.told && c.forward.client == *client {
		return nil
	}
	stop := c.watch(ctx)
	err := h.xclient(c, client)
	if !c.unwatch(stop) && err == nil {
		err = context.Cause(ctx)
	}
	return err
}

func (h *Hop) xclient(c *conn, client *mail.Client) error {
	if c.needsReset { // not in the middle of a transaction
		r, err := c.command("RSET", h.cfg.Timeouts.Mail)
		if err != nil {
			return fmt.Errorf("RSET: %w", err)
		}
		if r.Class() != 2 {
			return fmt.Errorf("RSET: %w", refusedBy(r))
		}
		c.needsReset = false
	}
	first, rest := forwardParts("XCLIENT", client, "", c.forward.lists)
	for _, part := range []attributes{first, rest} {
		if part == 0 {
			continue
		}
		c.out = append(appendForward(c.out[:0], "XCLIENT", client, "", part), '\r', '\n')
		if err := c.write(c.out, h.cfg.Timeouts.Greeting); err != nil {
			return fmt.Errorf("XCLIENT: %w", err)
		}
		r, err := c.read(h.cfg.Timeouts.Greeting)
		if err != nil {
			return fmt.Errorf("XCLIENT: %w", err)
		}
		if r.Code != 220 {
			return fmt.Errorf("XCLIENT: %w", refusedBy(r))
		}
	}
	// The server begins anew with its greeting, and what it offers to the client may be other than
	// what it offers to us.
	c.forward.client, c.forward.told = *client, true
	return h.helloAs(c, client.Hello)
}

// borrow gets a connection and introduces the client on it. One from the pool that is of no use
// for that, dead or bound to another client, is replaced by a new one. pooled and placed are those
// of get.
//
// A new one that refuses the client has nothing against the others: a server answers XCLIENT as it
// would greet that client. Neither its address has failed then, nor are its servers known to be told
// of one client only.
func (t *Transaction) borrow(ctx context.Context, pooled, placed bool) error {
	for refusedAgain := false; ; {
		c, err := t.hop.get(ctx, pooled, placed)
		if err != nil {
			return err
		}
		if err = t.hop.introduce(ctx, c, &t.client); err == nil {
			if refusedAgain && !c.used {
				t.hop.oneClient.Store(true)
			}
			t.conn, t.remote, t.state = c, c.addr.hostport, idle
			return nil
		}
		var refusal *answer
		refused := errors.As(err, &refusal)
		if c.used && ctx.Err() == nil {
			refusedAgain = refusedAgain || refused && refusal.Code != 421 && c.forward.told
			pooled, placed = false, c.keepPlace()
			c.close()
			continue
		}
		c.close()
		if ctx.Err() == nil {
			if !refused {
				t.hop.failed(c.addr)
			}
			t.hop.log.error(ctx, "next hop cannot be told who the client is, no mail goes to it", c.addr.hostport, err)
		}
		return t.hop.unavailable(fmt.Errorf("%s: %w", c.addr.hostport, err))
	}
}

// helloAs says hello in the client's name, since servers judge the name by the address. One that
// cannot stand in a command, or is refused, is replaced by ours.
func (h *Hop) helloAs(c *conn, name string) error {
	if name == "" || len(name) > maxForwardValue || !printable(name, "") || !isASCII(name) {
		return h.hello(c)
	}
	r, err := c.command(h.helloVerb()+" "+name, h.cfg.Timeouts.Greeting)
	if err != nil {
		return fmt.Errorf("%s: %w", h.helloVerb(), err)
	}
	if r.Code != 250 {
		return h.hello(c)
	}
	h.offered(c, r.Lines)
	return nil
}

// forwardParts splits the attributes in two where one command would be too long; else rest is 0. The
// address is among the rest: from it on a server that is told by XCLIENT asks what that address may.
// So are those that Postfix forgets with another XCLIENT that does not have them: PROTO, HELO, LOGIN.
func forwardParts(command string, client *mail.Client, id string, all attributes) (first, rest attributes) {
	var b [maxForwardLine]byte
	if len(appendForward(b[:0], command, client, id, all)) <= maxForwardLine-len("\r\n") {
		return all, 0
	}
	const early = attrName | attrPort | attrDestAddr | attrDestPort
	return all & early, all &^ early
}

// appendForward appends the command with these attributes, without CRLF.
func appendForward(b []byte, command string, client *mail.Client, id string, which attributes) []byte {
	b = append(b, command...)
	for i, name := range attributeNames {
		if which&(1<<i) == 0 {
			continue
		}
		b = append(b, ' ')
		b = append(b, name...)
		b = append(b, '=')
		b = appendValue(b, attributeValue(client, id, 1<<i))
	}
	return b
}

// attributeValue is "" where it is not known.
func attributeValue(client *mail.Client, id string, which attributes) string {
	switch which {
	case attrName:
		if mail.CheckDomain(client.Host) == nil && isASCII(client.Host) {
			return client.Host
		}
	case attrAddr:
		return forwardAddr(client.Remote)
	case attrPort:
		return forwardPort(client.Remote)
	case attrDestAddr:
		return forwardAddr(client.Local)
	case attrDestPort:
		return forwardPort(client.Local)
	case attrProto:
		if client.ESMTP {
			return "ESMTP"
		}
		return "SMTP"
	case attrHelo:
		return client.Hello
	case attrIdent:
		return id
	case attrSource:
		// LOCAL would have the server complete addresses, and header fields with them.
		return "REMOTE"
	case attrLogin:
		return client.User
	}
	return ""
}

// appendValue appends xtext (RFC 3461 §4).
func appendValue(b []byte, value string) []byte {
	const hex = "0123456789ABCDEF"
	start := len(b)
	for i := range len(value) {
		switch c := value[i]; {
		case c <= ' ' || c >= 0x7f || c == '+' || c == '=':
			b = append(b, '+', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	// A name of one's own choice must not look like the word for none.
	if n := len(b) - start; n == 0 || n > maxForwardValue || value[0] == '[' && !strings.ContainsAny(value, ".:") {
		return append(b[:start], "[UNAVAILABLE]"...)
	}
	return b
}

// takeForward files the reply to XFORWARD. One that is refused where the server may still hold
// what it was told of another client makes the connection useless for this one.
func (x *exchange) takeForward(r reply.Reply) error {
	f := &x.c.forward
	switch {
	case r.Class() == 2:
		f.told = true
		return nil
	case r.Code == 421:
		return nil
	case x.toldBefore:
		return fmt.Errorf("%w: XFORWARD: %w", errOtherClient, refusedBy(r))
	}
	f.mute = true
	x.t.hop.log.warn(x.c.ctx, "next hop refuses XFORWARD, it is not told who the client is", x.c.addr.hostport, refusedBy(r))
	return nil
}

func forwardAddr(a netip.AddrPort) string {
	switch ip := a.Addr().Unmap(); {
	case !ip.IsValid():
		return ""
	case ip.Is6():
		return "IPV6:" + ip.WithZone("").String()
	default:
		return ip.String()
	}
}

func forwardPort(a netip.AddrPort) string {
	if a.Port() == 0 {
		return ""
	}
	return strconv.Itoa(int(a.Port()))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
