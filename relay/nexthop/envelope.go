package nexthop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// maxGroup is how many octets of commands go out before their replies are read. Were it all,
// the server could block writing replies that nobody reads, and we writing commands
// (RFC 2920 §3.1).
const maxGroup = 16 << 10

// Answers are a server's replies to one envelope.
type Answers struct {
	Mail  reply.Reply
	Rcpts []reply.Reply // one for each recipient, in order; none where MAIL was refused
	Data  reply.Reply   // zero where DATA was not sent
}

// errStale is a connection from the pool that turns out to be dead. It is no news of the
// server, and nothing of the transaction has happened.
var errStale = errors.New("the server has hung up on the pooled connection")

// Envelope sends MAIL, all RCPT and, where data is set, DATA, in one group as far as the
// server allows, and returns the replies. What the server cannot be asked truthfully, because it
// lacks SMTPUTF8 or DSN, is answered here. DATA is left away where something was refused
// before it had to be sent. Without data, more recipients may follow by Rcpt.
//
// Where the connection was used before and is found dead, a new one takes its place, once. So
// does one to another address where this one fails before it has answered MAIL.
func (t *Transaction) Envelope(ctx context.Context, env *mail.Envelope, data bool) (Answers, error) {
	if t.conn == nil || t.state != idle && t.state != answered {
		return Answers{}, t.fail("MAIL", t.outOfOrder())
	}
	if t.conn.spent() {
		if err := t.reconnect(ctx, nil); err != nil {
			return Answers{}, err
		}
	}
	a, err := t.tryEnvelope(ctx, env, data)
	if errors.Is(err, errStale) || errors.Is(err, errOtherClient) {
		if err := t.reconnect(ctx, err); err != nil {
			return Answers{}, err
		}
		a, err = t.tryEnvelope(ctx, env, data)
	}
	if (err != nil && a.Mail.Code == 0 || a.Mail.Code == 421) && t.elsewhere(ctx, a.Mail, err) {
		a, err = t.tryEnvelope(ctx, env, data)
	}
	if err != nil {
		return Answers{}, t.fail("envelope", err)
	}
	return a, nil
}

// reconnect replaces a connection that is dead, spent, or no good for this client.
func (t *Transaction) reconnect(ctx context.Context, why error) error {
	c := t.conn
	t.conn = nil
	placed := c.keepPlace()
	switch {
	case errors.Is(why, errStale):
		c.close()
		t.hop.dropIdle(c.addr)
	case why == nil:
		c.quit()
	default:
		c.close()
	}
	return t.borrow(ctx, false, placed)
}

// elsewhere leaves an address that cannot take mail now: it answered MAIL by 421, hung up or
// fell silent. It reports whether there is a connection to another one. Nothing has come of the
// envelope so far.
func (t *Transaction) elsewhere(ctx context.Context, r reply.Reply, err error) bool {
	h, left := t.hop, t.remote
	if len(h.addresses) < 2 || errors.Is(context.Cause(ctx), context.Canceled) {
		return false
	}
	if err == nil {
		err = refusedBy(r)
	}
	h.log.warn(ctx, "next hop address unavailable", left, fmt.Errorf("MAIL: %w", err))
	for _, a := range h.addresses {
		if a.hostport == left {
			h.failed(a)
		}
	}
	placed := t.conn != nil && t.conn.keepPlace()
	t.Abort()
	if ctx.Err() != nil {
		if placed {
			h.leave()
		}
		return false // the next transaction finds it at the end of the line
	}
	c, err := h.get(ctx, false, placed)
	if err != nil {
		return false
	}
	if c.addr.hostport == left {
		h.put(c) // none of the others answers
		return false
	}
	if h.introduce(ctx, c, &t.client) != nil {
		c.close()
		return false
	}
	t.conn, t.remote, t.state = c, c.addr.hostport, idle
	return true
}

func (t *Transaction) tryEnvelope(ctx context.Context, env *mail.Envelope, data bool) (Answers, error) {
	if ctx.Err() != nil {
		return Answers{}, context.Cause(ctx)
	}
	c := t.conn
	if refusal := checkMail(env, c.ext); refusal.Code != 0 {
		return Answers{Mail: refusal}, nil
	}
	t.utf8 = needsUTF8(env)
	x := exchange{t: t, c: c, env: env, data: data, first: c.used}
	if f := &c.forward; f.lists != 0 && !f.mute && t.hop.cfg.ForwardClient == XForward {
		x.toldBefore = f.told
		x.forward[0], x.forward[1] = forwardParts("XFORWARD", &t.client, env.ID, f.lists)
	}
	x.answers.Rcpts = make([]reply.Reply, len(env.Recipients))
	for i := range env.Recipients {
		x.answers.Rcpts[i] = checkRcpt(&env.Recipients[i], c.ext, t.utf8)
		x.refused = x.refused || x.answers.Rcpts[i].Code != 0
	}
	stop := c.watch(ctx)
	err := x.run()
	if !c.unwatch(stop) && err == nil {
		err = context.Cause(ctx)
	}
	c.used = true
	return x.answers, err
}

// exchange is the commands of one envelope on their way out and their replies on the way in.
// Step 0 is RSET, two are XFORWARD, then comes MAIL, then the recipients, then DATA.
type exchange struct {
	t       *Transaction
	c       *conn
	env     *mail.Envelope
	data    bool
	answers Answers

	forward    [2]attributes // the facts of the client in one XFORWARD, or two; 0: none
	toldBefore bool          // of another client, perhaps

	first   bool // nothing has been heard yet on a connection that was used before
	refused bool // MAIL or a recipient, by the server or by us
	over    bool // 421, or MAIL was refused: nothing more is sent
}

const (
	stepReset = iota
	stepForward
	stepForwardMore
	stepMail
	stepRcpt
)

// run writes groups of commands and reads their replies until all is said.
func (x *exchange) run() error {
	steps := stepRcpt + len(x.env.Recipients) + 1
	for next := 0; next < steps && !x.over; {
		from := next
		x.c.out = x.c.out[:0]
		for next < steps && len(x.c.out) < maxGroup && (x.c.ext.Pipelining || len(x.c.out) == 0) {
			if x.sends(next) {
				x.append(next)
			}
			next++
		}
		if len(x.c.out) == 0 {
			break
		}
		if err := x.c.unasked(x.timeout(from)); err != nil {
			return err
		}
		if err := x.c.write(x.c.out, x.timeout(from)); err != nil {
			return x.stale(err)
		}
		if err := x.readGroup(from, next); err != nil {
			return err
		}
	}
	return nil
}

// sends reports whether a step has a command. It must give the same answer when the reply is
// to be read, so for DATA it is asked once, in front.
func (x *exchange) sends(step int) bool {
	switch {
	case step == stepReset:
		return x.c.needsReset
	case step < stepMail:
		return x.forward[step-stepForward] != 0
	case step == stepMail:
		return true
	case step == stepRcpt+len(x.env.Recipients):
		x.data = x.data && !x.refused
		return x.data
	}
	return x.answers.Rcpts[step-stepRcpt].Code == 0
}

func (x *exchange) append(step int) {
	c := x.c
	switch {
	case step == stepReset:
		c.out = append(c.out, "RSET\r\n"...)
	case step < stepMail:
		c.out = appendForward(c.out, "XFORWARD", &x.t.client, x.env.ID, x.forward[step-stepForward])
		c.out = append(c.out, '\r', '\n')
	case step == stepMail:
		c.mails++
		c.out = appendMail(c.out, x.env, c.ext, x.t.utf8)
	case step == stepRcpt+len(x.env.Recipients):
		c.out = append(c.out, "DATA\r\n"...)
	default:
		c.out = appendRcpt(c.out, &x.env.Recipients[step-stepRcpt], c.ext)
	}
}

func (x *exchange) timeout(step int) time.Duration {
	d := &x.t.hop.cfg.Timeouts
	switch {
	case step < stepRcpt:
		return d.Mail
	case step == stepRcpt+len(x.env.Recipients):
		return d.Data
	}
	return d.Rcpt
}

// readGroup reads the replies to the steps of one group. All of them, whatever the first
// ones are: they were asked for.
func (x *exchange) readGroup(from, to int) error {
	rcpts := len(x.env.Recipients)
	for step := from; step < to; step++ {
		isRcpt := step >= stepRcpt && step < stepRcpt+rcpts
		if isRcpt && x.answers.Rcpts[step-stepRcpt].Code != 0 ||
			step < stepMail && !x.sends(step) ||
			step == stepRcpt+rcpts && !x.data {
			continue
		}
		r, err := x.c.read(x.timeout(step))
		if err != nil {
			return x.stale(err)
		}
		if x.first && r.Code == 421 {
			return errStale // said while the connection lay in the pool
		}
		x.first = x.first && step < stepMail // those are not of the transaction
		if err := x.take(step, r); err != nil {
			return err
		}
		if r.Code == 421 {
			x.hungUp(step, r)
			return nil
		}
	}
	if x.answers.Mail.Class() > 2 {
		x.answers.Rcpts = nil
	}
	return nil
}

// take files one reply.
func (x *exchange) take(step int, r reply.Reply) error {
	switch {
	case step == stepReset:
		if r.Class() != 2 && r.Code != 421 {
			return fmt.Errorf("%w: RSET: %w", errStale, refusedBy(r)) // whatever its state, it is not ours
		}
		x.c.needsReset = false
	case step < stepMail:
		return x.takeForward(r)
	case step == stepMail:
		x.answers.Mail = r
		x.t.state, x.t.taken = envelope, 0
		x.over = r.Class() != 2
		x.refused = x.refused || x.over
	case step == stepRcpt+len(x.env.Recipients):
		x.answers.Data = r
		if r.Class() == 3 {
			x.t.state = content
		}
	default:
		x.answers.Rcpts[step-stepRcpt] = r
		if r.Class() == 2 {
			x.t.taken++
		} else {
			x.refused = true
		}
	}
	return nil
}

// hungUp makes a 421 the answer to all that is not answered: the server hears no more.
func (x *exchange) hungUp(step int, r reply.Reply) {
	x.over = true
	x.t.Abort()
	if step <= stepMail {
		x.answers.Mail, x.answers.Rcpts = r, nil
		return
	}
	for i := range x.answers.Rcpts {
		if x.answers.Rcpts[i].Code == 0 {
			x.answers.Rcpts[i] = r
		}
	}
	if x.data {
		x.answers.Data = r
	}
}

// stale tells the end of a connection that had died in the pool from other errors.
func (x *exchange) stale(err error) error {
	if x.first && x.c.ctx.Err() == nil && !isTimeout(err) && !errors.Is(err, errProtocol) && x.c.r.Buffered() == 0 {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return err
}
