package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// An agent that submits mail cannot loop: a message may have come of this many submissions of
// one agent, one after the other, and of this many over all.
const (
	maxDepthOfOne = 2
	maxDepth      = 3
)

// What an agent may submit while it decides one event, and the time for one message, of which the
// agents behind it are left at least half.
const (
	maxSubmissions = 10
	maxSubmitTime  = 30 * time.Second
)

// Sender sends a message that an agent has submitted, now and once. Whoever runs the session is one.
type Sender interface {
	// Send returns the id that the log has of the message and the next hop's reply; the error says why
	// there is no reply.
	Send(ctx context.Context, m *Outgoing) (id string, r reply.Reply, err error)
}

// Outgoing is a message of an agent's that may go out: addresses and parameters are checked, the
// content is not.
type Outgoing struct {
	Agent string
	// Chain are the agents that it comes of, Agent last, as "FrontEnd/name".
	Chain    []string
	Envelope *mail.Envelope // without an ID
	Content  []byte
}

// turn is the agent that is deciding, and what it has submitted. Its zero value is nobody's turn.
type turn struct {
	s        *Session
	part     *part
	kind     event.Kind
	deadline time.Time // of the chain
	sent     []sent
}

// sent is a submission by its digest: after a crash the event is shown again, and what was sent is not
// sent twice.
type sent struct {
	digest [sha256.Size]byte
	result event.Submitted
}

func (t *turn) begin(s *Session, p *part, k event.Kind, deadline time.Time) {
	t.s, t.part, t.kind, t.deadline, t.sent = s, p, k, deadline, t.sent[:0]
}

func (t *turn) end() { t.part = nil }

// Deadline is when the chain must be over.
func (t *turn) Deadline() time.Time { return t.deadline }

// Submit checks a message of the agent whose turn it is, and has it sent.
func (t *turn) Submit(ctx context.Context, m *event.Submission) event.Submitted {
	if t.part == nil {
		return event.Submitted{Err: errors.New("no event awaits a verdict")}
	}
	digest := digestOf(m)
	if i := slices.IndexFunc(t.sent, func(s sent) bool { return s.digest == digest }); i >= 0 {
		return t.sent[i].result
	}
	b := t.part.binding
	out, err := t.check(m)
	if err != nil {
		t.s.note(Entry{Agent: b.Name, At: t.kind, Err: fmt.Errorf("submit: %w", err)})
		if errors.Is(err, errNotGranted) {
			t.part.fault(t.s.State.SessionID, t.kind, fmt.Errorf("%w: submit: %w", event.ErrProtocol, err))
		}
		return event.Submitted{Err: err}
	}
	limit := min(maxSubmitTime, time.Until(t.deadline)/2)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	result := event.Submitted{Later: true}
	if result.ID, result.Reply, result.Err = t.send(ctx, out); errors.Is(result.Err, ErrBadMessage) {
		result.Later = false
	}
	t.sent = append(t.sent, sent{digest, result})
	e := Entry{Agent: b.Name, At: t.kind}
	if result.Err != nil {
		e.Err = fmt.Errorf("submit %s: %w", result.ID, result.Err)
	} else {
		e.Edits = []string{fmt.Sprintf("submit %s: %s", result.ID, result.Reply)}
	}
	t.s.note(e)
	return result
}

// send keeps a fault of the sending side from costing the session.
func (t *turn) send(ctx context.Context, out *Outgoing) (id string, r reply.Reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("submit: panic: %v", v)
		}
	}()
	return t.s.Sender.Send(ctx, out)
}

// ErrBadMessage is a message that is not to be sent as it is.
var ErrBadMessage = errors.New("not a message")

var errNotGranted = errors.New("was not granted")

// check says why the message may not go out.
func (t *turn) check(m *event.Submission) (*Outgoing, error) {
	s, b := t.s, t.part.binding
	switch {
	case !b.Granted.Has(event.MaySubmit):
		return nil, fmt.Errorf("needs the permission %q, which %w", event.MaySubmit, errNotGranted)
	case s.State.Header == nil:
		// Until then it is not known what submissions the message at hand has come of.
		return nil, fmt.Errorf("nothing can be submitted at %s: it takes an event that has the header section", t.kind)
	case s.Sender == nil:
		return nil, errors.New("this service sends no mail of agents")
	case len(t.sent) >= maxSubmissions:
		return nil, fmt.Errorf("%d messages at one event: more are not taken", maxSubmissions)
	case s.MessageLimit > 0 && int64(len(m.Message)) > s.MessageLimit:
		return nil, fmt.Errorf("a message of %d octets: at most %d are taken", len(m.Message), s.MessageLimit)
	}
	who := string(s.pipeline.Role) + "/" + b.Name
	if err := checkDepth(s.Submitted, who); err != nil {
		return nil, err
	}
	env, err := t.envelope(m)
	if err != nil {
		return nil, err
	}
	return &Outgoing{Agent: b.Name, Chain: append(slices.Clone(s.Submitted), who), Envelope: env, Content: m.Message}, nil
}

// checkDepth is the loop guard.
func checkDepth(chain []string, who string) error {
	own := 0
	for _, a := range chain {
		if a == who {
			own++
		}
	}
	switch {
	case own >= maxDepthOfOne:
		return fmt.Errorf("loop: the message at hand has come of %d submissions of this agent already", own)
	case len(chain) >= maxDepth:
		return fmt.Errorf("loop: the message at hand has come of %d submissions of agents already", len(chain))
	}
	return nil
}

// envelope reads the addresses. The rules are those of the edits that add recipients.
func (t *turn) envelope(m *event.Submission) (*mail.Envelope, error) {
	s, b := t.s, t.part.binding
	if n := len(m.To); n == 0 || s.RecipientLimit > 0 && n > s.RecipientLimit {
		return nil, fmt.Errorf("%d recipients: there must be one, and at most %d", n, s.RecipientLimit)
	}
	from, err := mail.ParseMailbox(m.From.Mailbox, true)
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	env := &mail.Envelope{From: from}
	if env.Params, err = mail.SetMailParams(nil, m.From.Params, true); err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	for _, a := range m.To {
		to, err := recipient(a.Mailbox, true, s.pipeline.domains.Load(), b.Granted)
		if err != nil {
			return nil, err
		}
		params, err := mail.SetRcptParams(nil, a.Params, true)
		if err != nil {
			return nil, err
		}
		env.Add(mail.Recipient{Path: to, Original: to, Params: params})
	}
	return env, nil
}

func digestOf(m *event.Submission) (d [sha256.Size]byte) {
	h := sha256.New()
	digestAddress(h, &m.From)
	for i := range m.To {
		digestAddress(h, &m.To[i])
	}
	h.Write([]byte{0})
	h.Write(m.Message)
	h.Sum(d[:0])
	return d
}

func digestAddress(h hash.Hash, a *event.Address) {
	fmt.Fprintf(h, "%q%q\n", a.Mailbox, a.Params.String())
}
