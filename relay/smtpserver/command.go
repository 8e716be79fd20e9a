package smtpserver

import (
	"errors"
	"slices"
	"strings"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// command is one command line of the client.
type command struct {
	line   string // as it came, without CRLF
	verb   string // upper case
	arg    string // what follows the verb and a space, without spaces at its end
	path   mail.Path
	params mail.Params
	// asked: the agents have let it pass already.
	asked bool
	// content: the reply to it ends the transaction.
	content bool
	// logged: the Transaction logs a refusal.
	logged bool
	// prepared: the verdict was known before go-smtp was given the command.
	prepared bool
	// bad: it counts among Limits.Errors.
	bad bool
	// secret: it may be a response that has come after the end of an exchange.
	secret bool
}

func parseCommand(line string) *command {
	verb, arg, _ := strings.Cut(line, " ")
	return &command{line: line, verb: strings.ToUpper(verb), arg: strings.Trim(arg, " \t")}
}

// told is the command as log and agents get it: without the secret that AUTH may bring.
func (c *command) told() string {
	if c.secret {
		return "…"
	}
	words := strings.Fields(c.line) // spaces before a verb make it none, but no secret less one
	switch {
	case len(words) == 0 || !strings.HasPrefix(strings.ToUpper(words[0]), "AUTH"):
		return c.line
	case len(words) < 2:
		return "AUTH"
	case !slices.Contains(mechanisms, strings.ToUpper(words[1])): // somebody's password, for all we know
		return "AUTH …"
	case len(words) == 2:
		return "AUTH " + words[1]
	}
	return "AUTH " + words[1] + " …"
}

// mechanisms are those that are told by name, whether or not they are offered.
var mechanisms = []string{
	"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "NTLM", "GSSAPI", "EXTERNAL", "ANONYMOUS", "XOAUTH2", "OAUTHBEARER",
	"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-512-PLUS",
}

// next takes the client's next command and does what it asks for, up to where go-smtp has
// something to read.
func (g *gate) next() {
	c := g.saved
	g.saved = nil
	if c == nil {
		var err error
		if c, err = g.command(); err != nil {
			g.lost(err)
			return
		}
		if c == nil {
			return
		}
	}
	g.count.commands++
	if handle, known := handlers[c.verb]; known {
		handle(g, c)
		return
	}
	g.notRecognized(c)
}

func (g *gate) notRecognized(c *command) {
	c.secret = g.login.tried
	g.login.tried = g.login.tried || c.told() != c.line // a mangled AUTH
	g.badCommand(c, 500, 2, "command not recognized")
}

// handlers are the commands. What is not here is 500 (RFC 5321 §4.2.4).
var handlers map[string]func(*gate, *command)

func init() {
	handlers = map[string]func(*gate, *command){
		"HELO": (*gate).hello, "EHLO": (*gate).hello, "STARTTLS": (*gate).startTLS,
		"MAIL": (*gate).mail, "RCPT": (*gate).rcpt, "DATA": (*gate).data, "BDAT": (*gate).bdat,
		"RSET": (*gate).reset, "NOOP": (*gate).noop, "HELP": (*gate).help, "QUIT": (*gate).quit,
		"VRFY": (*gate).verify, "XCLIENT": (*gate).xclient,
		"EXPN": (*gate).notImplemented, "TURN": (*gate).notImplemented, "SEND": (*gate).notImplemented,
		"SOML": (*gate).notImplemented, "SAML": (*gate).notImplemented, "ETRN": (*gate).notImplemented,
		"ATRN": (*gate).notImplemented, "AUTH": (*gate).auth,
		"GET": (*gate).notMail, "POST": (*gate).notMail, "PUT": (*gate).notMail, "CONNECT": (*gate).notMail,
	}
}

// notMail ends a session that HTTP has begun: a page can make a browser send a form here whose
// lines are commands.
func (g *gate) notMail(c *command) {
	g.linger = true
	g.answer(c, reply.Reply{}, reply.Refuse(reply.New(421, reply.Enhanced{Subject: 7}, "this is SMTP, closing connection")))
}

// command reads one command line. It returns nil where the line was bad and has been
// answered. A line that does not end, because the client or its patience does, is no
// command, whatever it looks like.
func (g *gate) command() (*command, error) {
	now := time.Now()
	l, begun := g.commandLimit(now), now
	if !now.Before(l.at) {
		return nil, l.err
	}
	for {
		line, ok, err := g.in.line()
		switch {
		case errors.Is(err, errTooLong):
			return nil, g.skipLine(l, begun)
		case err != nil:
			g.count.commands++
			g.badCommand(&command{}, 500, 2, "a command line must end in CRLF, and have no CR or LF in it")
			return nil, nil
		case ok:
			return parseCommand(string(line)), nil
		}
		part := len(g.in.unused())
		if err := g.wait(now, g.lineLimit(l, begun, part), !g.mailing); err != nil {
			return nil, err
		}
		if now = time.Now(); part == 0 {
			begun = now
		}
	}
}

// skipLine reads to the end of a line that is too long, within limits.
func (g *gate) skipLine(l limit, begun time.Time) error {
	g.count.commands++
	for skipped := 0; ; {
		n, done := g.in.skipLine()
		skipped += n
		if done || skipped > maxSkip {
			g.badCommand(&command{}, 500, 2, "command line too long") // RFC 5321 §4.5.3.1.4
			if !done && !g.dead {
				g.linger = true
				g.answer(&command{}, reply.Reply{}, reply.Refuse(reply.New(421, reply.Enhanced{Subject: 7}, "command line without an end, closing connection")))
			}
			return nil
		}
		if err := g.wait(time.Now(), g.lineLimit(l, begun, skipped), false); err != nil {
			return err
		}
	}
}

// badCommand refuses a command that is no command here, and counts it: who sends many
// does not speak SMTP.
func (g *gate) badCommand(c *command, code, detail int, text string) {
	g.refuseBad(c, reply.Refuse(reply.New(code, reply.Enhanced{Subject: 5, Detail: detail}, text)))
}

func (g *gate) refuseBad(c *command, err error) {
	code := reply.From(err).Code
	if c.bad = g.isBad(c, code); c.bad {
		g.bad++
	}
	if c.verb != "" && (code == 500 || code == 502) {
		g.unknown++
	}
	g.answer(c, reply.Reply{}, err)
	text := ""
	switch {
	case g.dead:
		return
	case g.bad >= g.s.cfg.Limits.Errors:
		text = "too many errors, closing connection"
	case g.unknown >= g.s.cfg.Limits.UnknownCommands:
		text = "too many unknown commands, closing connection"
	default:
		return
	}
	g.linger = true
	c.bad = false // this one is logged
	g.answer(c, reply.Reply{}, reply.Refuse(reply.New(421, reply.Enhanced{Subject: 7}, text)))
}

// isBad tells what no SMTP client sends from what a good one does: a message that is too big, and
// commands that it had sent before it could know that MAIL, every RCPT or a chunk was refused
// (RFC 2920 §3.1).
func (g *gate) isBad(c *command, code int) bool {
	switch {
	case c.verb == "XCLIENT":
		return true
	case code > 504 && code != 555:
		return false
	case code == 503 && (g.refused || g.mustReset):
		return c.verb != "RCPT" && c.verb != "DATA" && c.verb != "BDAT"
	}
	return true
}

// ask shows an event to the agents. A refusal comes back as the error of the reply.
func (g *gate) ask(k event.Kind, arg string) error {
	return g.agents.Fire(g.ctx, event.Event{Kind: k, Argument: text(arg)}).Refusal()
}

// answerOr answers a command that only agents have anything to say to: in their words, where they have any.
func (g *gate) answerOr(c *command, k event.Kind, otherwise reply.Reply) {
	d := g.agents.Fire(g.ctx, event.Event{Kind: k, Argument: text(c.arg)})
	if d.Reply.Code == 0 {
		d.Reply = otherwise
	}
	g.answer(c, d.Reply, d.Refusal())
}

func (g *gate) noop(c *command) {
	if g.badArgument(c) {
		return
	}
	g.answerOr(c, event.NoopCommand, reply.New(250, reply.Enhanced{}, "ok"))
}

func (g *gate) help(c *command) {
	if g.badArgument(c) {
		return
	}
	g.answerOr(c, event.HelpCommand, reply.New(214, reply.Enhanced{}, "see RFC 5321"))
}

// verify neither confirms nor denies (RFC 5321 §3.5.3, §7.3).
func (g *gate) verify(c *command) {
	if g.badArgument(c) {
		return
	}
	g.answer(c, reply.New(252, reply.Enhanced{Subject: 5}, "cannot verify, send some mail and see"), nil)
}

func (g *gate) notImplemented(c *command) {
	g.badCommand(c, 502, 1, c.verb+" not implemented")
}

// reset is RSET. An agent may refuse it; then the transaction stays as it is.
func (g *gate) reset(c *command) {
	if g.badArgument(c) {
		return
	}
	if !c.asked {
		if err := g.ask(event.RsetCommand, c.arg); err != nil {
			g.answer(c, reply.Reply{}, err)
			return
		}
	}
	g.forget()
	g.prepare(c, "RSET", reply.New(250, reply.Enhanced{}, "ok"), nil)
}

// forget drops the gate's own part of the transaction.
func (g *gate) forget() {
	g.mailing, g.refused, g.utf8, g.rcpts, g.mustReset = false, false, false, 0, false
}

func (g *gate) quit(c *command) {
	if g.badArgument(c) {
		return
	}
	g.answer(c, reply.New(221, reply.Enhanced{}, g.s.cfg.Hostname+" closing connection"), nil)
	g.hangUp(event.DisconnectQuit)
}
