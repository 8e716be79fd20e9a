package smtpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// gate is the net.Conn that go-smtp serves. Its Read gives go-smtp one command at a time,
// in a form that go-smtp can always parse; its Write collects what go-smtp answers. All that
// the client sees is written by the gate. Everything runs in go-smtp's goroutine for the
// connection, from inside Read, Write and the session's methods.
//
// A command goes: client's line → the gate parses it → where it changes the transaction,
// go-smtp is fed a placeholder → go-smtp calls session → the Transaction's reply is stored →
// go-smtp asks for the next line → settle tells the client.
type gate struct {
	s      *Server
	ctx    context.Context
	cancel context.CancelFunc
	raw    net.Conn // what Accept gave
	conn   net.Conn // raw, or TLS on it
	in     input
	out    []byte // replies not written yet

	id      string
	origin         // where the session comes from now
	peer    origin // … and did before the first XCLIENT: whose right to it counts
	visit   visit  // in Config.Clients
	claim   claim  // what XCLIENT has told and EHLO has to know
	started time.Time
	agents  *pipeline.Session // nil before the first octet
	tx      Transaction       // nil before the first HELO or EHLO

	// What the client has done.
	client    event.Client
	offered   mail.Extensions // as of the last HELO or EHLO
	mailing   bool            // MAIL was accepted
	refused   bool            // … was refused: what was sent together with it goes astray
	utf8      bool            // … with SMTPUTF8
	rcpts     int             // accepted in this transaction
	mustReset bool            // a chunk has failed: RSET must follow (RFC 3030 §2)
	bad       int             // bad commands so far
	unknown   int             // of them, those that no server knows
	early     bool            // it spoke before the banner
	login     login
	count     counts

	// Where go-smtp is.
	feed      []byte   // what it reads next
	collected []byte   // what it has written for current
	current   *command // nil: none
	verdict   *outcome // what the client is told of current; nil: what go-smtp says
	content   *content // the message that is to come, of DATA or BDAT
	pace      pace     // of that message, or of a chunk that nobody wants
	saved     *command // the command that cut a message in chunks short

	dead   bool // no octet of the client is looked at any more
	linger bool // the client may still be sending
	reason event.DisconnectReason
	// turnedAway: the session has not begun, and has its line in the log.
	turnedAway bool

	mu       sync.Mutex // guards what other goroutines set
	idle     bool       // waiting, and can be told to go meanwhile: outside a transaction
	draining bool
	once     sync.Once // for Close
}

// outcome is the reply to a command and, for a refusal, why.
type outcome struct {
	reply reply.Reply
	err   error
}

func newGate(s *Server, c net.Conn) *gate {
	g := &gate{
		s: s, raw: c, conn: c, in: newInput(), id: s.ids.next(), started: time.Now(),
		origin: connected(c), reason: event.DisconnectClientLost,
	}
	g.ctx, g.cancel = context.WithCancel(s.ctx)
	return g
}

// Read gives go-smtp its next input: what is left of the last, or what the client's next
// commands come to.
func (g *gate) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			g.broken(v)
			n, err = 0, io.EOF
		}
	}()
	if len(g.feed) == 0 {
		g.settle()
		for len(g.feed) == 0 {
			if g.dead {
				return 0, io.EOF
			}
			g.next()
		}
	}
	n = copy(p, g.feed)
	g.feed = g.feed[n:]
	return n, nil
}

// Write takes what go-smtp says. The first is its banner, which it writes before it reads
// anything: here the session begins.
func (g *gate) Write(p []byte) (int, error) {
	defer func() {
		if v := recover(); v != nil {
			g.broken(v)
		}
	}()
	if g.agents == nil && !g.dead {
		g.begin()
		return len(p), nil
	}
	g.collected = append(g.collected, p...)
	return len(p), nil
}

// settle tells the client how the command that go-smtp has been given ended.
func (g *gate) settle() {
	c, v := g.current, g.verdict
	said := g.collected
	g.current, g.verdict, g.collected = nil, nil, g.collected[:0]
	if c == nil {
		return
	}
	refused := len(said) > 0 && said[0] != '2' && said[0] != '3'
	switch {
	case g.dead && v == nil: // a panic ended the session
	case v == nil && refused, c.prepared && refused:
		// Nothing was asked of the session: go-smtp found the order of commands wrong.
		g.badCommand(c, 503, 1, "bad sequence of commands")
	case v != nil:
		g.answer(c, v.reply, v.err)
	}
	if c.content {
		mustReset := g.mustReset
		g.forget()
		g.mustReset = mustReset
	}
}

// give hands go-smtp a line for the command c.
func (g *gate) give(c *command, line string) {
	g.current, g.verdict, g.collected = c, nil, g.collected[:0]
	g.feed = append(g.feed[:0], line...)
	g.feed = append(g.feed, '\r', '\n')
}

// prepare hands go-smtp a line whose reply is known beforehand.
func (g *gate) prepare(c *command, line string, r reply.Reply, err error) {
	g.give(c, line)
	c.prepared = true
	g.verdict = &outcome{r, err}
}

// fill waits for octets of the client until the deadline. Replies go out first: those of a
// pipelined group together, since it is called only when no whole command is left
// (RFC 2920 §3.2).
func (g *gate) fill(deadline time.Time, idle bool) error {
	if err := g.flush(); err != nil {
		return err
	}
	err := g.waiting(deadline, idle, func() error { return g.in.fill(g.conn) })
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // io.EOF is the end of a message, and this must never look like one
	}
	return err
}

// waiting runs what waits for the client, until the deadline. Where the session is idle, errDraining
// ends it as soon as the relay goes down.
func (g *gate) waiting(deadline time.Time, idle bool, wait func() error) error {
	g.mu.Lock()
	if g.draining && idle {
		g.mu.Unlock()
		return errDraining
	}
	g.idle = idle
	_ = g.raw.SetReadDeadline(deadline)
	g.mu.Unlock()

	err := wait()

	g.mu.Lock()
	defer g.mu.Unlock()
	g.idle = false
	if err != nil && g.draining && idle && errors.Is(err, os.ErrDeadlineExceeded) {
		return errDraining
	}
	return err
}

var errDraining = errors.New("relay is going down")

// flush writes the replies that are ready.
func (g *gate) flush() error {
	if len(g.out) == 0 {
		return nil
	}
	_ = g.raw.SetWriteDeadline(time.Now().Add(g.s.cfg.Limits.CommandTimeout))
	_, err := g.conn.Write(g.out)
	g.out = g.out[:0]
	if err != nil {
		g.hangUp(event.DisconnectClientLost)
	}
	return err
}

// hangUp ends the session after the replies that are ready. The first reason counts.
func (g *gate) hangUp(reason event.DisconnectReason) {
	if g.dead {
		return
	}
	g.dead, g.reason = true, reason
}

// lost ends the session for an error of the connection: 421 where the client may still be
// there (RFC 5321 §3.8, §4.5.3.2).
func (g *gate) lost(err error) {
	switch {
	case g.dead:
	case errors.Is(err, errDraining):
		g.answer(&command{}, reply.Reply{}, &reply.Error{
			Reply: goingDown(g.s.cfg.Hostname), Op: "shutdown",
		})
		g.reason, g.linger = event.DisconnectDrain, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		g.answer(&command{}, reply.Reply{}, timedOut(g.s.cfg.Hostname, err))
		g.linger = false // it has not sent for minutes
	default:
		g.hangUp(event.DisconnectClientLost)
	}
}

func timedOut(hostname string, err error) *reply.Error {
	text := "timed out waiting for you"
	switch {
	case errors.Is(err, errSlow):
		text = "you send too slowly"
	case errors.Is(err, errLongMessage):
		text = "message takes too long"
	case errors.Is(err, errLongSession):
		text = "session takes too long"
	}
	return &reply.Error{
		Reply: reply.New(421, reply.Enhanced{Subject: 4, Detail: 2}, hostname+" "+text+", closing connection"),
		Op:    "wait for client", Err: err,
	}
}

// broken ends the session after a panic of ours: this client is told, no other notices.
func (g *gate) broken(v any) {
	g.s.cfg.Log.Error("panic in session", "session", g.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if !g.dead {
		g.say(reply.New(421, reply.Enhanced{Subject: 3}, "internal error, closing connection"))
		g.hangUp(event.DisconnectHostClosed)
	}
}

// drain tells the session that the relay is going down: at once where it is idle, else
// when its transaction is over.
func (g *gate) drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = true
	if g.idle {
		_ = g.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut ends the session at once.
func (g *gate) cut() {
	g.cancel()
	_ = g.raw.Close()
}

// Close ends the session. go-smtp calls it last, after Logout, and may call it twice.
func (g *gate) Close() error {
	g.once.Do(g.end)
	return nil
}

func (g *gate) end() {
	if bytes.HasPrefix(g.collected, []byte("421")) && !g.dead {
		// go-smtp has caught a panic of the session.
		g.say(reply.New(421, reply.Enhanced{Subject: 3}, "internal error, closing connection"))
		g.hangUp(event.DisconnectHostClosed)
	}
	_ = g.flush()
	if g.s.ctx.Err() != nil {
		g.reason = event.DisconnectDrain // cut
	}
	g.dead = true
	if g.linger {
		g.readOn()
	}
	_ = g.conn.Close()
	g.in.r = g.in.w
	g.in.release()
	if g.agents != nil {
		g.agents.Close(g.reason)
	}
	g.cancel()
	g.logSession(slog.String("reason", reasons[g.reason]))
	g.s.remove(g)
}

// readOn lets a client that is still sending read our last reply: closing with octets
// unread would reset the connection and lose it.
func (g *gate) readOn() {
	c, ok := g.raw.(*net.TCPConn)
	if !ok {
		return
	}
	if t, ok := g.conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	if c.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c, minDrain)
}

// LocalAddr, RemoteAddr and the deadlines make up a net.Conn. Deadlines are the gate's own.
func (g *gate) LocalAddr() net.Addr              { return g.raw.LocalAddr() }
func (g *gate) RemoteAddr() net.Addr             { return g.raw.RemoteAddr() }
func (g *gate) SetDeadline(time.Time) error      { return nil }
func (g *gate) SetReadDeadline(time.Time) error  { return nil }
func (g *gate) SetWriteDeadline(time.Time) error { return nil }
