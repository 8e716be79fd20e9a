package nexthop

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// A peer plays the server's part of one connection by a script. What it says is queued, so that
// it may answer a group of commands while the client is still writing.
type peer struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	out  chan string
}

type script func(*peer)

// want reads one line.
func (p *peer) want(line string) {
	p.t.Helper()
	if got := p.line(); got != line {
		p.t.Errorf("server got %q, want %q", got, line)
	}
}

func (p *peer) line() string {
	s, err := p.r.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(s, "\r\n")
}

// say queues reply lines.
func (p *peer) say(lines ...string) { p.out <- strings.Join(lines, "\r\n") + "\r\n" }

// answer is want, then say.
func (p *peer) answer(line string, lines ...string) {
	p.t.Helper()
	p.want(line)
	p.say(lines...)
}

// greet plays the greeting and EHLO with these extensions.
func (p *peer) greet(extensions ...string) {
	p.t.Helper()
	p.say("220 mx.example.org ESMTP")
	lines := []string{"250-mx.example.org"}
	for _, e := range extensions {
		lines = append(lines, "250-"+e)
	}
	p.want("EHLO relay.example.org")
	p.say(append(lines, "250 HELP")...)
}

// content reads to the final dot, by RFC 5321 §4.5.2, and returns what was sent.
func (p *peer) content() string {
	var b strings.Builder
	for {
		s, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Errorf("content: %v after %q", err, b.String())
			return b.String()
		}
		if s == ".\r\n" {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(s, "."))
	}
}

// message plays one transaction.
func (p *peer) message() string {
	p.t.Helper()
	p.envelope()
	s := p.content()
	p.say("250 2.0.0 queued")
	return s
}

func (p *peer) envelope() {
	p.t.Helper()
	p.answer("MAIL FROM:<a@example.org>", "250 2.1.0 ok")
	p.answer("RCPT TO:<b@example.org>", "250 2.1.5 ok")
	p.answer("DATA", "354 go on")
}

// end waits for the client to close, and returns what it said before.
func (p *peer) end() string {
	rest, _ := io.ReadAll(p.r)
	return string(rest)
}

// network is where the scripts of a test live. Each connection to an address plays the next
// script of that address; where there is none, the connection is refused.
type network struct {
	t  testing.TB
	wg sync.WaitGroup
	// sockets: over loopback, not a pipe. TLS needs it: both ends write at the same time, and a pipe
	// has no buffer.
	sockets bool

	mu      sync.Mutex
	scripts map[string][]script
	dialled []string
}

var errRefused = errors.New("connection refused")

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled = append(n.dialled, address)
	list := n.scripts[address]
	if len(list) == 0 {
		return nil, errRefused
	}
	n.scripts[address] = list[1:]
	client, server := net.Pipe()
	if n.sockets {
		client, server = socketPair(n.t)
	}
	p := &peer{t: n.t, conn: server, r: bufio.NewReader(server), out: make(chan string, 4096)}
	n.wg.Go(func() {
		for s := range p.out {
			if _, err := io.WriteString(p.conn, s); err != nil {
				break
			}
		}
		_ = p.conn.Close()
	})
	n.wg.Go(func() {
		defer close(p.out)
		list[0](p)
	})
	return client, nil
}

func socketPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

const addressA, addressB = "a.example.org:25", "b.example.org:25"

// hopTo makes a Hop to address A that plays these scripts. At the end of the test it is closed,
// and every script must have ended.
func hopTo(t testing.TB, scripts ...script) (*Hop, *network) {
	return hopWith(t, Config{Addresses: []string{addressA}}, map[string][]script{addressA: scripts})
}

func hopWith(t testing.TB, cfg Config, scripts map[string][]script) (*Hop, *network) {
	n := &network{t: t, scripts: scripts}
	cfg.Name, cfg.Hostname, cfg.Dial = "test", "relay.example.org", n.dial
	h := New(cfg, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		h.Close()
		n.wg.Wait()
	})
	return h, n
}

func path(t testing.TB, s string) mail.Path {
	t.Helper()
	p, err := mail.ParseMailbox(s, true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func envelopeFor(t testing.TB, rcpts ...string) *mail.Envelope {
	t.Helper()
	env := &mail.Envelope{From: path(t, "a@example.org")}
	for _, r := range rcpts {
		env.Add(mail.Recipient{Path: path(t, r)})
	}
	return env
}

func begin(t testing.TB, h *Hop) *Transaction {
	t.Helper()
	tx, err := h.Begin(t.Context(), mail.Client{})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// sendMail sends one message and gives the connection back.
func sendMail(t testing.TB, h *Hop) {
	t.Helper()
	tx := begin(t, h)
	a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true)
	if err != nil || a.Data.Code != 354 {
		t.Fatalf("Envelope = %v, %v", a, err)
	}
	r, err := tx.Content(t.Context(), mail.ParseHeader([]byte("Subject: x\r\n")), strings.NewReader("\r\nbody\r\n"))
	if err != nil || r.Code != 250 {
		t.Fatalf("Content = %v, %v", r, err)
	}
	tx.Release()
}

// wantFault checks that err is a transient *reply.Error of this enhanced code.
func wantFault(t testing.TB, err error, enhanced string) {
	t.Helper()
	var e *reply.Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want a *reply.Error", err)
	}
	if e.Reply.Code != 451 || e.Reply.EnhancedString() != enhanced || e.Op == "" || e.Err == nil {
		t.Errorf("error = %+v, want 451 %s with Op and Err", e, enhanced)
	}
}
