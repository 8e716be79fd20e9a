package frontend

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// ask puts the recipients that the next hop has not answered yet to it, and returns its
// answer to the last of those that came of the RCPT in question: the recipient with the ID
// since, and all that agents have made on its occasion.
func (s *Session) ask(ctx context.Context, since uint32) (reply.Reply, error) {
	tx := &s.tx
	if tx.mailRefused != nil {
		return reply.Reply{}, tx.mailRefused
	}
	if told, known, err := s.recall(since); known {
		return told, err
	}
	ctx, cancel := context.WithTimeout(ctx, hopPatience)
	defer cancel()
	if tx.hop == nil || !tx.extends() {
		return s.askAll(ctx, since)
	}
	var last reply.Reply
	for _, r := range tx.env.Recipients[len(tx.asked.Recipients):] {
		answer, err := tx.hop.Rcpt(ctx, r)
		if s.left(answer, err) {
			if err != nil && over(ctx) {
				return reply.Reply{}, s.tagError(err)
			}
			return s.askAll(ctx, since)
		}
		s.learn(r, answer)
		refused := tx.judge(answer, tx.hop.Remote(), "RCPT", taken)
		if refused == nil {
			tx.accepted(r)
		}
		switch {
		case r.ID < since: // answered before by what was kept; the final envelope will show it
		case refused != nil:
			return reply.Reply{}, refused
		default:
			last = answer
		}
	}
	return tx.accepts(last), nil
}

// recall answers for the next hop from what is kept of its answers, where that is enough: one
// no to the recipients that came of the RCPT in question, or a yes to each.
func (s *Session) recall(since uint32) (told reply.Reply, known bool, err error) {
	tx := &s.tx
	if tx.set.cache == nil {
		return reply.Reply{}, false, nil
	}
	asked, found := 0, 0
	for _, r := range tx.env.Recipients {
		if r.ID < since {
			continue
		}
		asked++
		k, ok := tx.set.cache.get(r.Path, tx.env.From, s.asker())
		if !ok {
			continue
		}
		found++
		if no := tx.judge(k.reply, k.remote, "RCPT a while ago", taken); no != nil {
			if no.Err == nil {
				no.Err = errRemembered
			}
			return reply.Reply{}, true, no
		}
		told = tx.accepts(k.reply)
	}
	return told, found > 0 && found == asked, nil
}

// errRemembered is for whoever looks in the next hop's log in vain.
var errRemembered = errors.New("remembered, the next hop was not asked again; see frontend.recipient_cache_ttl")

// learn has an answer to a recipient kept, in live mode.
func (s *Session) learn(r mail.Recipient, answer reply.Reply) {
	if tx := &s.tx; tx.live && tx.set.cache != nil {
		tx.set.cache.learn(r.Path, tx.env.From, s.asker(), answer, tx.remote)
	}
}

// left reports that the next hop hung up, perhaps long ago, while the client was thinking.
// Nothing has come of what was asked, and it may be asked again on another connection, once.
func (s *Session) left(answer reply.Reply, err error) bool {
	if err == nil && answer.Code != 421 {
		return false
	}
	if err == nil {
		s.tx.hop.Abort()
	}
	s.tx.hop, s.tx.asked = nil, nil
	return true
}

// over reports that ctx has ended, or is about to: a read that it bounds may end a moment before.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

// askAll puts the whole envelope to the next hop, for the first recipient or because an
// agent, or the idle timer, has made what was asked before worthless. A recipient from before
// that is refused now is no answer to this RCPT: the final envelope will show it.
func (s *Session) askAll(ctx context.Context, since uint32) (reply.Reply, error) {
	tx := &s.tx
	answers, err := s.sendEnvelope(ctx, false)
	if err != nil {
		if unavailable(err) {
			tx.mailRefused = err // a hundred recipients are not to wait a minute each
		}
		return reply.Reply{}, err
	}
	if err := tx.judge(answers.Mail, tx.remote, "MAIL", taken); err != nil {
		tx.mailRefused = err
		s.letGo()
		return reply.Reply{}, err
	}
	tx.asked = &mail.Envelope{From: tx.env.From, Params: tx.env.Params}
	var last reply.Reply
	var refused *reply.Error
	for i, r := range tx.env.Recipients {
		s.learn(r, answers.Rcpts[i])
		err := tx.judge(answers.Rcpts[i], tx.remote, "RCPT", taken)
		if err == nil {
			tx.accepted(r)
		}
		switch {
		case r.ID < since:
		case err != nil:
			refused = err
		default:
			last = answers.Rcpts[i]
		}
	}
	if refused != nil {
		return reply.Reply{}, refused
	}
	return tx.accepts(last), nil
}

// unavailable reports that the next hop did not answer, or had no connection to spare (451 4.3.2),
// rather than that a connection broke.
func unavailable(err error) bool {
	var e *reply.Error
	return errors.As(err, &e) && (e.Reply.Enhanced == reply.Enhanced{Subject: 4, Detail: 1} || e.Reply.Enhanced == reply.Enhanced{Subject: 3, Detail: 2})
}

// sendEnvelope has a connection take the whole envelope: the one that is held, after RSET
// where it had something of it, or a fresh one.
func (s *Session) sendEnvelope(ctx context.Context, data bool) (Answers, error) {
	tx := &s.tx
	if tx.hop != nil && tx.asked != nil {
		if err := tx.hop.Reset(ctx); err != nil {
			tx.hop = nil
		}
	}
	tx.asked = nil
	if err := s.choose(ctx); err != nil {
		return Answers{}, err
	}
	answers, err := tx.hop.Envelope(ctx, tx.env, data)
	tx.remote = tx.hop.Remote() // it may have had to connect again
	if err != nil {
		tx.hop = nil
		return Answers{}, s.tagError(err)
	}
	return answers, nil
}

// choose borrows a connection where none is held.
func (s *Session) choose(ctx context.Context) error {
	tx := &s.tx
	if tx.hop != nil {
		return nil
	}
	hop, err := tx.set.NextHop.Begin(ctx, s.client())
	if err != nil {
		return s.tagError(err)
	}
	tx.hop, tx.remote = hop, hop.Remote()
	return nil
}

// client is who the mail comes from.
func (s *Session) client() mail.Client {
	conn, c := s.agents.State.Connection, &s.agents.State.Client
	return mail.Client{Remote: conn.Remote, Local: conn.Local, Host: conn.RemoteHost, Hello: c.Hello, ESMTP: c.ESMTP, User: c.User}
}

// asker is the client without what changes with each of its connections.
func (s *Session) asker() mail.Client {
	c := s.client()
	c.Remote, c.Local = netip.AddrPortFrom(c.Remote.Addr(), 0), netip.AddrPort{}
	return c
}

// open brings the next hop to its 354 for the final envelope. If it refuses any recipient
// that the client believes accepted, nothing is sent: one message never reaches a part.
func (s *Session) open(ctx context.Context) error {
	tx := &s.tx
	patience := hopPatience
	if s.agents.Bound(event.ProxyInboundMessage) {
		var err error
		if patience, err = s.announce(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var data reply.Reply
	if tx.hop != nil && tx.extends() && len(tx.asked.Recipients) == len(tx.env.Recipients) {
		var err error
		if data, err = tx.hop.Data(ctx); s.left(data, err) {
			if err != nil && over(ctx) {
				return s.tagError(err)
			}
			data = reply.Reply{}
		}
	}
	if data.Code == 0 {
		answers, err := s.sendEnvelope(ctx, true)
		if err != nil {
			return err
		}
		for i := range answers.Rcpts {
			s.learn(tx.env.Recipients[i], answers.Rcpts[i])
		}
		if err := tx.judgeAll(answers); err != nil {
			s.letGo()
			return err
		}
		data = answers.Data
	}
	if err := tx.judge(data, tx.hop.Remote(), "DATA", goAhead); err != nil {
		s.letGo()
		return err
	}
	return nil
}

// judgeAll is the answer to an envelope of which the client believes every recipient
// accepted: nil, or 451 where any refusal is transient, else 550 with the addresses that
// the client knows.
func (tx *transaction) judgeAll(answers Answers) *reply.Error {
	remote := tx.hop.Remote()
	if err := tx.judge(answers.Mail, remote, "MAIL", taken); err != nil {
		return err
	}
	var refused *reply.Error
	var names []string
	for i, r := range tx.env.Recipients {
		err := tx.judge(answers.Rcpts[i], remote, "RCPT", taken)
		if err == nil {
			continue
		}
		if name := "<" + knownAs(r) + ">"; !slices.Contains(names, name) {
			names = append(names, name)
		}
		if refused == nil || err.Reply.Transient() && refused.Reply.Permanent() {
			refused = err
		}
	}
	if refused == nil {
		return nil
	}
	r := refused.Reply
	if r.Transient() {
		r.Code = 451
	} else {
		r.Code = 550
	}
	// Nothing else the client could read says which of its recipients it was.
	if !strings.Contains(r.Text(), names[0]) || len(names) > 1 {
		r.Lines = append([]string{"not sent, refused for " + listed(names) + ":"}, r.Lines...)
	}
	refused.Reply = r
	return refused
}

// listed joins names as far as a reply line goes.
func listed(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// extends reports whether what the next hop has accepted is the beginning of the envelope
// as it is now.
func (tx *transaction) extends() bool {
	if tx.asked == nil || !tx.asked.From.Equal(tx.env.From) ||
		!slices.Equal(tx.asked.Params, tx.env.Params) || len(tx.asked.Recipients) > len(tx.env.Recipients) {
		return false
	}
	for i, r := range tx.asked.Recipients {
		if now := &tx.env.Recipients[i]; r.ID != now.ID || !slices.Equal(r.Params, now.Params) {
			return false
		}
	}
	return true
}

// accepted notes that the next hop has taken r.
func (tx *transaction) accepted(r mail.Recipient) {
	tx.asked.Recipients = append(tx.asked.Recipients, r)
}

// letGo gives the connection back in the middle of an envelope, or closes it where it waits
// for content.
func (s *Session) letGo() {
	s.tx.hop.Release()
	s.tx.hop, s.tx.asked = nil, nil
}

// tagError puts the message's id into what the client is told of a fault.
func (s *Session) tagError(err error) error {
	var e *reply.Error
	if !errors.As(err, &e) {
		return err
	}
	tagged := *e
	tagged.Reply = s.tx.tagged(e.Reply)
	return &tagged
}
