package smtpserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// fakeBackend keeps what it is given. What it refuses, the local-part or the header says.
type fakeBackend struct {
	ext mail.Extensions

	mu        sync.Mutex
	delivered []string
	events    []string
	client    string // of the last MAIL
}

func (b *fakeBackend) Extensions() mail.Extensions { return b.ext }

func (b *fakeBackend) Open(agents *pipeline.Session) Transaction {
	return &fakeTransaction{b: b, agents: agents}
}

func (b *fakeBackend) note(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, s)
}

func (b *fakeBackend) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.delivered
	b.delivered = nil
	return d
}

type fakeTransaction struct {
	b      *fakeBackend
	agents *pipeline.Session
	env    *mail.Envelope
}

// verdictOf: local-parts like "550-5.1.1" are refused so; "hangup" also closes.
func verdictOf(p mail.Path) (reply.Reply, error) {
	local := p.Local
	hangup := strings.HasSuffix(local, "-hangup")
	code, detail, ok := strings.Cut(strings.TrimSuffix(local, "-hangup"), "-")
	n, err := strconv.Atoi(code)
	if local == "panic" {
		panic("as asked")
	}
	if local == "fault" {
		return reply.Reply{}, fmt.Errorf("disk is on fire")
	}
	if !ok || err != nil {
		return reply.Reply{}, nil
	}
	var class, subject, d int
	if _, err := fmt.Sscanf(detail, "%d.%d.%d", &class, &subject, &d); err != nil {
		return reply.Reply{}, err
	}
	e := &reply.Error{Reply: reply.New(n, reply.Enhanced{Subject: subject, Detail: d}, "as asked"), Hangup: hangup}
	return reply.Reply{}, e
}

func (t *fakeTransaction) Mail(_ context.Context, from mail.Path, params mail.Params) (reply.Reply, error) {
	if t.env != nil {
		panic("MAIL in a transaction")
	}
	r, err := verdictOf(from)
	conn, user := t.agents.State.Connection, t.agents.State.Client.User
	facts := []string{conn.Remote.String(), conn.RemoteHost, conn.Local.String(), "", "", user}
	if conn.Proxy.IsValid() {
		facts[3] = "proxy=" + conn.Proxy.String()
	}
	if conn.Internal {
		facts[4] = "internal"
	}
	t.b.mu.Lock()
	t.b.client = strings.Join(slices.DeleteFunc(facts, func(s string) bool { return s == "" }), " ")
	t.b.mu.Unlock()
	if err == nil {
		t.env = &mail.Envelope{From: from, Params: params}
		t.agents.Begin(t.env)
	}
	return r, err
}

func (t *fakeTransaction) Rcpt(_ context.Context, to mail.Path, params mail.Params) (reply.Reply, error) {
	r, err := verdictOf(to)
	if err == nil {
		t.env.Add(mail.Recipient{Path: to, Params: params})
	}
	return r, err
}

func (t *fakeTransaction) Data(ctx context.Context) error {
	if t.env == nil || len(t.env.Recipients) == 0 {
		panic("DATA out of order")
	}
	if t.env.Recipients[0].Path.Local == "panic.data" {
		panic("as asked")
	}
	d := t.agents.Fire(ctx, event.Event{Kind: event.DataCommand})
	return d.Refusal()
}

func (t *fakeTransaction) Content(_ context.Context, header *mail.Header, body io.Reader) (reply.Reply, error) {
	env := t.env
	t.env = nil
	t.agents.EndTransaction()
	for f := range header.All() {
		if f.Is("X-Early") {
			p, _ := mail.ParseMailbox(strings.TrimSpace(string(f.Value()))+"@example.org", false)
			return verdictOf(p)
		}
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.b.note("content: " + reply.From(err).String())
		return reply.Reply{}, err
	}
	to := make([]string, len(env.Recipients))
	for i, r := range env.Recipients {
		to[i] = r.Path.Wire() + r.Params.String()
	}
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	content := string(header.AppendTo(nil)) + "|" + string(b)
	t.b.delivered = append(t.b.delivered, env.From.Wire()+env.Params.String()+" "+strings.Join(to, " ")+" "+strconv.Quote(content))
	return reply.New(250, reply.Enhanced{Subject: 6}, "kept"), nil
}

func (t *fakeTransaction) Reset(context.Context) {
	if t.env != nil {
		t.b.note("reset")
		t.env = nil
		t.agents.EndTransaction()
	}
}

func (t *fakeTransaction) Close() { t.Reset(context.Background()) }

// fakeAgent answers events as it was told.
type fakeAgent struct {
	mu       sync.Mutex
	verdicts map[event.Kind]event.Verdict
	seen     []string
}

func (a *fakeAgent) Open(string) pipeline.Conversation     { return &fakeConversation{a} }
func (a *fakeAgent) Fault(_ string, _ event.Kind, _ error) {}

type fakeConversation struct{ a *fakeAgent }

func (c *fakeConversation) see(events []event.Event, state *event.State) {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	for _, e := range events {
		s := e.Kind.String()
		if e.Argument != "" {
			s += " " + e.Argument
		}
		if e.Kind == event.Connect && state.Connection.EarlyTalker {
			s += " early"
		}
		if a := e.Auth; a != nil {
			s += fmt.Sprintf(" %s %q %v", a.Mechanism, a.User, a.Success)
		}
		if r := e.Rejection; r != nil {
			s += fmt.Sprintf(" %q %q rcpt=%q cause=%d agent=%q", r.Command, r.Reply.String(), r.Recipient, r.Cause, r.Agent)
		}
		c.a.seen = append(c.a.seen, s)
	}
}

func (c *fakeConversation) Decide(_ context.Context, events []event.Event, state *event.State, _ time.Duration) (event.Verdict, error) {
	c.see(events, state)
	last := events[len(events)-1]
	v := c.a.verdicts[last.Kind]
	v.Seq = last.Seq
	return v, nil
}

func (c *fakeConversation) Notify(events []event.Event, state *event.State) { c.see(events, state) }

func (c *fakeConversation) End(events []event.Event, state *event.State, reason event.DisconnectReason) {
	c.see(events, state)
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	c.a.seen = append(c.a.seen, "end "+reasons[reason])
}

// pipeListener is a listener without a network: what dial gives, Accept gives too.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

func (l *pipeListener) dial() net.Conn {
	here, there := net.Pipe()
	l.conns <- pipeConn{there}
	return here
}

// pipeConn is the server's end of a pipe, with addresses.
type pipeConn struct{ net.Conn }

func (pipeConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(hop, 40000)) }
func (pipeConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 25), Port: 25} }

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fakeLogins knows alice, whose password is "secret". Of a user "down" it cannot say; "panic" does.
type fakeLogins struct{}

func (fakeLogins) Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

func (fakeLogins) Start(mechanism string, _ netip.Addr) Exchange {
	return &fakeExchange{login: mechanism == "LOGIN"}
}

type fakeExchange struct {
	login, named bool
	user         string
}

func (x *fakeExchange) User() string { return x.user }

func (x *fakeExchange) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	password := string(response)
	switch {
	case x.login && response == nil:
		return []byte("Username:"), false, nil
	case x.login && !x.named:
		x.named, x.user = true, string(response)
		return []byte("Password:"), false, nil
	case x.login:
	case response == nil:
		return nil, false, nil
	default:
		parts := strings.Split(string(response), "\x00")
		if len(parts) != 3 {
			return nil, false, ErrMalformed
		}
		x.user, password = parts[1], parts[2]
	}
	switch {
	case x.user == "down":
		return nil, false, fmt.Errorf("no answer from the directory")
	case x.user == "panic":
		panic("as asked")
	case x.user != "alice" || password != "secret":
		return nil, false, ErrCredentials
	}
	return nil, true, nil
}
