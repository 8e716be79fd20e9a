package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/frontend"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/nexthop"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/smtpserver"
	"example.org/relay/test/smtptest"
)

// watcher notes what an agent is shown at each event, the last time that it comes.
type watcher struct {
	mu   sync.Mutex
	seen map[event.Kind][]string
}

func (w *watcher) Open(string) pipeline.Conversation     { return w }
func (w *watcher) Fault(_ string, _ event.Kind, _ error) {}

func (w *watcher) Decide(_ context.Context, events []event.Event, s *event.State, _ time.Duration) (event.Verdict, error) {
	for i := range events {
		w.note(&events[i], s)
	}
	if last := &events[len(events)-1]; last.Kind == event.RcptCommand && last.Recipient.Path.Local == "refused" {
		return event.Verdict{Action: event.RejectIt}, nil
	}
	return event.Verdict{}, nil
}

func (w *watcher) Notify(events []event.Event, s *event.State) {
	for i := range events {
		w.note(&events[i], s)
	}
}

func (w *watcher) End(events []event.Event, s *event.State, _ event.DisconnectReason) {
	w.Notify(events, s)
}

func (w *watcher) note(e *event.Event, s *event.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	w.seen[e.Kind] = []string{
		yes(s.Connection != nil), yes(s.Client.Hello != "" && s.Client.TLS != nil), yes(s.Client.User != ""),
		yes(s.Envelope != nil), yes(s.Header != nil), own(e),
	}
}

// own are the facts of the event itself.
func own(e *event.Event) string {
	var all []string
	has := func(there bool, what string) {
		if there {
			all = append(all, what)
		}
	}
	has(e.Argument != "", "argument")
	has(!e.From.IsNull(), "sender")
	has(len(e.Params) > 0, "parameters")
	has(e.Recipient.ID != 0, "recipient")
	has(len(e.Recipient.Params) > 0, "parameters")
	has(e.Auth != nil && e.Auth.Mechanism != "", "mechanism")
	has(e.Auth != nil && e.Auth.User != "", "user")
	has(e.Auth != nil && e.Auth.Success, "success")
	has(e.Rejection != nil, "reply, command, cause")
	has(e.NextHop != nil && e.NextHop.Name == "mailserver" && e.NextHop.Address != "", "next hop")
	has(e.Kind == event.Disconnect, "reason")
	return strings.Join(all, ", ")
}

// what an agent sees is told by docs/agents.md: one session through a whole FrontEnd shows whether it is so.
func TestDocsWhatAnAgentSees(t *testing.T) {
	w := &watcher{seen: make(map[event.Kind][]string)}
	var subs []event.Subscription
	for _, k := range event.FrontEnd.Events() {
		subs = append(subs, event.Subscription{Kind: k})
	}
	seeAll(t, pipeline.Binding{Name: "watcher", Agent: w, Subscriptions: subs, Granted: ^event.Permissions(0)})

	text, err := os.ReadFile("../docs/agents.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## What an agent sees\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| On") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		k, ok := event.ParseKind(cells[0])
		if got := w.seen[k]; !ok || !slices.Equal(got, cells[1:]) {
			t.Errorf("docs/agents.md says of %s: %q, an agent saw %q", cells[0], cells[1:], got)
		}
		delete(w.seen, k)
	}
	for k := range w.seen {
		t.Errorf("docs/agents.md does not say what is seen at %s", k)
	}
}

// seeAll is a session in which every event comes.
func seeAll(t *testing.T, b pipeline.Binding) {
	t.Helper()
	sink := (&smtptest.Sink{}).Start(t)
	log := slog.New(slog.DiscardHandler)
	domains := mail.NewDomains("example.org")
	agents := pipeline.New(event.FrontEnd, domains)
	agents.Set([]pipeline.Binding{b})
	h := nexthop.New(nexthop.Config{Name: "mailserver", Addresses: []string{sink.Addr()}, Hostname: "mx.example.org"}, log)
	defer h.Close()
	if err := h.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	front := frontend.New(frontend.Settings{Hostname: "mx.example.org", NextHop: hop{h}, Domains: domains, RecipientCheck: frontend.Live}, log)
	tlsConfig := selfSigned(t)
	server := smtpserver.New(smtpserver.Config{
		Hostname: "mx.example.org", Listener: "test", Backend: backend{front}, Pipeline: agents, Log: log,
		TLSMode: smtpserver.StartTLS, TLS: func() *tls.Config { return tlsConfig }, Auth: anybody{},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	c, err := smtptest.Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(line, want string) {
		t.Helper()
		if r, err := c.Cmd(line); err != nil || !strings.HasPrefix(r, want) {
			t.Fatalf("%s: %q, %v; want %s", line, r, err, want)
		}
	}
	say("HELO client.example", "250")
	say("EHLO client.example", "250")
	say("STARTTLS", "220")
	c = smtptest.Over(tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}))
	say("EHLO client.example", "250")
	say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice\x00secret")), "235")
	say("MAIL FROM:<a@example.com> BODY=8BITMIME", "250")
	say("NOOP x", "250")
	say("HELP x", "214")
	say("RCPT TO:<refused@example.org> NOTIFY=NEVER", "550")
	say("RCPT TO:<b@example.org> NOTIFY=NEVER", "250")
	say("RSET", "250")
	say("MAIL FROM:<a@example.com> BODY=8BITMIME", "250")
	say("RCPT TO:<b@example.org> NOTIFY=NEVER", "250")
	say("DATA", "354")
	say("Subject: x\r\n\r\nbody\r\n.", "250")
	say("QUIT", "221")
	c.Close()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
}

// anybody logs everybody in.
type anybody struct{}

func (anybody) Mechanisms() []string                               { return []string{"PLAIN"} }
func (anybody) Start(string, netip.Addr) smtpserver.Exchange       { return anybody{} }
func (anybody) User() string                                       { return "alice" }
func (anybody) Next(context.Context, []byte) ([]byte, bool, error) { return nil, true, nil }

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
