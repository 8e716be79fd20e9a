package frontend

import (
	"context"
	"io"
	"strconv"
	"sync"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// Session takes the mail transactions of one client, one after the other: MAIL, RCPT, DATA,
// content, in this file in this order. It continues in Delivery at the next hop.
type Session struct {
	f      *FrontEnd
	agents *pipeline.Session
	count  int // transactions begun, for their ids
	// submitted counts the messages that agents have submitted in the session, for their ids.
	submitted int

	mu    sync.Mutex  // held during a command and by the idle timer
	timer *time.Timer // gives hop back while the client is idle; nil until first needed
	tx    transaction // zero outside a transaction
}

// transaction is the state from MAIL to the reply to the content, or to RSET.
type transaction struct {
	set     *Settings
	from    mail.Path      // as the client gave it
	env     *mail.Envelope // as the agents left it
	begun   time.Time
	live    bool // recipients are verified at RCPT
	discard bool // an agent wants the message dropped: the next hop is not asked

	hop Delivery // nil: none is held
	// asked is the envelope that hop has accepted so far. Invariant: nil where hop is nil.
	asked   *mail.Envelope
	remote  string // the server that hop is or was, for the log
	outcome outcome
	// mailRefused is the next hop's answer to MAIL, or that it is not there, which every RCPT gets.
	mailRefused error
}

// Mail begins a transaction. The next hop hears of it with the first RCPT.
func (s *Session) Mail(ctx context.Context, from mail.Path, params mail.Params) (reply.Reply, error) {
	s.lock()
	defer s.unlock()
	s.count++
	s.tx = transaction{set: s.f.settings.Load(), from: from, begun: time.Now()}
	s.tx.env = &mail.Envelope{ID: s.agents.State.SessionID + "-" + strconv.Itoa(s.count), From: from, Params: s.vouched(params)}
	s.agents.Begin(s.tx.env)
	s.tx.live = s.tx.set.RecipientCheck.Live(s.agents)

	d := s.agents.Fire(ctx, event.Event{Kind: event.MailCommand, From: from, Params: params})
	if err := d.Refusal(); err != nil {
		s.end()
		return reply.Reply{}, err
	}
	s.tx.discard = d.Action == event.Discard
	return reply.New(250, reply.Enhanced{Subject: 1}, "sender ok"), nil
}

// Rcpt adds a recipient, if the relay, its agents and (live) the next hop will have it.
func (s *Session) Rcpt(ctx context.Context, to mail.Path, params mail.Params) (reply.Reply, error) {
	s.lock()
	defer s.unlock()
	tx := &s.tx
	if r := tx.set.Right(to, &s.agents.State); r == NoRight {
		return reply.Reply{}, reply.Refuse(reply.New(550, reply.Enhanced{Subject: 7, Detail: 1}, "relaying denied"))
	}
	before := s.snapshot(to)
	rcpt := tx.env.Add(mail.Recipient{Path: to, Original: to, Params: params})
	d := s.agents.Fire(ctx, event.Event{Kind: event.RcptCommand, Recipient: rcpt})
	if err := d.Refusal(); err != nil {
		tx.takeBack(rcpt.ID, before)
		return reply.Reply{}, err
	}
	ok := reply.New(250, reply.Enhanced{Subject: 1, Detail: 5}, "recipient ok")
	if d.Action == event.Discard {
		tx.takeBack(rcpt.ID, before)
		return ok, nil
	}
	if !tx.live || tx.discard {
		return ok, nil
	}
	told, err := s.ask(ctx, rcpt.ID)
	if err != nil {
		tx.takeBack(rcpt.ID, before)
		s.alert(err)
		return reply.Reply{}, err
	}
	if told.Code == 0 {
		told = ok
	}
	return told, nil
}

// snapshot is a copy of the envelope, where agents could change it at the RCPT of this recipient; else
// nil.
func (s *Session) snapshot(to mail.Path) *mail.Envelope {
	if !s.agents.Concerned(&event.Event{Kind: event.RcptCommand, Recipient: mail.Recipient{Path: to}}) {
		return nil
	}
	return s.tx.env.Clone()
}

// takeBack leaves the envelope as it was before the RCPT that added this recipient. What
// agents made of it goes with it, and what they did to others on its occasion is undone:
// the client, who has been refused, does not count on any of it.
func (tx *transaction) takeBack(id uint32, before *mail.Envelope) {
	if before == nil {
		tx.env.Remove(id)
		return
	}
	tx.env.From, tx.env.Params, tx.env.Recipients = before.From, before.Params, before.Recipients
	tx.env.Revision++
}

// Data asks the agents whether the content may come.
func (s *Session) Data(ctx context.Context) error {
	s.lock()
	defer s.unlock()
	d := s.agents.Fire(ctx, event.Event{Kind: event.DataCommand})
	if err := d.Refusal(); err != nil {
		return err
	}
	s.tx.discard = s.tx.discard || d.Action == event.Discard
	return nil
}

// Content takes the message: trace, agents, then the next hop gets the final envelope and
// the content as it arrives. Whatever happens, the transaction is over; its line in the log is
// written by Reset, when the client has its answer.
func (s *Session) Content(ctx context.Context, header *mail.Header, body io.Reader) (reply.Reply, error) {
	s.lock()
	defer s.unlock()
	counted := &countingReader{r: body}
	told, result, err := s.content(ctx, header, counted)
	if err != nil {
		told = reply.From(err)
		result = "refused"
		if s.tx.hop != nil { // OnReject is yet to come, for which nobody needs a connection
			s.letGo()
		}
	}
	s.tx.outcome = outcome{result, told, err, int64(header.Size()) + counted.n, repaired(body), time.Since(s.tx.begun)}
	if result == discarded {
		s.end() // RFC 5321 §6.1: only the log knows of the message, so the client hears 250 after it
	}
	return told, err
}

func (s *Session) content(ctx context.Context, header *mail.Header, body io.Reader) (reply.Reply, string, error) {
	tx := &s.tx
	if err := s.trace(header); err != nil {
		return reply.Reply{}, "", err
	}
	s.agents.SetHeader(header)
	d := s.agents.Fire(ctx, event.Event{Kind: event.EndOfHeaders})
	if err := d.Refusal(); err != nil {
		return reply.Reply{}, "", s.tagError(err)
	}
	if tx.discard || d.Action == event.Discard || len(tx.env.Recipients) == 0 {
		// RFC 5321 §6.1 wants a 250 kept; here an agent has answered for the message.
		if _, err := io.Copy(io.Discard, body); err != nil {
			return reply.Reply{}, "", err
		}
		return tx.tagged(reply.New(250, reply.Enhanced{}, "ok")), discarded, nil
	}
	if err := s.open(ctx); err != nil {
		return reply.Reply{}, "", err
	}
	hop := tx.hop
	tx.hop, tx.asked = nil, nil // Content leaves it finished or closed
	r, err := hop.Content(ctx, header, body)
	if err != nil {
		return reply.Reply{}, "", s.tagError(err)
	}
	hop.Release()
	if err := tx.judge(r, hop.Remote(), "content", taken); err != nil {
		return reply.Reply{}, "", err
	}
	r.Code = 250
	return tx.told(r), "relayed", nil
}

// Reset drops the transaction, or clears up behind one that Content has ended.
func (s *Session) Reset(context.Context) {
	s.lock()
	defer s.unlock()
	if s.tx.env != nil {
		s.end()
	}
}

// Close is the end of the session.
func (s *Session) Close() {
	s.Reset(context.Background())
}

// end logs the transaction and lets go of everything it holds.
func (s *Session) end() {
	s.logMessage()
	if s.tx.hop != nil {
		s.tx.hop.Release()
	}
	s.tx = transaction{}
	s.agents.EndTransaction()
}

// lock begins a command: the idle timer must not take the next hop away under it.
func (s *Session) lock() {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// unlock ends a command: from now on the client is idle.
func (s *Session) unlock() {
	if s.tx.hop != nil {
		if s.timer == nil {
			s.timer = time.AfterFunc(idleRelease, s.releaseIdle)
		} else {
			s.timer.Reset(idleRelease)
		}
	}
	s.mu.Unlock()
}

// releaseIdle gives the connection back; what it had accepted is asked again later.
func (s *Session) releaseIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx.hop != nil {
		s.tx.hop.Release()
		s.tx.hop, s.tx.asked = nil, nil
	}
}

// repaired is how many line ends of the content were no CRLF and have been made one.
func repaired(body io.Reader) int64 {
	if b, ok := body.(interface{ Repaired() int64 }); ok {
		return b.Repaired()
	}
	return 0
}

// countingReader counts octets for the log.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
