package relay

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/frontend"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/nexthop"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/smtpserver"
	"example.org/relay/test/smtptest"
)

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// bubble is a FrontEnd between a client and a next hop that are in a synctest bubble with it.
type bubble struct {
	*smtptest.Client
	log *bytes.Buffer
	end func()
}

// inBubble runs server, FrontEnd and next hop, wired as in a relay. Each connection to the next
// hop is played by serve; nil: nobody ever answers.
func inBubble(t *testing.T, check frontend.Check, serve func(net.Conn)) *bubble {
	t.Helper()
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	var peers sync.WaitGroup
	h := nexthop.New(nexthop.Config{Name: "mailserver", Addresses: []string{"192.0.2.25:25"}, Hostname: "mx.example.org",
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if serve == nil {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			ours, theirs := net.Pipe()
			peers.Go(func() { serve(theirs) })
			return ours, nil
		}}, log)
	domains := mail.NewDomains("example.org")
	front := frontend.New(frontend.Settings{Hostname: "mx.example.org", NextHop: hop{h}, Domains: domains, RecipientCheck: check}, log)
	server := smtpserver.New(smtpserver.Config{
		Hostname: "mx.example.org", Listener: "test", Backend: backend{front}, Pipeline: pipeline.New(event.FrontEnd, domains), Log: log,
		Limits: smtpserver.Limits{CommandTimeout: time.Hour},
	})
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	ours, theirs := net.Pipe()
	l.conns <- theirs
	c := smtptest.Over(ours)
	c.Patience = 24 * time.Hour
	if _, err := c.Reply(); err != nil {
		t.Fatal(err)
	}
	return &bubble{c, &logged, func() {
		_ = c.Close()
		_ = server.Close()
		<-served
		h.Close()
		peers.Wait()
	}}
}

// A next hop that falls silent costs the client a minute at most, at whatever command; after the
// dot it is waited for as long as the client waits, and half an hour at most.
func TestNextHopHangs(t *testing.T) {
	const (
		unavailable = "451 4.4.1 next hop unavailable"
		tooSlow     = "451 4.4.1 next hop did not answer in time"
	)
	for _, check := range []frontend.Check{frontend.Live, frontend.Deferred} {
		for _, tt := range []struct {
			at    string
			rcpt  bool // in live mode, RCPT hears of it
			want  string
			after time.Duration
			taken int
		}{
			{"connect", true, unavailable, 30 * time.Second, 0},
			{"greeting", true, unavailable, time.Minute, 0},
			{"EHLO", true, unavailable, time.Minute, 0},
			{"MAIL", true, tooSlow, time.Minute, 0},
			{"RCPT", true, tooSlow, time.Minute, 0},
			{"DATA", false, tooSlow, time.Minute, 0},
			{"content", false, tooSlow, 3*time.Minute + 5*time.Second, 0},
			{".", false, tooSlow, 30 * time.Minute, 1},
		} {
			t.Run(string(check)+"/"+tt.at, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &smtptest.Faulty{Fault: smtptest.Fault{At: tt.at, Hang: tt.at != "content"}}
					serve := f.Serve
					switch tt.at {
					case "connect":
						serve = nil
					case "content":
						f.Deaf = make(chan struct{})
					}
					b := inBubble(t, check, serve)
					defer b.end()
					if f.Deaf != nil {
						defer close(f.Deaf)
					}
					at, got, took := b.send(t)
					if wantAt := map[bool]string{true: "RCPT", false: "."}[tt.rcpt && check == frontend.Live]; at != wantAt {
						t.Errorf("refused at %s, want %s", at, wantAt)
					}
					if !strings.HasPrefix(got, tt.want) || took != tt.after {
						t.Errorf("told %q after %v, want %q after %v", got, took, tt.want, tt.after)
					}
					if n := f.Taken(); n != tt.taken {
						t.Errorf("the next hop has the message %d times, want %d", n, tt.taken)
					}
				})
			})
		}
	}
}

// send sends one message and returns at which command the first refusal came, or "." for the
// final reply, and how long that took.
func (b *bubble) send(t *testing.T) (at, got string, took time.Duration) {
	t.Helper()
	for _, step := range []struct{ command, line string }{
		{"EHLO", "EHLO client.example.net"}, {"MAIL", "MAIL FROM:<bob@example.net>"}, {"RCPT", "RCPT TO:<alice@example.org>"}, {"DATA", "DATA"},
		{".", "Subject: x\r\n\r\n" + strings.Repeat("body\r\n", 100_000) + "."},
	} {
		begun := time.Now()
		if err := b.Raw([]byte(step.line + "\r\n")); err != nil {
			t.Fatalf("%s: %v", step.command, err)
		}
		got, err := b.Reply()
		if err != nil {
			t.Fatalf("%s: %v", step.command, err)
		}
		if step.command == "." || got[0] > '3' {
			return step.command, got, time.Since(begun)
		}
	}
	return "", "", 0
}
