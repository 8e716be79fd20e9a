package nexthop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Transaction is one mail transaction on a borrowed connection. A returned error is a
// *reply.Error, 451 4.4.x (but see Content), and the connection has been closed; a refusal by the
// server is no error but a Reply, told as it came. After a 421 the server has hung up: every
// further call is an error. Used by one goroutine; of no use after Release or Abort.
type Transaction struct {
	hop    *Hop
	conn   *conn // nil once closed or given back
	remote string
	client mail.Client // whose mail it is
	state  state
	taken  int  // recipients that the server has accepted
	utf8   bool // MAIL said SMTPUTF8
}

// state is how far the server is, as we know it.
type state uint8

const (
	idle     state = iota // no transaction: nothing sent yet, or Reset
	envelope              // some of MAIL, RCPT, a refused DATA
	content               // 354 was given
	answered              // the final reply is there
)

// errState is a call out of order: a fault of the caller.
var (
	errState = errors.New("command out of order")
	errGone  = errors.New("the connection is closed")
)

// Remote is the address of the server, for logs.
func (t *Transaction) Remote() string { return t.remote }

// Extensions are those this server offers.
func (t *Transaction) Extensions() mail.Extensions {
	if t.conn == nil {
		return mail.Extensions{}
	}
	return t.conn.ext
}

// Rcpt sends one more RCPT.
func (t *Transaction) Rcpt(ctx context.Context, r mail.Recipient) (reply.Reply, error) {
	if t.conn == nil || t.state != envelope {
		return reply.Reply{}, t.fail("RCPT", t.outOfOrder())
	}
	if local := checkRcpt(&r, t.conn.ext, t.utf8); local.Code != 0 {
		return local, nil
	}
	t.conn.out = appendRcpt(t.conn.out[:0], &r, t.conn.ext)
	answer, err := t.roundTrip(ctx, "RCPT", t.hop.cfg.Timeouts.Rcpt)
	if err == nil && answer.Class() == 2 {
		t.taken++
	}
	return answer, err
}

// Data sends DATA; 354 is what is hoped for.
func (t *Transaction) Data(ctx context.Context) (reply.Reply, error) {
	if t.conn == nil || t.state != envelope {
		return reply.Reply{}, t.fail("DATA", t.outOfOrder())
	}
	t.conn.out = append(t.conn.out[:0], "DATA\r\n"...)
	r, err := t.roundTrip(ctx, "DATA", t.hop.cfg.Timeouts.Data)
	if err == nil && r.Class() == 3 {
		t.state = content
	}
	return r, err
}

// roundTrip sends what is in conn.out and reads the one reply to it.
func (t *Transaction) roundTrip(ctx context.Context, op string, d time.Duration) (reply.Reply, error) {
	c := t.conn
	if ctx.Err() != nil {
		return reply.Reply{}, t.fail(op, context.Cause(ctx))
	}
	stop := c.watch(ctx)
	var r reply.Reply
	err := c.unasked(d)
	if err == nil {
		err = c.write(c.out, d)
	}
	if err == nil {
		r, err = c.read(d)
	}
	if !c.unwatch(stop) && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return reply.Reply{}, t.fail(op, err)
	}
	t.hangup(r)
	return r, nil
}

// Reset drops the transaction; the connection stays. RSET itself goes out with the next
// Envelope on this connection, and saves a round trip.
func (t *Transaction) Reset(context.Context) error {
	if t.conn == nil || t.state == content {
		return t.fail("RSET", t.outOfOrder())
	}
	if t.state == envelope {
		t.conn.needsReset = true
	}
	t.state = idle
	return nil
}

// Release gives the connection back for other transactions, after a final reply or in the
// middle of an envelope, which the next transaction resets. Where the server waits for
// content, nothing but closing keeps it from taking what it has.
func (t *Transaction) Release() {
	c := t.conn
	if c == nil {
		return
	}
	if t.state == content {
		t.Abort()
		return
	}
	t.conn = nil
	if t.state == envelope {
		c.needsReset = true
	}
	t.hop.put(c)
}

// Abort closes the connection at once, without a dot.
func (t *Transaction) Abort() {
	if t.conn != nil {
		t.conn.close()
		t.conn = nil
	}
}

// hangup closes after a 421: the server does so too (RFC 5321 §3.8).
func (t *Transaction) hangup(r reply.Reply) {
	if r.Code == 421 {
		t.Abort()
	}
}

func (t *Transaction) outOfOrder() error {
	if t.conn == nil {
		return errGone
	}
	return errState
}

// fail closes the connection and makes the error of it.
func (t *Transaction) fail(op string, err error) *reply.Error {
	t.Abort()
	r := reply.New(451, reply.Enhanced{Subject: 4, Detail: 2}, "connection to next hop lost, try again later")
	if isTimeout(err) {
		r = reply.New(451, reply.Enhanced{Subject: 4, Detail: 1}, "next hop did not answer in time, try again later")
	}
	return &reply.Error{Reply: r, Op: op + " at next hop " + t.hop.cfg.Name, Err: fmt.Errorf("%s: %w", t.remote, err), NextHop: t.remote}
}
