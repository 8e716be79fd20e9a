package smtpserver

import (
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-smtp"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// mail is MAIL (RFC 5321 §4.1.1.2).
func (g *gate) mail(c *command) {
	switch {
	case g.client.Hello == "":
		g.badCommand(c, 503, 1, "EHLO or HELO first")
		return
	case g.mailing:
		g.badCommand(c, 503, 1, "a transaction is under way")
		return
	case g.mustReset:
		g.badCommand(c, 503, 1, "a chunk was refused, RSET first")
		return
	case g.s.cfg.AuthRequired && g.client.User == "":
		g.refused = true
		g.answer(c, reply.Reply{}, g.authFirst())
		return
	}
	err := parsePathCommand(c, "FROM:", g.offered.SMTPUTF8)
	if err == nil {
		err = g.checkMail(c)
	}
	if err != nil {
		g.refused = true
		g.refuseBad(c, err)
		return
	}
	g.give(c, "MAIL FROM:<>")
}

func (g *gate) checkMail(c *command) error {
	if c.path.Domain == "" && !c.path.IsNull() {
		return badPath(c, errors.New("no domain"))
	}
	if err := mail.MailParams(c.params, g.offered); err != nil {
		return err
	}
	if _, utf8 := c.params.Get("SMTPUTF8"); c.path.NeedsUTF8() && !utf8 {
		return badPath(c, mail.ErrNeedsUTF8)
	}
	return nil
}

// rcpt is RCPT (RFC 5321 §4.1.1.3).
func (g *gate) rcpt(c *command) {
	switch {
	case g.client.Hello == "": // go-smtp does not know of STARTTLS
		g.badCommand(c, 503, 1, "EHLO or HELO first")
		return
	case g.mustReset:
		g.badCommand(c, 503, 1, "a chunk was refused, RSET first")
		return
	case !g.mailing: // RFC 5321 §3.3, whatever the argument
		g.badCommand(c, 503, 1, "MAIL first")
		return
	}
	err := parsePathCommand(c, "TO:", g.utf8)
	if err == nil && c.path.IsNull() {
		err = badPath(c, errors.New("null path"))
	}
	if err == nil {
		offered := g.offered
		offered.SMTPUTF8 = g.utf8
		err = mail.RcptParams(c.params, offered)
	}
	if err != nil {
		g.refuseBad(c, err)
		return
	}
	if g.rcpts >= g.offered.RcptMax {
		// RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction.
		g.answer(c, reply.Reply{}, reply.Refuse(reply.New(452, reply.Enhanced{Subject: 5, Detail: 3}, "too many recipients")))
		return
	}
	g.give(c, "RCPT TO:<r@x.invalid>")
}

// parsePathCommand reads the argument of MAIL and RCPT.
// Deviates: spaces after the colon are taken (RFC 5321 §3.3 has none); clients send them.
func parsePathCommand(c *command, prefix string, utf8 bool) error {
	if len(c.arg) < len(prefix) || !strings.EqualFold(c.arg[:len(prefix)], prefix) {
		return reply.Refuse(reply.New(501, reply.Enhanced{Subject: 5, Detail: 4}, c.verb+" "+prefix+"<address> expected"))
	}
	path, rest, err := mail.ParsePath(strings.TrimLeft(c.arg[len(prefix):], " "), utf8)
	if err != nil {
		return badPath(c, err)
	}
	c.path = path
	c.params, err = mail.ParseParams(rest)
	return err
}

// badPath is 5.1.7 for a reverse-path and 5.1.3 for a forward-path (RFC 3463 §3.2), 5.6.7
// where SMTPUTF8 is missing (RFC 6531 §3.5).
func badPath(c *command, err error) error {
	e := &reply.Error{Op: "parse " + c.verb, Err: err}
	switch {
	case errors.Is(err, mail.ErrNeedsUTF8):
		e.Reply = reply.New(553, reply.Enhanced{Subject: 6, Detail: 7}, "an address beyond ASCII needs SMTPUTF8")
	case c.verb == "MAIL":
		e.Reply = reply.New(501, reply.Enhanced{Subject: 1, Detail: 7}, "bad sender address")
	default:
		e.Reply = reply.New(501, reply.Enhanced{Subject: 1, Detail: 3}, "bad recipient address")
	}
	if errors.Is(err, mail.ErrTooLong) { // RFC 5321 §4.5.3.1.9
		e.Reply.Lines[0] = strings.Replace(e.Reply.Lines[0], "bad", "too long a", 1)
	}
	return e
}

// data is DATA (RFC 5321 §4.1.1.4). The Transaction is asked before go-smtp is given the
// command, since go-smtp says 354 without asking.
func (g *gate) data(c *command) {
	if g.badArgument(c) {
		return
	}
	if err := g.contentExpected(); err != nil {
		g.refuseBad(c, err)
		return
	}
	if err := g.tx.Data(g.ctx); err != nil {
		g.forget()
		g.prepare(c, "RSET", reply.Reply{}, err)
		return
	}
	g.answer(c, reply.New(354, reply.None, "end data with <CR><LF>.<CR><LF>"), nil)
	g.content = newContent(g, &dotSource{g: g, dots: newDots()})
	g.give(&command{line: ".", verb: "DATA"}, "DATA")
}

// contentExpected says whether DATA or BDAT may come now.
func (g *gate) contentExpected() error {
	switch {
	case g.mustReset:
		return reply.Refuse(reply.New(503, reply.Enhanced{Subject: 5, Detail: 1}, "a chunk was refused, RSET first"))
	case !g.mailing:
		return reply.Refuse(reply.New(503, reply.Enhanced{Subject: 5, Detail: 1}, "MAIL first"))
	case g.rcpts == 0:
		return reply.Refuse(reply.New(554, reply.Enhanced{Subject: 5, Detail: 1}, "no valid recipients"))
	}
	return nil
}

// session is what go-smtp calls when a command was in order. It stores the reply at the
// gate; go-smtp is told just whether the command was taken.
type session struct{ g *gate }

// open gives the session its Transaction.
func (g *gate) open() *session {
	g.tx = g.s.cfg.Backend.Open(g.agents)
	return &session{g}
}

var errRefused = &smtp.SMTPError{Code: 550, Message: "refused"}

// tell stores the Transaction's reply to the current command.
func (s *session) tell(r reply.Reply, err error) error {
	if err == nil && r.Code != 0 && !r.Positive() {
		err = reply.Refuse(r)
	}
	s.g.verdict = &outcome{r, err}
	if err != nil {
		return errRefused
	}
	return nil
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	g, c := s.g, s.g.current
	r, err := g.tx.Mail(g.ctx, c.path, c.params)
	if r.Code == 0 {
		r = reply.New(250, reply.Enhanced{Subject: 1}, "sender ok")
	}
	told := s.tell(r, err)
	g.refused = told != nil
	if told == nil {
		g.mailing = true
		_, g.utf8 = c.params.Get("SMTPUTF8")
	}
	return told
}

func (s *session) Rcpt(string, *smtp.RcptOptions) error {
	g, c := s.g, s.g.current
	r, err := g.tx.Rcpt(g.ctx, c.path, c.params)
	if r.Code == 0 {
		r = reply.New(250, reply.Enhanced{Subject: 1, Detail: 5}, "recipient ok")
	}
	told := s.tell(r, err)
	if told == nil {
		g.rcpts++
	}
	return told
}

// Data takes the content past go-smtp, whose own reader is handed an end of data when all
// is over: two parsers could find different ends.
func (s *session) Data(io.Reader) error {
	g := s.g
	g.in.grow()
	r, err := g.content.take(g.tx)
	g.in.release()
	g.feed = append(g.feed[:0], ".\r\n"...)
	g.current.content, g.current.logged = true, g.content.shown
	if errors.Is(err, errAborted) {
		g.verdict = nil
		return nil // the command that did it is answered
	}
	if err != nil {
		g.count.refused++
		g.mustReset = g.content.moreChunks()
	} else {
		g.count.accepted++
	}
	g.content = nil
	_ = s.tell(r, err)
	// The client need not wait for what is left to do: go-smtp's part, and Reset with the
	// Transaction's log.
	told := g.verdict
	g.verdict = nil
	g.answer(g.current, told.reply, told.err)
	return nil
}

// Reset is called after RSET, a further EHLO, and each content.
func (s *session) Reset() { s.g.tx.Reset(s.g.ctx) }

// Logout is called when the session ends.
func (s *session) Logout() error {
	s.g.tx.Close()
	return nil
}
