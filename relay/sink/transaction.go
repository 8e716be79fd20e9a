package sink

import (
	"context"
	"fmt"
	"io"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// transaction takes the mail transactions of one session, one after the other.
type transaction struct {
	sink   *Sink
	agents *pipeline.Session
	from   Address
	rcpts  []Address
}

// answer does what the rules say at the stage; without one, the reply is the zero Reply.
func (t *transaction) answer(ctx context.Context, at Stage, address mail.Path) (reply.Reply, error) {
	if len(t.sink.rules) == 0 {
		return reply.Reply{}, nil
	}
	if err := wait(ctx, t.sink.rules.delay(at, address)); err != nil {
		return reply.Reply{}, err
	}
	r := t.sink.rules.reply(at, address)
	switch {
	case r.Code == 421: // RFC 5321 §3.8: whoever says it closes
		return reply.Reply{}, &reply.Error{Reply: r, Hangup: true}
	case r.Code != 0 && !r.Positive():
		return reply.Reply{}, reply.Refuse(r)
	}
	return r, nil
}

// Mail begins a transaction.
func (t *transaction) Mail(ctx context.Context, from mail.Path, params mail.Params) (reply.Reply, error) {
	r, err := t.answer(ctx, Mail, from)
	if err == nil {
		t.from, t.rcpts = newAddress(from, params), nil
	}
	return r, err
}

// Rcpt adds a recipient.
func (t *transaction) Rcpt(ctx context.Context, to mail.Path, params mail.Params) (reply.Reply, error) {
	r, err := t.answer(ctx, Rcpt, to)
	if err == nil {
		t.rcpts = append(t.rcpts, newAddress(to, params))
	}
	return r, err
}

// Data is asked before the content.
func (t *transaction) Data(ctx context.Context) error {
	_, err := t.answer(ctx, Data, mail.Path{})
	return err
}

// Content reads the message to its end, keeps it and shows it.
func (t *transaction) Content(ctx context.Context, header *mail.Header, body io.Reader) (reply.Reply, error) {
	s := t.sink
	m := &Message{Seq: int(s.seq.Add(1)), At: time.Now(), From: t.from, Recipients: t.rcpts}
	m.about(&t.agents.State)
	m.Subject = subject(header)
	t.rcpts = nil

	in := &intake{}
	defer in.close()
	if err := in.open(s, m); err != nil {
		return reply.Reply{}, err
	}
	raw := header.AppendTo(make([]byte, 0, header.Size()))
	if err := in.read(raw, body); err != nil {
		return reply.Reply{}, err
	}
	m.Size = in.size
	r, err := t.answer(ctx, Content, mail.Path{})
	if err != nil {
		m.Reply = reply.From(err).String()
		s.print.print(m, raw, in.head.b)
		return reply.Reply{}, err
	}
	if r.Code == 0 {
		r = reply.New(250, reply.Enhanced{}, fmt.Sprintf("message %d taken", m.Seq))
	}
	m.Reply = r.String()
	if err := in.keep(m); err != nil {
		return reply.Reply{}, err
	}
	s.print.print(m, raw, in.head.b)
	return r, nil
}

// Reset drops the transaction.
func (t *transaction) Reset(context.Context) { t.from, t.rcpts = Address{}, nil }

// Close is the end of the session.
func (t *transaction) Close() {}

// intake is where a content goes while it is read: counted, and where wanted, kept.
type intake struct {
	size int64
	file *file // nil: not kept
	head head
	to   io.Writer // nil: nobody wants it
}

func (in *intake) open(s *Sink, m *Message) error {
	var wanted []io.Writer
	if s.dir != "" {
		f, err := create(s.dir, fmt.Sprintf("%s-%06d", m.At.UTC().Format("20060102T150405.000000Z"), m.Seq))
		if err != nil {
			return err
		}
		in.file = f
		wanted = append(wanted, f)
	}
	if !s.quiet {
		wanted = append(wanted, &in.head)
	}
	switch len(wanted) {
	case 0:
		in.to = io.Discard
	case 1:
		in.to = wanted[0]
	default:
		in.to = io.MultiWriter(wanted...)
	}
	return nil
}

func (in *intake) read(header []byte, body io.Reader) error {
	if in.file != nil {
		if _, err := in.file.Write(header); err != nil {
			return fmt.Errorf("keep message: %w", err)
		}
	}
	n, err := io.Copy(in.to, body)
	in.size = int64(len(header)) + n
	return err
}

// keep gives the message its name in the directory, where there is one.
func (in *intake) keep(m *Message) error {
	if in.file == nil {
		return nil
	}
	f := in.file
	in.file = nil
	return f.keep(m)
}

// close drops what was not kept.
func (in *intake) close() {
	if in.file != nil {
		in.file.drop()
	}
}
