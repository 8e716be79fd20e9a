package smtpserver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// login is what a session knows of its attempts to log in.
type login struct {
	// tried: there was an AUTH, and what follows it by mistake may be a secret.
	tried  bool
	failed int
}

// attempt is one AUTH command under way.
type attempt struct {
	command   *command
	mechanism string
	initial   []byte // the initial response; nil: none was sent
	exchange  Exchange
}

// mayAuth reports whether AUTH is offered now: under TLS only (RFC 4954 §9).
func (g *gate) mayAuth() bool {
	return g.s.cfg.Auth != nil && g.client.TLS != nil && len(g.s.cfg.Auth.Mechanisms()) > 0
}

// auth is AUTH (RFC 4954 §4).
func (g *gate) auth(c *command) {
	a, err := g.parseAuth(c)
	if err != nil {
		g.refuseBad(c, err)
		return
	}
	if g.lockedOut() {
		g.loginFailed(c, lockedOut())
		return
	}
	if err := g.askAuth(event.AuthCommand, &event.Authentication{Mechanism: a.mechanism}); err != nil {
		g.answer(c, reply.Reply{}, err)
		return
	}
	a.exchange = g.s.cfg.Auth.Start(a.mechanism, g.remote.Addr())
	switch err := g.talk(a); {
	case err == nil:
		g.loggedIn(a)
	case !g.dead:
		g.notLoggedIn(a, err)
	}
}

// parseAuth checks whether AUTH may come now and reads its argument. The secret that may be in it is
// in nothing but the attempt after that.
func (g *gate) parseAuth(c *command) (*attempt, error) {
	word, initial, more := strings.Cut(c.arg, " ")
	initial = strings.TrimLeft(initial, " ")
	c.line, c.arg = c.told(), ""
	g.login.tried = true
	refuse := func(code, subject, detail int, text string) (*attempt, error) {
		return nil, reply.Refuse(reply.New(code, reply.Enhanced{Subject: subject, Detail: detail}, text))
	}
	switch {
	case g.s.cfg.Auth == nil:
		return refuse(502, 5, 1, "AUTH not implemented")
	case g.client.TLS == nil:
		return refuse(538, 7, 11, "AUTH needs TLS, STARTTLS first") // RFC 4954 §6
	case !g.client.ESMTP:
		return refuse(503, 5, 1, "EHLO first")
	case g.client.User != "":
		return refuse(503, 5, 1, "you have logged in already")
	case g.mailing:
		return refuse(503, 5, 1, "a transaction is under way")
	}
	mechanism := strings.ToUpper(word)
	switch {
	case word == "":
		return refuse(501, 5, 4, "AUTH needs a mechanism")
	case !slices.Contains(g.s.cfg.Auth.Mechanisms(), mechanism):
		return refuse(504, 5, 4, "mechanism not offered")
	case strings.Contains(initial, " "):
		return refuse(501, 5, 4, "AUTH takes a mechanism and an initial response")
	}
	a := &attempt{command: c, mechanism: mechanism}
	switch {
	case !more:
	case initial == "=": // RFC 4954 §4: empty, and not absent
		a.initial = []byte{}
	default:
		var err error
		if a.initial, err = decode(initial); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// decode reads a response. RFC 4954 §4: what is not base64 is 501 5.5.2.
func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, reply.Refuse(reply.New(501, reply.Enhanced{Subject: 5, Detail: 2}, "response is not base64"))
	}
	return b, nil
}

// maxResponses is how many responses an exchange may need: no mechanism has as many.
const maxResponses = 16

// talk carries the exchange on to its end.
func (g *gate) talk(a *attempt) error {
	response := a.initial
	for range maxResponses {
		if g.lockedOut() { // others of the address may have tried meanwhile
			return lockedOut()
		}
		challenge, done, err := g.judge(a.exchange, response)
		if done || err != nil {
			return err
		}
		g.out = append(g.out, "334 "...)
		g.out = base64.StdEncoding.AppendEncode(g.out, challenge)
		g.out = append(g.out, "\r\n"...)
		if response, err = g.response(); err != nil {
			return err
		}
	}
	return ErrMalformed
}

// judge asks the Authenticator, which has the time of a command for it.
func (g *gate) judge(x Exchange, response []byte) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(g.ctx, g.s.cfg.Limits.CommandTimeout)
	defer cancel()
	return x.Next(ctx, response)
}

// maxAuthLine is how long a response may be, CRLF included (RFC 4954 §4).
const maxAuthLine = 12288

// response reads the client's answer to a challenge.
func (g *gate) response() ([]byte, error) {
	now := time.Now()
	l, begun := g.commandLimit(now), now
	defer g.in.release()
	for {
		line, ok, err := g.in.lineWithin(maxAuthLine)
		switch {
		case errors.Is(err, errTooLong):
			return nil, g.skipResponse(l, begun)
		case err != nil:
			return nil, reply.Refuse(reply.New(501, reply.Enhanced{Subject: 5, Detail: 2}, "a response must end in CRLF, and have no CR or LF in it"))
		case ok && string(line) == "*":
			return nil, reply.Refuse(reply.New(501, reply.Enhanced{Subject: 7}, "authentication cancelled"))
		case ok:
			return decode(string(line))
		}
		part := len(g.in.unused())
		if part >= maxLine {
			g.in.grow() // not before it is needed: a client may be silent here for minutes
		}
		if err := g.wait(now, g.lineLimit(l, begun, part), true); err != nil {
			g.lost(err)
			return nil, err
		}
		if now = time.Now(); part == 0 {
			begun = now
		}
	}
}

// skipResponse reads to the end of a response that is too long, so that none of it is taken for a
// command.
func (g *gate) skipResponse(l limit, begun time.Time) error {
	for skipped := 0; skipped <= maxSkip; {
		n, done := g.in.skipLine()
		if skipped += n; done {
			return reply.Refuse(reply.New(500, reply.Enhanced{Subject: 5, Detail: 6}, "response too long")) // RFC 4954 §6
		}
		if err := g.wait(time.Now(), g.lineLimit(l, begun, skipped), false); err != nil {
			g.lost(err)
			return err
		}
	}
	return &reply.Error{Reply: reply.New(500, reply.Enhanced{Subject: 5, Detail: 6}, "response too long, closing connection"), Op: "AUTH", Hangup: true}
}

// loggedIn lets the client in, if the agents do.
func (g *gate) loggedIn(a *attempt) {
	user := a.user()
	if err := g.askAuth(event.EndOfAuthentication, &event.Authentication{Mechanism: a.mechanism, User: user, Success: true}); err != nil {
		if reply.From(err).Permanent() {
			g.addressFailed()
			g.loginFailed(a.command, err)
			return
		}
		g.answer(a.command, reply.Reply{}, err)
		return
	}
	g.login = login{}
	g.client.User, g.client.Mechanism = user, a.mechanism
	g.agents.SetClient(g.client)
	g.s.cfg.Log.Info("logged in", "session", g.id, "client", g.remote.Addr().String(), "user", user, "mechanism", a.mechanism)
	g.answer(a.command, reply.New(235, reply.Enhanced{Subject: 7}, "authentication successful"), nil)
}

// notLoggedIn tells agents and client that it has not come to a login, and why. An agent may put
// its own refusal in the place of ours.
func (g *gate) notLoggedIn(a *attempt, err error) {
	wrong := errors.Is(err, ErrCredentials)
	refusal := g.authRefusal(a, err)
	if err := g.askAuth(event.EndOfAuthentication, &event.Authentication{Mechanism: a.mechanism, User: a.user()}); err != nil {
		refusal = err
	}
	switch code := reply.From(refusal).Code; {
	case wrong:
		g.addressFailed()
		g.loginFailed(a.command, refusal)
	case isLockedOut(err):
		g.loginFailed(a.command, refusal)
	case code == 500 || code == 501:
		g.refuseBad(a.command, refusal)
	default:
		g.answer(a.command, reply.Reply{}, refusal)
	}
}

// authRefusal is what an error of the exchange comes to (RFC 4954 §6).
func (g *gate) authRefusal(a *attempt, err error) error {
	e := &reply.Error{Op: "AUTH", Err: fmt.Errorf("login as %q: %w", a.user(), err)}
	var told *reply.Error
	switch {
	case errors.As(err, &told):
		return err
	case errors.Is(err, ErrCredentials):
		e.Reply = reply.New(535, reply.Enhanced{Subject: 7, Detail: 8}, "authentication credentials invalid")
	case errors.Is(err, ErrMalformed):
		e.Reply = reply.New(501, reply.Enhanced{Subject: 5, Detail: 2}, "malformed response")
	default:
		e.Reply = reply.New(454, reply.Enhanced{Subject: 7}, "temporary authentication failure")
		g.s.cfg.Log.Error("login could not be judged", "session", g.id, "client", g.remote.Addr().String(),
			"mechanism", a.mechanism, "cause", err.Error())
	}
	return e
}

// user is the name, fit to be told.
func (a *attempt) user() string { return shown(a.exchange.User()) }

// shown is a name that a client gave, fit for the log: no client may fill it by one line.
func shown(name string) string {
	const longest = 255
	if len(name) > longest {
		name = name[:longest]
	}
	if !utf8.ValidString(name) {
		name = strings.ToValidUTF8(name, "?")
	}
	return scrub(name, true)
}

// askAuth shows an event of AUTH to the agents. A refusal comes back as the error of the reply.
func (g *gate) askAuth(k event.Kind, a *event.Authentication) error {
	if !g.agents.Bound(k) {
		return nil
	}
	return g.agents.Fire(g.ctx, event.Event{Kind: k, Auth: a}).Refusal()
}

// authFirst refuses MAIL of who must log in and has not: 530 (RFC 4954 §6), but while nobody can log in, for want
// of a certificate or of users, that is no fault of the client's.
func (g *gate) authFirst() error {
	text := "authentication required"
	switch {
	case g.client.TLS == nil && g.s.cfg.TLSMode == StartTLS && g.s.cfg.TLS() == nil:
		return nobodyCanLogIn(errNoCertificate)
	case g.client.TLS == nil:
		text += ", STARTTLS first"
	case !g.mayAuth():
		return nobodyCanLogIn(errNoUsers)
	}
	return reply.Refuse(reply.New(530, reply.Enhanced{Subject: 7}, text))
}

var errNoUsers = errors.New("there are no users now")

func nobodyCanLogIn(why error) error {
	return &reply.Error{
		Reply: reply.New(451, reply.Enhanced{Subject: 7}, "authentication required, and not available now, try again later"), Op: "MAIL", Err: why,
	}
}
