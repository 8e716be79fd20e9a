package smtpserver

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// begin begins the session, in its own goroutine: PROXY and TLS where they come first, then the
// agents at OnConnect and the banner.
func (g *gate) begin() {
	if g.s.proxied(g.raw) {
		if !g.readProxy() {
			return
		}
		if err := g.admitOrigin(g.origin); err != nil {
			g.turnAway(err)
			return
		}
	}
	g.peer = g.origin
	if g.s.cfg.TLSMode == Implicit && !g.handshake(g.s.cfg.TLS()) {
		return
	}
	early, err := g.awaitBanner()
	if err != nil {
		g.lost(err)
		return
	}
	g.early = early
	g.openAgents()
	g.greet()
}

// openAgents makes the session known to the agents.
func (g *gate) openAgents() {
	g.agents = g.s.cfg.Pipeline.Open(g.id, &event.Connection{
		Remote: g.remote, RemoteHost: g.host, Local: g.local, Proxy: g.proxy, Internal: g.has(g.s.cfg.Internal),
		Listener: g.s.cfg.Listener, Started: g.started, EarlyTalker: g.early, ImplicitTLS: g.s.cfg.TLSMode == Implicit,
	})
	g.agents.HeaderLimit, g.agents.RecipientLimit = g.s.cfg.Limits.HeaderSize, g.s.cfg.Limits.Recipients
	g.agents.MessageLimit = g.s.cfg.Limits.MessageSize
	if g.client != (event.Client{}) {
		g.agents.SetClient(g.client)
	}
}

// greet is the banner, if the agents let the client in.
func (g *gate) greet() {
	c := &command{}
	if err := g.agents.Fire(g.ctx, event.Event{Kind: event.Connect}).Refusal(); err != nil {
		g.answer(c, reply.Reply{}, asGreeting(err))
		g.linger = true
		g.hangUp(event.DisconnectHostClosed)
		return
	}
	g.answer(c, reply.New(220, reply.None, g.s.cfg.Hostname+" "+cmp.Or(g.s.cfg.Banner, "ESMTP relay")), nil)
}

// asGreeting gives a refusal a code that may stand in place of the banner: 554 or 421
// (RFC 5321 §4.3.2).
func asGreeting(err error) error {
	var e *reply.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Reply.Permanent() {
		e.Reply.Code = 554
	} else {
		e.Reply.Code = 421
	}
	return e
}

// hello is HELO and EHLO (RFC 5321 §4.1.1.1). Names that are no names are taken: too many
// good clients have one, and it is an agent's business to mind.
func (g *gate) hello(c *command) {
	if g.badArgument(c) {
		return
	}
	esmtp := c.verb == "EHLO"
	kind := event.HeloCommand
	if esmtp {
		kind = event.EhloCommand
	}
	if !c.asked {
		if err := g.ask(kind, g.greeting(c)); err != nil {
			g.answer(c, reply.Reply{}, err)
			return
		}
	}
	name, _, _ := strings.Cut(g.greeting(c), " ")
	g.client.Hello, g.client.ESMTP = text(name), esmtp
	g.claim.open = false
	g.agents.SetClient(g.client)
	g.forget()
	g.offer()
	r := reply.New(250, reply.None, g.s.cfg.Hostname)
	if esmtp {
		r.Lines = append(r.Lines, g.keywords()...)
	}
	g.prepare(c, c.verb+" client", r, nil)
}

// greeting is the argument of HELO or EHLO, or what XCLIENT has told of the client's: it is the client that
// is judged by its name, and not the hop.
func (g *gate) greeting(c *command) string { return cmp.Or(g.claim.told["HELO"], c.arg) }

// offer takes over what may be promised now: what the Backend can keep, and the gate's own. To who
// says HELO that is nothing (RFC 5321 §2.2.1): parameters and BDAT are for those who said EHLO.
func (g *gate) offer() {
	can := g.s.cfg.Backend.Extensions()
	size := g.s.cfg.Limits.MessageSize
	if can.SizeOffered && can.Size > 0 {
		size = min(size, max(can.Size-sizeRoom, 1))
	}
	rcpts := g.s.cfg.Limits.Recipients
	if can.RcptMax > 0 {
		rcpts = min(rcpts, can.RcptMax)
	}
	if !g.client.ESMTP {
		g.offered = mail.Extensions{Size: size, RcptMax: rcpts}
		return
	}
	g.offered = mail.Extensions{
		Pipelining: true, EnhancedStatusCodes: true, Chunking: true,
		EightBitMIME: can.EightBitMIME, DSN: can.DSN,
		SMTPUTF8:    can.SMTPUTF8 && can.EightBitMIME,      // RFC 6531 §3.1
		RequireTLS:  can.RequireTLS && g.client.TLS != nil, // RFC 8689 §2
		StartTLS:    g.s.cfg.TLSMode == StartTLS && g.client.TLS == nil && g.s.cfg.TLS() != nil,
		SizeOffered: true, Size: size, RcptMax: rcpts, Auth: g.mayAuth(),
	}
}

// keywords are the lines of the reply to EHLO.
func (g *gate) keywords() []string {
	o := g.offered
	all := []string{"PIPELINING", "SIZE " + strconv.FormatInt(o.Size, 10)}
	add := func(on bool, keyword string) {
		if on {
			all = append(all, keyword)
		}
	}
	add(o.EightBitMIME, "8BITMIME")
	add(o.SMTPUTF8, "SMTPUTF8")
	add(o.DSN, "DSN")
	add(o.StartTLS, "STARTTLS")
	add(o.RequireTLS, "REQUIRETLS")
	add(g.peer.has(g.s.cfg.XClient), xclientKeyword)
	if o.Auth {
		all = append(all, "AUTH "+strings.Join(g.s.cfg.Auth.Mechanisms(), " "))
	}
	// RFC 9422 §4.2
	return append(all, "ENHANCEDSTATUSCODES", "CHUNKING", "LIMITS RCPTMAX="+strconv.Itoa(o.RcptMax))
}
