package smtpserver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// answer is the one door to the client: r, or where err is set, what the error comes to. A
// refusal is logged, agents are told of it, and 421 and who asks for it end the session.
func (g *gate) answer(c *command, r reply.Reply, err error) {
	if !mayWait(c) {
		defer g.flush()
	}
	if g.dead {
		if err != nil {
			g.logRefusal(c, reply.From(err), err)
		}
		return
	}
	if err == nil {
		g.say(r)
		return
	}
	r = g.clean(negative(reply.From(err)))
	g.tarpit(c, r.Code)
	if g.dead { // the client has gone meanwhile
		g.logRefusal(c, r, err)
		return
	}
	g.say(r)
	g.logRefusal(c, r, err)
	if r.Code == 421 || hangsUp(err) {
		g.linger = true
		defer g.hangUp(event.DisconnectHostClosed)
	}
	g.tellAgents(c, r, err)
}

// mayWait reports whether the reply may wait for those of the commands that came with it
// (RFC 2920 §3.2). That to a message may not: the next command can take its time, and the
// client must not send again what we have.
func mayWait(c *command) bool {
	switch c.verb {
	case "MAIL", "RCPT", "RSET":
		return true
	case "BDAT":
		return !c.content
	}
	return false
}

// negative makes sure that a refusal refuses.
func negative(r reply.Reply) reply.Reply {
	if r.Code < 400 || r.Code > 599 {
		return reply.From(errors.New("a refusal without a 4yz or 5yz reply"))
	}
	return r
}

func hangsUp(err error) bool {
	var e *reply.Error
	return errors.As(err, &e) && e.Hangup
}

// tellAgents fires OnReject. Its verdict can only be to hang up, so it is never nested.
func (g *gate) tellAgents(c *command, r reply.Reply, err error) {
	if g.agents == nil || !g.agents.Bound(event.Reject) {
		return
	}
	told := &event.Rejection{Reply: r, Command: text(c.told())}
	switch c.verb {
	case "MAIL":
		told.Of, told.Path = event.MailCommand, c.path
	case "RCPT":
		told.Of, told.Path, told.Recipient = event.RcptCommand, c.path, c.path.String()
	}
	var e *reply.Error
	if errors.As(err, &e) {
		switch {
		case e.Agent != "":
			told.Cause, told.Agent = event.CauseAgent, e.Agent
			told.At, _ = event.ParseKind(e.Op)
		case e.NextHop != "":
			told.Cause = event.CauseNextHop
		}
	}
	d := g.agents.Fire(g.ctx, event.Event{Kind: event.Reject, Rejection: told})
	if d.Action == event.Hangup {
		g.linger = true
		g.hangUp(event.DisconnectHostClosed)
	}
}

// badLogged is how many bad commands of a session are logged one by one. Its own line has how many
// there were: who speaks another protocol fills no log.
const badLogged = 3

// logRefusal logs why a client was refused. The Transaction's own line has it for a
// message that it was shown.
func (g *gate) logRefusal(c *command, r reply.Reply, err error) {
	var e *reply.Error
	level, what := slog.LevelInfo, "refused"
	if !errors.As(err, &e) && !errors.Is(err, context.DeadlineExceeded) {
		level, what = slog.LevelError, "internal error"
	}
	if c.bad && g.bad > badLogged && level == slog.LevelInfo {
		level = slog.LevelDebug
	}
	log := g.s.cfg.Log
	if c.logged && level <= slog.LevelInfo || !log.Enabled(g.ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("session", g.id), slog.String("client", g.remote.Addr().String())}
	if c.line != "" {
		attrs = append(attrs, slog.String("command", scrub(c.told(), true)))
	}
	if env := g.envelope(); env != nil {
		if env.ID != "" {
			attrs = append(attrs, slog.String("id", env.ID))
		}
		attrs = append(attrs, slog.String("from", "<"+scrub(env.From.String(), true)+">"))
		if c.content {
			attrs = append(attrs, slog.Any("to", recipients(env)))
		}
	}
	attrs = append(attrs, slog.String("reply", r.String()))
	if e != nil {
		switch {
		case e.Agent != "":
			attrs = append(attrs, slog.String("agent", e.Agent))
			if e.Reason != "" {
				attrs = append(attrs, slog.String("reason", e.Reason))
			}
		case e.NextHop != "":
			attrs = append(attrs, slog.String("next_hop", e.NextHop))
		}
	}
	if e == nil || e.Err != nil {
		attrs = append(attrs, slog.String("cause", err.Error()))
	}
	log.LogAttrs(g.ctx, level, what, attrs...)
}

// envelope is that of the transaction under way, nil outside one.
func (g *gate) envelope() *mail.Envelope {
	if g.agents == nil {
		return nil
	}
	return g.agents.State.Envelope
}

func recipients(env *mail.Envelope) []string {
	all := make([]string, len(env.Recipients))
	for i, r := range env.Recipients {
		all[i] = "<" + scrub(r.Path.String(), true) + ">"
	}
	return all
}

// say puts a reply out. It is the only place that writes one.
func (g *gate) say(r reply.Reply) {
	g.out = g.clean(r).AppendTo(g.out)
}

// maxText is how long the text of a reply line is at the most: RFC 5321 §4.5.3.1.5 has 512
// octets with code, enhanced code and CRLF.
const maxText = 480

// clean makes a reply fit to print: no control characters, whatever the text was made of, no
// octets beyond ASCII where the client did not ask for them (RFC 6531 §3.7.4.2), no line too
// long.
func (g *gate) clean(r reply.Reply) reply.Reply {
	utf8 := g.utf8
	if !slices.ContainsFunc(r.Lines, func(l string) bool { return len(l) > maxText || scrub(l, utf8) != l }) {
		return r
	}
	var lines []string
	for _, l := range r.Lines {
		l = scrub(l, utf8)
		for len(l) > maxText {
			cut := strings.LastIndexByte(l[:maxText], ' ')
			if cut <= 0 {
				cut = maxText
			}
			lines = append(lines, l[:cut])
			l = strings.TrimLeft(l[cut:], " ")
		}
		lines = append(lines, l)
	}
	r.Lines = lines
	return r
}

// scrub replaces what must not be printed. It returns s itself where there is nothing.
func scrub(s string, utf8 bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f:
			return ' '
		case r >= 0x80 && !utf8, r >= 0x80 && r < 0xa0:
			return '?'
		}
		return r
	}, s)
}

// counts is what a session came to.
type counts struct {
	commands          int
	negative          int // 4yz and 5yz replies
	accepted, refused int // messages
}

// logSession writes the one line of a session. One of a proxy with nobody behind it and no mail is how a
// load balancer looks whether we are there.
func (g *gate) logSession(ending ...slog.Attr) {
	log, level := g.s.cfg.Log, slog.LevelInfo
	if !g.known() && g.count.accepted+g.count.refused == 0 {
		level = slog.LevelDebug
	}
	if g.turnedAway || !log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("session", g.id), slog.String("client", g.remote.Addr().String())}
	if g.host != "" {
		attrs = append(attrs, slog.String("host", g.host))
	}
	if g.proxy.IsValid() {
		attrs = append(attrs, slog.String("proxy", g.proxy.String()))
	}
	attrs = append(attrs, slog.String("listener", g.s.cfg.Listener),
		slog.String("hello", scrub(g.client.Hello, true)), slog.Bool("esmtp", g.client.ESMTP), slog.Bool("tls", g.client.TLS != nil),
		slog.Int("accepted", g.count.accepted), slog.Int("refused", g.count.refused), slog.Int("commands", g.count.commands))
	attrs = append(attrs, ending...)
	if g.bad > 0 {
		attrs = append(attrs, slog.Int("errors", g.bad))
	}
	if g.early {
		attrs = append(attrs, slog.Bool("early_talker", true))
	}
	if g.client.User != "" {
		attrs = append(attrs, slog.String("user", g.client.User))
	}
	attrs = append(attrs, g.logTLS()...)
	attrs = append(attrs, slog.Int64("ms", time.Since(g.started).Milliseconds()))
	log.LogAttrs(context.Background(), level, "session", attrs...)
}

var reasons = map[event.DisconnectReason]string{
	event.DisconnectQuit: "quit", event.DisconnectClientLost: "client lost",
	event.DisconnectHostClosed: "closed by relay", event.DisconnectDrain: "shutdown",
}
