package nexthop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/relay/relay/reply"
)

// How long a login that was refused is not tried again, growing from the first to the second, unless
// the file of the secret changes: servers lock accounts, and addresses, for less.
const (
	minLoginPause = 10 * time.Second
	maxLoginPause = 5 * time.Minute
)

// Longest lines of a login, with CRLF: of the command (RFC 5321 §4.5.3.1.4) and of an answer to a
// challenge (RFC 4954 §4).
const (
	maxAuthCommand = 512
	maxAuthLine    = 12288
)

// Faults of a login that somebody has to mend. None is the client's, nor the mail's.
var (
	errLogin        = errors.New("cannot log in")
	errLoginInClear = fmt.Errorf("%w: the connection is not under TLS, and the secret would go in clear", errLogin)
)

// loginRefused is the server's refusal of who we say we are.
type loginRefused struct {
	answer reply.Reply
	says   string // what an XOAUTH2 challenge said, if anything
}

func (e *loginRefused) Error() string {
	s := "server answered AUTH by " + e.answer.String()
	if e.says != "" {
		s += fmt.Sprintf(" (%.300q)", e.says)
	}
	return s
}

// logins keeps a wrong secret from being tried again and again at one address, and many
// connections from trying one that nobody knows to be good. Safe for concurrent use.
type logins struct {
	turn chan struct{} // has an element while a secret is tried that is not known to be good

	mu      sync.Mutex
	good    fingerprint // of the secret that was taken last
	bad     fingerprint // of the one that was refused last
	until   time.Time   // when bad may be tried again
	pause   time.Duration
	because error // why bad was refused
}

type fingerprint = [sha256.Size]byte

// attempt is one connection that logs in. The nil attempt is one that does not.
type attempt struct {
	logins *logins
	secret string
	mark   fingerprint
	turn   bool // it has the turn
}

// admit says whether a secret may be tried now. One that is not known to be good is tried by one
// connection at a time: the others wait for what becomes of it. The caller ends the attempt.
func (l *logins) admit(ctx context.Context, secret string) (*attempt, error) {
	a := &attempt{logins: l, secret: secret, mark: sha256.Sum256([]byte(secret))}
	if l.knows(a.mark) {
		return a, nil
	}
	select {
	case l.turn <- struct{}{}:
		a.turn = true
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.mark == l.good { // found out meanwhile
		a.end()
		return a, nil
	}
	if a.mark == l.bad && time.Now().Before(l.until) {
		a.end()
		return nil, fmt.Errorf("%w: not tried again before %s, or until the file of the secret has another: %w",
			errLogin, l.until.UTC().Format(time.DateTime), l.because)
	}
	return a, nil
}

func (l *logins) knows(mark fingerprint) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return mark == l.good
}

// end gives the turn to the next.
func (a *attempt) end() {
	if a != nil && a.turn {
		a.turn = false
		<-a.logins.turn
	}
}

// note takes down what the server said to the secret; err nil: it was taken.
func (a *attempt) note(err error) {
	l := a.logins
	l.mu.Lock()
	defer l.mu.Unlock()
	var refused *loginRefused
	switch {
	case err == nil:
		l.good, l.bad, l.pause = a.mark, fingerprint{}, 0
	case !errors.As(err, &refused) || !refused.answer.Permanent():
	case a.mark == l.bad && time.Now().Before(l.until): // one of many at the same time
	default:
		if l.good == a.mark {
			l.good = fingerprint{}
		}
		l.pause = min(max(2*l.pause, minLoginPause), maxLoginPause)
		l.bad, l.until, l.because = a.mark, time.Now().Add(l.pause), err
	}
}

// login says who we are (RFC 4954). On a connection without TLS it says nothing.
func (h *Hop) login(c *conn, a *attempt) error {
	if c.net == c.raw {
		return errLoginInClear
	}
	mechanism := strings.ToUpper(h.cfg.Auth.Mechanism)
	switch offered := c.offers.params("AUTH"); {
	case len(offered) == 0:
		return fmt.Errorf("%w: server does not offer AUTH on this connection", errLogin)
	case !slices.Contains(offered, mechanism):
		return fmt.Errorf("%w: server does not offer AUTH %s, but %q", errLogin, mechanism, c.offers["AUTH"])
	}
	d, secret := dialogue{h: h, c: c}, a.secret
	var err error
	switch mechanism {
	case "PLAIN":
		err = d.plain(h.cfg.Auth.Username, secret)
	case "LOGIN":
		err = d.loginMechanism(h.cfg.Auth.Username, secret)
	case "XOAUTH2":
		err = d.xoauth2(h.cfg.Auth.Username, secret)
	default:
		err = fmt.Errorf("unknown mechanism %q", mechanism)
	}
	a.note(err)
	if err != nil {
		return fmt.Errorf("%w: %w", errLogin, err)
	}
	// What the server offers may change with a login, but only where a security layer came with it
	// (RFC 4954 §4), which none of these mechanisms has.
	c.ext.Auth = true
	return nil
}

// dialogue is one AUTH command with its challenges.
type dialogue struct {
	h *Hop
	c *conn
}

// plain: RFC 4616.
func (d dialogue) plain(user, password string) error {
	r, err := d.begin("PLAIN", "\x00"+user+"\x00"+password)
	return finish(r, err)
}

// loginMechanism has two challenges, "Username:" and "Password:" by custom; it was never made a
// standard, and has no initial response that all servers know.
func (d dialogue) loginMechanism(user, password string) error {
	r, err := d.command("AUTH LOGIN")
	for _, answer := range []string{user, password} {
		if err != nil || r.Code != 334 {
			break
		}
		r, err = d.answer(answer)
	}
	return finish(r, err)
}

// xoauth2 is Google's, and Microsoft's: a refusal comes as a challenge that says why, and has to be
// answered by nothing before the reply.
func (d dialogue) xoauth2(user, token string) error {
	r, err := d.begin("XOAUTH2", "user="+user+"\x01auth=Bearer "+token+"\x01\x01")
	if err != nil || r.Code != 334 {
		return finish(r, err)
	}
	says := r.Text()
	if text, err := base64.StdEncoding.DecodeString(says); err == nil {
		says = string(text)
	}
	if r, err = d.answer(""); err != nil {
		return err
	}
	if err := finish(r, nil); err != nil {
		return &loginRefused{answer: r, says: says}
	}
	return nil
}

// begin sends AUTH with the first answer in the same line, where there is room for it, or else when
// it is asked for (RFC 4954 §4).
func (d dialogue) begin(mechanism, first string) (reply.Reply, error) {
	line := "AUTH " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(first))
	if len(line)+len("\r\n") <= maxAuthCommand {
		return d.command(line)
	}
	r, err := d.command("AUTH " + mechanism)
	if err != nil || r.Code != 334 {
		return r, err
	}
	return d.answer(first)
}

func (d dialogue) answer(s string) (reply.Reply, error) {
	line := base64.StdEncoding.EncodeToString([]byte(s))
	if len(line)+len("\r\n") > maxAuthLine {
		return reply.Reply{}, fmt.Errorf("secret is too long: a line of a login has %d octets at most (RFC 4954 §4)", maxAuthLine)
	}
	return d.command(line)
}

func (d dialogue) command(line string) (reply.Reply, error) {
	r, err := d.c.command(line, d.h.cfg.Timeouts.Greeting)
	clear(d.c.out[:cap(d.c.out)]) // the secret is of no more use
	if err != nil {
		return r, fmt.Errorf("AUTH: %w", err)
	}
	return r, nil
}

// finish makes of the last reply what came of the login: 235, or why not.
func finish(r reply.Reply, err error) error {
	if err != nil || r.Code == 235 {
		return err
	}
	return &loginRefused{answer: r}
}
