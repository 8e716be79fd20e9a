package smtpserver

import (
	"log/slog"
	"maps"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// XCLIENT is Postfix's (its XCLIENT_README): a hop that is trusted says for whom it speaks.

// claim is what XCLIENT has told of the client.
type claim struct {
	told attributes
	base origin // what they have changed
	open bool   // no EHLO has followed yet: the next XCLIENT adds to it
}

// xclient is XCLIENT. The session begins again, as that of the client who was told.
func (g *gate) xclient(c *command) {
	switch {
	case !g.peer.has(g.s.cfg.XClient):
		g.refuseBad(c, reply.Refuse(reply.New(550, reply.Enhanced{Subject: 7}, "you may not speak for others")))
		return
	case g.mailing || g.mustReset:
		g.badCommand(c, 503, 1, "a transaction is under way")
		return
	}
	told, err := parseXClient(c.arg)
	if err != nil {
		g.refuseBad(c, &reply.Error{
			Reply: reply.New(501, reply.Enhanced{Subject: 5, Detail: 4}, "bad XCLIENT: "+err.Error()), Op: "parse XCLIENT",
		})
		return
	}
	now := g.claimed(told)
	from := now.told.change(now.base, g.peer)
	if err := g.admitOrigin(from); err != nil {
		g.answer(c, reply.Reply{}, err)
		return
	}
	g.become(from, now)
}

// claimed is all that has been told of the client.
func (g *gate) claimed(told attributes) claim {
	now := claim{told: told, base: g.origin, open: true}
	if g.claim.open {
		// A line was too short for all attributes.
		now.base = g.claim.base
		now.told = maps.Clone(g.claim.told)
		maps.Copy(now.told, told)
	}
	if _, another := now.told["ADDR"]; another {
		now.base = g.peer
	}
	return now
}

// become ends the session, with all that was said in it, and begins that of the client who was told.
// TLS stays.
func (g *gate) become(from origin, now claim) {
	if g.tx != nil {
		g.tx.Close()
	}
	g.agents.Close(event.DisconnectQuit)
	id := g.s.ids.next()
	g.logSession(slog.String("reason", "xclient"), slog.String("next", id))

	g.forget()
	g.id, g.origin, g.claim, g.started = id, from, now, time.Now()
	g.bad, g.unknown, g.early, g.count, g.login = 0, 0, false, counts{}, login{}
	g.client = event.Client{TLS: g.client.TLS}
	if user := now.told["LOGIN"]; user != "" {
		g.client.User, g.client.Mechanism = user, "XCLIENT"
	}
	g.openAgents()
	if g.tx != nil {
		g.tx = g.s.cfg.Backend.Open(g.agents)
	}
	g.greet()
}
