package smtpserver

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"unicode/utf8"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// source yields the octets of one message as the client sends them.
type source interface {
	// next fills p with what has come, and waits where nothing has. io.EOF comes with the
	// last octets where they are there. Another error ends the message.
	next(p []byte) (int, error)
	// ready reports that next would not wait.
	ready() bool
	// drain reads what the client must still send before it may be answered, n octets at the
	// most.
	drain(n int64) error
}

// content is one message on its way in. Its Read is the body that a Transaction sees: all
// after the header section, with the empty line between them.
type content struct {
	g    *gate
	src  source
	rest []byte // came with the header section
	err  error  // the end, or what is wrong; once set, it stays
	size int64  // octets so far
	// shown: the Transaction has had it, and logs what became of it.
	shown bool
	// gone: the connection broke, there is nothing more to read.
	gone bool
}

func newContent(g *gate, src source) *content {
	g.pace = pace{}
	if g.s.cfg.Limits.RepairLineEnds {
		src = &repairSource{source: src}
	}
	return &content{g: g, src: src}
}

// moreChunks reports that the client has not sent its last chunk.
func (c *content) moreChunks() bool {
	src := c.src
	if r, ok := src.(*repairSource); ok {
		src = r.source
	}
	s, ok := src.(*chunkSource)
	return ok && !s.last
}

// Repaired returns how many line ends were no CRLF and have been made one, so far.
func (c *content) Repaired() int64 {
	if s, ok := c.src.(*repairSource); ok {
		return s.made
	}
	return 0
}

// errDrain says that a refused message is too long to wait for its end.
var errDrain = errors.New("too much of a refused message")

// errAborted says that the client has given its message up between two chunks.
var errAborted = errors.New("client gave the message up")

// take lets the Transaction have the message, and reads whatever it leaves.
func (c *content) take(tx Transaction) (reply.Reply, error) {
	header, err := c.header()
	var told reply.Reply
	if err == nil {
		c.shown = true
		told, err = tx.Content(c.g.ctx, header, c)
	}
	if c.err != nil && !errors.Is(c.err, io.EOF) {
		err = c.tagged() // what is wrong with the content is told, whatever was made of it
	}
	if told.Code == 0 {
		told = reply.New(250, reply.Enhanced{Subject: 6}, "message accepted")
	}
	if err == nil && !told.Positive() {
		err = reply.Refuse(told)
	}
	if c.gone || errors.Is(err, errAborted) {
		return told, err
	}
	return told, c.finish(err)
}

// tagged is what is wrong with the content, with the message's id in the reply.
func (c *content) tagged() error {
	var e *reply.Error
	env := c.g.envelope()
	if env == nil || !errors.As(c.err, &e) {
		return c.err
	}
	tagged := *e
	tagged.Reply = e.Reply.Tagged(env.ID)
	return &tagged
}

// finish reads what the Transaction has not: no reply before the client's end of data.
func (c *content) finish(err error) error {
	if errors.Is(c.err, io.EOF) {
		return err
	}
	if err == nil {
		if _, err = io.Copy(io.Discard, c); err == nil || c.gone || errors.Is(err, errAborted) {
			return err
		}
	}
	room := max(2*c.g.offered.Size-c.size, minDrain)
	if lost := c.src.drain(room); errors.Is(lost, errDrain) {
		return hangUpAfter(err)
	} else if lost != nil {
		return c.lost(lost)
	}
	return err
}

// hangUpAfter is the refusal err, and the end of the session: more of the message is to come
// than anybody will read.
func hangUpAfter(err error) error {
	e := reply.Error{Reply: reply.From(err)}
	var refused *reply.Error
	if errors.As(err, &refused) {
		e = *refused
	}
	e.Err, e.Hangup = errors.Join(errDrain, err), true
	return &e
}

// header reads the header section: all before the first empty line, or the whole message
// where there is none. It has the octets for itself, since the Header keeps them.
func (c *content) header() (*mail.Header, error) {
	limit := c.g.s.cfg.Limits.HeaderSize
	buf := make([]byte, 0, min(max(len(c.g.in.unused()), 1<<10), 8<<10))
	for c.err == nil {
		buf = slices.Grow(buf, 512)
		n, err := c.read(buf[len(buf):cap(buf)])
		from := max(len(buf)-3, 0)
		buf = buf[:len(buf)+n]
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if end := headerEnd(buf, from); end >= 0 {
			buf, c.rest = buf[:end:end], buf[end:]
			break
		}
		if len(buf) > limit+1 { // one octet more can be the CR of the empty line
			break
		}
	}
	if len(buf) > limit {
		c.rest = nil
		return nil, c.fail(reply.New(552, reply.Enhanced{Subject: 3, Detail: 4}, "header section is too big"))
	}
	if c.g.utf8 && !utf8.Valid(buf) { // RFC 6532 §3; nobody else can know what it means
		c.rest = nil
		return nil, c.fail(reply.New(554, reply.Enhanced{Subject: 6}, "header section is not UTF-8, as SMTPUTF8 promised"))
	}
	h := mail.ParseHeader(buf)
	if h.Len() > c.g.s.cfg.Limits.HeaderFields {
		c.rest = nil
		return nil, c.fail(reply.New(552, reply.Enhanced{Subject: 3, Detail: 4}, "too many header fields"))
	}
	return h, nil
}

// headerEnd returns where the first empty line begins, or -1. No line before from is empty.
func headerEnd(p []byte, from int) int {
	if from == 0 && bytes.HasPrefix(p, []byte("\r\n")) {
		return 0
	}
	if i := bytes.Index(p[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 2
	}
	return -1
}

// fail refuses the message from here on.
func (c *content) fail(r reply.Reply) error {
	c.err = &reply.Error{Reply: r, Op: "read message"}
	return c.err
}

// Read is the body's.
func (c *content) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		return c.read(p)
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	if len(c.rest) > 0 {
		return n, nil
	}
	if c.err != nil || n == len(p) || !c.src.ready() {
		return n, c.err
	}
	more, err := c.read(p[n:]) // so that a small message is one Read
	return n + more, err
}

// read takes octets from the client and holds them against the limits.
func (c *content) read(p []byte) (int, error) {
	n, err := c.src.next(p)
	c.size += int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return 0, c.lost(err)
	case c.size > c.g.offered.Size:
		return 0, c.fail(reply.New(552, reply.Enhanced{Subject: 3, Detail: 4}, "message is too big"))
	case err != nil:
		c.err = io.EOF
	}
	return n, c.err
}

// lost keeps an error of the source. Where it is the connection's, the session is over:
// what comes after a message that broke off must never be read as commands.
func (c *content) lost(err error) error {
	var refused *reply.Error
	switch {
	case errors.As(err, &refused), errors.Is(err, errAborted):
		c.err = err
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.gone = true
		c.err = timedOut(c.g.s.cfg.Hostname, err)
	default:
		c.gone = true
		c.g.hangUp(event.DisconnectClientLost)
		c.err = &reply.Error{Reply: reply.New(421, reply.Enhanced{Subject: 4, Detail: 2}, "connection lost"), Op: "read message", Err: err, Hangup: true}
	}
	return c.err
}

// badLines refuses content whose lines another server may read in another way.
func badLines(what string) error {
	return &reply.Error{Reply: reply.New(550, reply.Enhanced{Subject: 6, Detail: 11}, "message has a "+what), Op: "read message"}
}

// dotSource is the content after DATA.
type dotSource struct {
	g *gate
	dots
}

func (s *dotSource) next(p []byte) (int, error) {
	for {
		n, err := s.decode(p)
		if what := s.bad(s.g.s.cfg.Limits.RepairLineEnds); what != "" {
			return 0, badLines(what)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// ready: with three octets, there is no doubt whether they are the end.
func (s *dotSource) ready() bool { return len(s.g.in.unused()) > 2 }

// decode takes what is there, and waits where that is nothing.
func (s *dotSource) decode(p []byte) (int, error) {
	in := &s.g.in
	n, used := s.dots.decode(p, in.unused())
	in.r += used
	if s.end {
		return n, io.EOF
	}
	if n == 0 {
		return 0, s.g.waitContent()
	}
	return n, nil
}

func (s *dotSource) drain(room int64) error {
	var scratch [4 << 10]byte
	for {
		n, err := s.decode(scratch[:])
		if room -= int64(n); errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if room < 0 {
			return errDrain
		}
	}
}
