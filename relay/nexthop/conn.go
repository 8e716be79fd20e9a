package nexthop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// conn is one connection to a server, past its greeting. Used by one goroutine at a time.
type conn struct {
	net  net.Conn // TLS where it was negotiated
	raw  net.Conn // the socket below
	r    *bufio.Reader
	out  []byte // the group of commands being written; kept for its capacity
	addr *address
	// hop has counted it among its places where placed is true: until it is closed.
	hop    *Hop
	placed bool

	offers keywords // of the last EHLO; nil where the server knows HELO only
	ext    mail.Extensions

	ctx         context.Context // of the operation under way
	interrupt   func()          // ends a read or write under way; for context.AfterFunc
	interrupted atomic.Bool

	// used: something was sent since the greeting, or it has been in the pool. The server may
	// have hung up since, for reasons that have nothing to do with what we send next.
	used    bool
	forward forwarding // what the server knows of clients
	// needsReset: the server still has a transaction; RSET goes before the next one.
	needsReset bool
	mails      int // MAIL sent so far
	idleSince  time.Time
}

func newConn(nc net.Conn, a *address) *conn {
	c := &conn{net: nc, raw: nc, r: bufio.NewReaderSize(nc, maxLine), addr: a}
	c.interrupt = func() {
		// The order matters, see arm.
		c.interrupted.Store(true)
		_ = c.raw.SetDeadline(past)
	}
	return c
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// watch makes the end of ctx end whatever the connection is blocked in, until unwatch.
func (c *conn) watch(ctx context.Context) (stop func() bool) {
	c.ctx = ctx
	if ctx.Done() == nil {
		return nil
	}
	return context.AfterFunc(ctx, c.interrupt)
}

// unwatch reports whether the connection is still good: ctx has not ended meanwhile.
func (c *conn) unwatch(stop func() bool) bool {
	c.ctx = nil
	return stop == nil || stop()
}

// arm sets the deadline of the next reads and writes: after d, or at ctx's if that is sooner.
func (c *conn) arm(d time.Duration) {
	t := time.Now().Add(d)
	if end, ok := c.ctx.Deadline(); ok && end.Before(t) {
		t = end
	}
	_ = c.raw.SetDeadline(t)
	if c.interrupted.Load() { // by now, or its own SetDeadline comes after ours
		_ = c.raw.SetDeadline(past)
	}
}

// write sends b.
func (c *conn) write(b []byte, d time.Duration) error {
	c.arm(d)
	_, err := c.net.Write(b)
	return c.cause(err)
}

// read reads one reply.
func (c *conn) read(d time.Duration) (reply.Reply, error) {
	if c.r.Buffered() == 0 {
		c.arm(d)
	}
	r, err := readReply(c.r)
	return r, c.cause(err)
}

// unasked is an error where the server has said more than it was asked: each reply to come would be
// taken for that of the command before.
func (c *conn) unasked(d time.Duration) error {
	if c.r.Buffered() == 0 {
		return nil
	}
	r, err := c.read(d)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s, to nothing that was asked", errProtocol, r)
}

// command sends one line and reads its reply.
func (c *conn) command(line string, d time.Duration) (reply.Reply, error) {
	if err := c.unasked(d); err != nil {
		return reply.Reply{}, err
	}
	c.out = append(append(c.out[:0], line...), '\r', '\n')
	if err := c.write(c.out, d); err != nil {
		return reply.Reply{}, err
	}
	return c.read(d)
}

// cause prefers the reason for which ctx ended to the timeout by which it showed.
func (c *conn) cause(err error) error {
	if err != nil && c.ctx.Err() != nil && isTimeout(err) {
		return context.Cause(c.ctx)
	}
	return err
}

// spent reports that the server takes no further MAIL on this connection (RFC 9422 §4.1), or, as it
// binds a connection to the domains it has seen there (§4.3), perhaps not the next one.
func (c *conn) spent() bool {
	return c.ext.MailMax > 0 && c.mails >= c.ext.MailMax || c.mails > 0 && c.offers.limit("RCPTDOMAINMAX") > 0
}

// stale reports whether the server has said something, or hung up, while nothing was asked.
func (c *conn) stale() bool {
	_ = c.raw.SetDeadline(time.Time{}) // the last one may be over, and would count
	return readable(c.raw)
}

// ownRecords is how long TLS may take for what turns out to be its own, as session tickets.
const ownRecords = 10 * time.Millisecond

// spoke reports whether the server has said something, or hung up, in the middle of an
// operation. Under TLS what is there may be TLS's own: then a read ends without anything.
func (c *conn) spoke(d time.Duration) bool {
	c.arm(d)
	if !readable(c.raw) {
		return false
	}
	if c.net == c.raw {
		return true
	}
	c.arm(ownRecords)
	_, err := c.r.Peek(1)
	return err == nil || !isTimeout(err)
}

// quit takes leave and closes, without waiting for the answer.
func (c *conn) quit() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.net.Write([]byte("QUIT\r\n"))
	c.close()
}

// close drops the connection as it is. A TLS alert is not worth waiting for.
func (c *conn) close() {
	_ = c.raw.Close()
	if c.placed {
		c.placed = false
		c.hop.leave()
	}
}

// keepPlace takes its place from a connection that is about to be closed, for the one that comes
// after it. It reports whether there is one.
func (c *conn) keepPlace() bool {
	placed := c.placed
	c.placed = false
	return placed
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
