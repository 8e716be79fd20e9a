package nexthop

import (
	"context"
	"io"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// unknownFate is the reply of a recipient whose own never came: the server may have delivered to it,
// or not, and only another try makes sure that somebody has it.
var unknownFate = reply.New(451, reply.Enhanced{Subject: 4, Detail: 2}, "connection to next hop lost, try again later")

// ContentEach is Content with one final reply for each recipient that the server has accepted, in
// the order of their RCPT; two of one address have two. A server that speaks LMTP answers for each
// (RFC 2033 §4.2), one that speaks SMTP for all together.
//
// Where the connection is lost between two replies, those that never came are 451 4.4.2 and the error
// says why; the replies before them hold. Any other error comes without replies.
func (t *Transaction) ContentEach(ctx context.Context, header *mail.Header, body io.Reader) ([]reply.Reply, error) {
	n := t.taken
	if n == 0 {
		return nil, t.fail("content", errState) // and nobody would answer for it
	}
	all := make([]reply.Reply, n)
	rest := others{replies: all[1:]}
	var err error
	if t.hop.cfg.LMTP {
		all[0], err = t.content(ctx, header, body, &rest)
	} else {
		all[0], err = t.content(ctx, header, body, nil)
	}
	if err != nil {
		return nil, err
	}
	if !rest.asked { // one reply speaks for all: SMTP's, or a refusal before the end of the content
		for i := range all {
			all[i] = all[0]
		}
		return all, nil
	}
	for _, r := range all {
		if !r.Positive() && t.conn != nil {
			t.conn.needsReset = true
		}
	}
	switch {
	case rest.lost != nil:
		return all, t.fail("final replies", rest.lost)
	case rest.hungUp:
		t.Abort()
	}
	return all, nil
}

// others are the final replies behind the first.
type others struct {
	replies []reply.Reply
	asked   bool  // the dot was sent, and the server answers for each
	lost    error // why some never came
	hungUp  bool  // one was 421
}

// read fills in all of them. A 421 is the answer to all that is not answered: the server hears no
// more.
func (o *others) read(c *conn, first reply.Reply, d time.Duration) {
	o.asked = true
	last := first
	for i := range o.replies {
		switch {
		case last.Code == 421:
			o.hungUp = true
		case o.lost != nil:
		default:
			if last, o.lost = c.read(d); o.lost != nil {
				last = unknownFate
			}
		}
		o.replies[i] = last
	}
	o.hungUp = o.hungUp || last.Code == 421
}
