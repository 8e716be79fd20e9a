package frontend

import (
	"context"
	"errors"
	"strings"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// ask puts the recipients that the next hop has not answered yet to it, and returns its
// answer to the last of them.
func (s *Session) ask(ctx context.Context) (reply.Reply, error) {
	tx := &s.tx
	if tx.mailRefused != nil {
		return reply.Reply{}, tx.mailRefused
	}
	ctx, cancel := context.WithTimeout(ctx, hopPatience)
	defer cancel()
	if tx.hop == nil || !tx.extends() {
		return s.askAll(ctx)
	}
	var last reply.Reply
	for _, r := range tx.env.Recipients[len(tx.asked.Recipients):] {
		answer, err := tx.hop.Rcpt(ctx, r)
		if err != nil {
			tx.hop, tx.asked = nil, nil
			return reply.Reply{}, s.tagError(err)
		}
		if err := tx.judge(answer, tx.hop.Remote(), "RCPT", 250, 251, 252); err != nil {
			return reply.Reply{}, err
		}
		tx.accepted(r)
		last = answer
	}
	return tx.clean(last), nil
}

// askAll puts the whole envelope to the next hop, for the first recipient or because an
// agent, or the idle timer, has made what was asked before worthless.
func (s *Session) askAll(ctx context.Context) (reply.Reply, error) {
	tx := &s.tx
	answers, err := s.sendEnvelope(ctx, false)
	if err != nil {
		return reply.Reply{}, err
	}
	if err := tx.judge(answers.Mail, tx.hop.Remote(), "MAIL", 250); err != nil {
		tx.mailRefused = err
		s.letGo()
		return reply.Reply{}, err
	}
	tx.asked = &mail.Envelope{From: tx.env.From}
	var last reply.Reply
	var refused *reply.Error
	for i, r := range tx.env.Recipients {
		last = answers.Rcpts[i]
		if err := tx.judge(last, tx.hop.Remote(), "RCPT", 250, 251, 252); err != nil {
			refused = err
			continue
		}
		tx.accepted(r)
	}
	if refused != nil {
		return reply.Reply{}, refused
	}
	return tx.clean(last), nil
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
	if tx.hop == nil {
		hop, err := tx.set.NextHop.Begin(ctx)
		if err != nil {
			return Answers{}, s.tagError(err)
		}
		tx.hop, tx.remote = hop, hop.Remote()
	}
	answers, err := tx.hop.Envelope(ctx, tx.env, data)
	if err != nil {
		tx.hop = nil
		return Answers{}, s.tagError(err)
	}
	return answers, nil
}

// open brings the next hop to its 354 for the final envelope. If it refuses any recipient
// that the client believes accepted, nothing is sent: one message never reaches a part.
func (s *Session) open(ctx context.Context) error {
	tx := &s.tx
	ctx, cancel := context.WithTimeout(ctx, hopPatience)
	defer cancel()
	var data reply.Reply
	if tx.hop != nil && tx.extends() && len(tx.asked.Recipients) == len(tx.env.Recipients) {
		var err error
		if data, err = tx.hop.Data(ctx); err != nil {
			// The connection went away while the client was thinking: ask again, once.
			tx.hop, tx.asked = nil, nil
		}
	}
	if tx.hop == nil || data.Code == 0 {
		answers, err := s.sendEnvelope(ctx, true)
		if err != nil {
			return err
		}
		if err := tx.judgeAll(answers); err != nil {
			s.letGo()
			return err
		}
		data = answers.Data
	}
	if err := tx.judge(data, tx.hop.Remote(), "DATA", 354); err != nil {
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
	if err := tx.judge(answers.Mail, remote, "MAIL", 250); err != nil {
		return err
	}
	var refused *reply.Error
	var names []string
	for i, r := range tx.env.Recipients {
		err := tx.judge(answers.Rcpts[i], remote, "RCPT", 250, 251, 252)
		if err == nil {
			continue
		}
		names = append(names, "<"+knownAs(r)+">")
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
	if tx.asked == nil || !tx.asked.From.Equal(tx.env.From) || len(tx.asked.Recipients) > len(tx.env.Recipients) {
		return false
	}
	for i, r := range tx.asked.Recipients {
		if r.ID != tx.env.Recipients[i].ID {
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
