package frontend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// maxAtOnce is how many messages of agents are on their way at the same time: the next hop is there for the
// clients' first.
const maxAtOnce = 20

// submission is a message of an agent's on its way. It is a transaction of the relay's own.
type submission struct {
	transaction
	s      *Session
	out    *pipeline.Outgoing
	header *mail.Header
	body   []byte
}

// Send tries an agent's message once at the next hop, beside the message that the agent is looking at.
func (s *Session) Send(ctx context.Context, out *pipeline.Outgoing) (id string, r reply.Reply, err error) {
	if s.tx.set.Seal == nil {
		return "", reply.Reply{}, errors.New("this relay sends no mail of agents")
	}
	s.submitted++
	m := &submission{s: s, out: out}
	m.transaction = transaction{set: s.tx.set, from: out.Envelope.From, env: out.Envelope, begun: time.Now()}
	m.env.ID = s.tx.env.ID + "." + strconv.Itoa(s.submitted)
	r, err = m.send(ctx)
	m.log(r, err)
	return m.env.ID, r, err
}

func (m *submission) send(ctx context.Context) (reply.Reply, error) {
	if err := m.compose(); err != nil {
		return reply.Reply{}, err
	}
	select {
	case m.s.f.submissions <- struct{}{}:
		defer func() { <-m.s.f.submissions }()
	case <-ctx.Done():
		return reply.Reply{}, fmt.Errorf("%d messages of agents are on their way already", maxAtOnce)
	}
	// With few connections the agent's message would wait for the one that its own session holds. What
	// that was asked is asked again.
	if m.s.tx.hop != nil {
		m.s.letGo()
	}
	hop, err := m.set.NextHop.Begin(ctx, mail.Client{Hello: m.set.Hostname, ESMTP: true})
	if err != nil {
		return reply.Reply{}, err
	}
	m.hop, m.remote = hop, hop.Remote()
	answers, err := hop.Envelope(ctx, m.env, true)
	m.remote = hop.Remote()
	if err != nil {
		return reply.Reply{}, err
	}
	if err := m.judgeAll(answers); err != nil {
		hop.Release()
		return err.Reply, alertOf(err)
	}
	if err := m.judge(answers.Data, m.remote, "DATA", goAhead); err != nil {
		hop.Release()
		return err.Reply, alertOf(err)
	}
	r, err := hop.Content(ctx, m.header, bytes.NewReader(m.body))
	if err != nil {
		return reply.Reply{}, fmt.Errorf("no answer to the content; the next hop may have taken the message: %w", err)
	}
	hop.Release()
	if err := m.judge(r, m.remote, "content", taken); err != nil {
		return err.Reply, alertOf(err)
	}
	return r, nil
}

// alertOf is what the log, and not the agent, is told of a refusal of this relay.
func alertOf(e *reply.Error) error {
	var alert *Alert
	if errors.As(e.Err, &alert) {
		return alert
	}
	return nil
}

// compose checks the message and puts our fields on top of it.
func (m *submission) compose() error {
	var err error
	if m.header, m.body, err = mail.ParseMessage(m.out.Content); err != nil {
		return fmt.Errorf("%w: %w", pipeline.ErrBadMessage, err)
	}
	if m.header.Count("Received") > maxReceived {
		return fmt.Errorf("%w: it has come through too many hops", pipeline.ErrBadMessage)
	}
	key, err := m.set.Seal.Make()
	if err != nil {
		return err
	}
	now := time.Now()
	for _, f := range sealed(m.header, key, now) {
		_ = m.header.Remove(f.id) // it was there a moment ago; ours says more
	}
	if _, ok := m.header.First("Date"); !ok {
		if err := m.add("Date", " "+now.Format("Mon, 02 Jan 2006 15:04:05 -0700")); err != nil {
			return err
		}
	}
	if _, ok := m.header.First("Message-ID"); !ok {
		if err := m.add("Message-ID", " <"+m.env.ID+"."+strconv.FormatInt(now.UnixNano(), 36)+"@"+m.set.Hostname+">"); err != nil {
			return err
		}
	}
	id, _ := m.header.First("Message-ID")
	by := mail.Submitted{Chain: m.out.Chain, ID: m.env.ID, At: now}
	if err := m.add(mail.SubmittedField, string(by.Value(key, id.Value()))); err != nil {
		return err
	}
	trace := " by " + m.set.Hostname + " (agent " + m.out.Agent + ")\r\n\tid " + m.env.ID + ";\r\n\t" + now.Format("Mon, 02 Jan 2006 15:04:05 -0700")
	if err := m.add("Received", trace); err != nil {
		return err
	}
	m.declare()
	return nil
}

func (m *submission) add(name, value string) error {
	_, err := m.header.Add(mail.Top, name, []byte(value))
	return err
}

// declare says at MAIL what the message is.
func (m *submission) declare() {
	set := func(keyword, value string) {
		m.env.SetParams(append(m.env.Params, mail.Param{Keyword: keyword, Value: value, HasValue: value != ""}))
	}
	set("SIZE", strconv.Itoa(m.header.Size()+len(m.body)))
	ascii := mail.Is7Bit(m.body)
	if !mail.Is7Bit(m.header.AppendTo(nil)) { // RFC 6531 §3.6: it comes with 8BITMIME
		ascii = false
		set("SMTPUTF8", "")
	}
	if !ascii {
		set("BODY", "8BITMIME")
	}
}

// log writes the message's own line, beside that of the message it was submitted at.
func (m *submission) log(r reply.Reply, err error) {
	result, level := "relayed", slog.LevelInfo
	switch {
	case err != nil:
		result, level = "refused", slog.LevelWarn
	case !r.Positive():
		result = "refused"
	}
	var alert *Alert
	if errors.As(err, &alert) {
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.String("result", result),
		slog.String("id", m.env.ID),
		slog.String("session", m.s.agents.State.SessionID),
		slog.String("agent", m.out.Agent),
		slog.String("submitted_at", m.s.tx.env.ID),
		slog.String("from", "<"+m.env.From.String()+">"),
		slog.Any("to", recipients(m.env)),
		slog.Int("size", len(m.out.Content)),
	}
	if r.Code != 0 {
		attrs = append(attrs, slog.String("reply", r.String()))
	}
	if m.remote != "" {
		attrs = append(attrs, slog.String("next_hop", m.remote))
	}
	if err != nil {
		attrs = append(attrs, slog.String("cause", err.Error()))
	}
	attrs = append(attrs, slog.Int64("ms", time.Since(m.begun).Milliseconds()))
	m.s.f.log.LogAttrs(context.Background(), level, "submitted message", attrs...)
}

// sealedField is a field that says of which submissions a message has come.
type sealedField struct {
	id    uint32
	chain []string
}

// sealed are the fields of the header that this relay has sealed for this message. Others, forged, too old or
// of another relay, are nothing to us; they stay, since another relay may look for its own.
func sealed(h *mail.Header, key []byte, now time.Time) []sealedField {
	const most = 10
	var all []sealedField
	seen := 0
	for f := range h.All() {
		if !f.Is(mail.SubmittedField) {
			continue
		}
		if seen++; seen > most {
			break
		}
		id, _ := h.First("Message-ID")
		if s, ok := mail.ParseSubmitted(f.Value(), key, id.Value(), now); ok {
			all = append(all, sealedField{f.ID, s.Chain})
		}
	}
	return all
}

// traceSubmitted tells the agents' keeper of which submissions the message has come, and keeps agents from
// taking that out.
func (s *Session) traceSubmitted(h *mail.Header) {
	key := s.tx.set.Seal.Key()
	if key == nil {
		return
	}
	for _, f := range sealed(h, key, time.Now()) {
		s.agents.ProtectFields(f.id)
		if len(f.chain) > len(s.agents.Submitted) {
			s.agents.Submitted = f.chain
		}
	}
}
