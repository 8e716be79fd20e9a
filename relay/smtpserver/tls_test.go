package smtpserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// watcher keeps the client's state as an agent is shown it at EHLO.
type watcher struct {
	mu   sync.Mutex
	seen []event.Client
}

func (w *watcher) Open(string) pipeline.Conversation     { return w }
func (w *watcher) Fault(_ string, _ event.Kind, _ error) {}
func (w *watcher) Decide(_ context.Context, all []event.Event, s *event.State, _ time.Duration) (event.Verdict, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s.Client)
	return event.Verdict{Seq: all[len(all)-1].Seq}, nil
}
func (w *watcher) Notify([]event.Event, *event.State)                      {}
func (w *watcher) End([]event.Event, *event.State, event.DisconnectReason) {}

func TestAClientIsAskedForItsCertificateAndNeverRefusedForIt(t *testing.T) {
	for _, mode := range []TLSMode{StartTLS, Implicit} {
		for _, shows := range []bool{false, true} {
			t.Run(string(mode)+map[bool]string{true: " with", false: " without"}[shows], func(t *testing.T) {
				log, agent := &lockedBuffer{}, &watcher{}
				server := testTLS().Clone()
				server.ClientAuth = tls.RequestClientCert
				p := pipeline.New(event.FrontEnd, mail.NewDomains("example.org"))
				p.Set([]pipeline.Binding{{
					Name: "watcher", Agent: agent, Timeout: time.Minute, Subscriptions: []event.Subscription{{Kind: event.EhloCommand}},
				}})
				s := New(Config{
					Hostname: "mx.example.org", Listener: "test", Backend: &fakeBackend{}, Pipeline: p, TLSMode: mode,
					TLS: func() *tls.Config { return server }, Log: slog.New(slog.NewTextHandler(log, nil)),
				})
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				go func() { _ = s.Serve(l) }()
				defer s.Close()
				config := &tls.Config{InsecureSkipVerify: true, ServerName: "mx.example.org"}
				if shows {
					config.Certificates = testTLS().Certificates
				}
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if mode == StartTLS {
					talk(t, c, "", "220 ")
					talk(t, c, "STARTTLS", "220 ")
				}
				c = tls.Client(c, config)
				if mode == Implicit {
					talk(t, c, "", "220 ")
				}
				talk(t, c, "EHLO client.example.org", "250-")
				talk(t, c, "QUIT", "221 ")
				if err := s.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				state := agent.seen[0].TLS
				if state == nil || state.ServerName != "mx.example.org" || state.Version != tls.VersionTLS13 ||
					len(state.PeerCertificates) > 0 != shows || len(state.VerifiedChains) > 0 {
					t.Errorf("the agent saw %+v", state)
				}
				for text, want := range map[string]bool{
					` tls=true `: true, ` tls_version="TLS 1.3" tls_cipher=TLS_`: true, " tls_name=mx.example.org": true,
					" client_certificate=CN=mx.example.org client_certificate_verified=false": shows, "client_certificate": shows,
				} {
					if text = strings.ReplaceAll(text, "=CN=mx.example.org", `="CN=mx.example.org"`); strings.Contains(log.String(), text) != want {
						t.Errorf("the log has %s: %v\n%s", text, !want, log)
					}
				}
			})
		}
	}
}

// A client may write 60 KB of its own into a handshake. None of it but a name's worth is in the log.
func TestNamesOfTLSAreShortInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lockedBuffer{}
		p := newPlayer(t)
		p.cfg.TLSMode, p.cfg.Log = Implicit, slog.New(slog.NewTextHandler(log, nil))
		p.start()
		c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, ServerName: strings.Repeat("x", 50_000)})
		talk(t, c, "", "220 ")
		talk(t, c, "QUIT", "221 ")
		p.stop()
		if n := len(log.String()); n > 2_000 {
			t.Errorf("the log has %d octets", n)
		}
	})
}

// talk says a line, unless it is empty, and reads a whole reply.
func talk(t *testing.T, c net.Conn, line, want string) {
	t.Helper()
	if line != "" {
		if _, err := c.Write([]byte(line + "\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer c.SetReadDeadline(time.Time{})
	r := bufio.NewReader(c) // the server says nothing before it is asked again
	got, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(got, want) {
		t.Fatalf("%s: %q %v, want %s", line, got, err, want)
	}
	for last := got; len(last) > 3 && last[3] == '-'; {
		if last, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}
