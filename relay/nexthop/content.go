package nexthop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

const (
	// bufferSize is all that is held of a message.
	bufferSize = 64 << 10
	// minRoom is the least that is worth a Read; with less left, the buffer is sent.
	minRoom = 8 << 10
	// slowRead: a Read that took so long comes from a client that is slower than we are, and
	// nothing is gained by collecting more for one write.
	slowRead = 50 * time.Millisecond
	// lastWords is how long a server that stopped listening may take to say why.
	lastWords = 5 * time.Second
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Faults of a message that the listening side should have refused.
var (
	errUnterminated = errors.New("content does not end with CRLF")
	errEarlyReply   = errors.New("the server answered before the content was sent")
)

// err8Bit stops content that the server cannot take.
var err8Bit = errors.New("8-bit content")

// Content sends header and body after a 354, then the final dot, and returns the final reply,
// for which it waits as long as ctx lets it. The body begins with the empty line, where there
// is one: nothing is added but the doubled dots (RFC 5321 §4.5.2).
//
// An error of the body's Read is returned as it is, and nothing is delivered: the connection
// was closed without a dot. Where the server refuses before the end, that is the reply, and the
// rest of the body is left unread.
//
// A message that fits the buffer and comes at once is one write. One that trickles in is sent
// as it comes, but for what came just before the client fell silent.
func (t *Transaction) Content(ctx context.Context, header *mail.Header, body io.Reader) (reply.Reply, error) {
	if t.hop.cfg.LMTP {
		return reply.Reply{}, t.fail("content", errState) // there is no one final reply
	}
	return t.content(ctx, header, body, nil)
}

// content is Content; others takes the final replies of LMTP behind the first.
func (t *Transaction) content(ctx context.Context, header *mail.Header, body io.Reader, others *others) (reply.Reply, error) {
	if t.conn == nil || t.state != content {
		return reply.Reply{}, t.fail("content", t.outOfOrder())
	}
	if ctx.Err() != nil {
		return reply.Reply{}, t.fail("content", context.Cause(ctx))
	}
	array := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(array)
	c := t.conn
	w := contentWriter{c: c, buf: array[:0], tail: [2]byte{'\r', '\n'}, block: t.hop.cfg.Timeouts.Block, only7Bit: !c.ext.EightBitMIME, others: others}
	stop := c.watch(ctx)
	r, err := w.send(header, body, t.hop.cfg.Timeouts.Termination)
	good := c.unwatch(stop)
	switch {
	case w.readErr != nil:
		t.Abort()
		return reply.Reply{}, w.readErr
	case errors.Is(err, err8Bit):
		t.Abort()
		return lacks8Bit, nil
	case err != nil:
		return reply.Reply{}, t.fail("content", err)
	case !good || !w.ended:
		t.Abort()
		return r, nil
	}
	t.state = answered
	c.needsReset = !r.Positive() // RFC 5321 §4.1.1.4 has it reset; not all servers do on a refusal
	t.hangup(r)
	return r, nil
}

// contentWriter sends the content of one message. Used once.
type contentWriter struct {
	c        *conn
	block    time.Duration
	only7Bit bool

	buf     []byte  // dots doubled, not sent yet; its capacity does not change
	tail    [2]byte // the last two octets of content; CRLF in front of all
	flushed bool    // some of it was sent
	ended   bool    // the dot was sent
	others  *others // nil: there is one final reply
	readErr error   // of the body
}

func (w *contentWriter) send(header *mail.Header, body io.Reader, termination time.Duration) (reply.Reply, error) {
	err := w.header(header)
	if err == nil {
		err = w.body(body)
	}
	if err == nil && w.readErr == nil {
		err = w.end()
	}
	switch {
	case w.readErr != nil, errors.Is(err, err8Bit), errors.Is(err, errUnterminated):
		return reply.Reply{}, err
	case err != nil:
		return w.refusal(err)
	}
	w.ended = true
	r, err := w.c.read(termination)
	if err == nil && w.others != nil {
		w.others.read(w.c, r, termination)
	}
	return r, err
}

// end sends what is left, and the dot.
func (w *contentWriter) end() error {
	if w.tail != [2]byte{'\r', '\n'} {
		return errUnterminated
	}
	// What was said before the dot is no answer to the message. Where the dot goes with all the
	// rest in one write, nobody has had the time to say anything.
	if w.c.r.Buffered() > 0 || w.flushed && w.c.spoke(w.block) {
		return errEarlyReply
	}
	w.buf = append(w.buf, ".\r\n"...)
	return w.flush()
}

// refusal reads what the server said before it stopped listening: the reason, if it gave one.
// No positive reply can be meant for a message that it does not have.
func (w *contentWriter) refusal(err error) (reply.Reply, error) {
	if w.c.ctx.Err() != nil {
		return reply.Reply{}, err
	}
	r, readErr := w.c.read(min(lastWords, w.block))
	if readErr != nil || r.Positive() {
		return reply.Reply{}, err
	}
	return r, nil
}

func (w *contentWriter) header(h *mail.Header) error {
	if h == nil {
		return nil
	}
	if n := h.Size(); n <= w.room() {
		at := len(w.buf)
		w.buf = h.AppendTo(w.buf)
		return w.added(at)
	}
	for f := range h.All() {
		for raw := f.Raw; len(raw) > 0; {
			n := min(len(raw), w.room())
			at := len(w.buf)
			w.buf = append(w.buf, raw[:n]...)
			raw = raw[n:]
			if err := w.added(at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *contentWriter) body(body io.Reader) error {
	before := time.Now()
	for empty := 0; ; {
		at := len(w.buf)
		n, err := body.Read(w.buf[at : at+w.room()])
		w.buf = w.buf[:at+n]
		if err := w.added(at); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			w.readErr = err
			return nil
		}
		if empty++; n > 0 {
			empty = 0
		} else if empty == 100 {
			w.readErr = io.ErrNoProgress
			return nil
		}
		now := time.Now()
		if now.Sub(before) >= slowRead {
			if err := w.flush(); err != nil {
				return err
			}
			now = time.Now()
		}
		before = now
	}
}

// room is how much may be added: what fits even if every other octet of it is a dot to be
// doubled, and the final dot behind it.
func (w *contentWriter) room() int { return (cap(w.buf) - len(w.buf) - 4) * 2 / 3 }

// added takes note of the raw content that begins at at: it doubles the dots in it, and sends
// the buffer where there is little room left.
func (w *contentWriter) added(at int) error {
	raw := w.buf[at:]
	if len(raw) == 0 {
		return nil
	}
	if w.only7Bit && has8Bit(raw) {
		return err8Bit
	}
	lineStart := w.tail[1] == '\n'
	if len(raw) == 1 {
		w.tail[0], w.tail[1] = w.tail[1], raw[0]
	} else {
		w.tail = [2]byte(raw[len(raw)-2:])
	}
	w.buf = doubleDots(w.buf, at, lineStart)
	if w.room() < minRoom {
		return w.flush()
	}
	return nil
}

func (w *contentWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.c.write(w.buf, w.block)
	w.buf, w.flushed = w.buf[:0], true
	return err
}

// doubleDots doubles each dot that begins a line in b[at:], in place; the capacity must be
// there. A line begins after every line feed: content has none without a carriage return,
// and if it had, no server however lenient could take a dot behind it for the end.
func doubleDots(b []byte, at int, lineStart bool) []byte {
	raw := b[at:]
	n := bytes.Count(raw, []byte("\n."))
	if lineStart && raw[0] == '.' {
		n++
	}
	if n == 0 {
		return b
	}
	from := len(b)
	b = b[:from+n]
	for to := len(b); n > 0; {
		from, to = from-1, to-1
		b[to] = b[from]
		if b[from] == '.' && (from == at && lineStart || from > at && b[from-1] == '\n') {
			to--
			b[to] = '.'
			n--
		}
	}
	return b
}

func has8Bit(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
