package nexthop

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/relay/relay/mail"
	"github.com/emersion/go-smtp"
)

// inbox is an independent server, go-smtp, and what it was given.
type inbox struct {
	address string

	mu  sync.Mutex
	got []letter
	tls []bool // for each session
}

// received is what came, and which sessions were over TLS.
func (in *inbox) received() ([]letter, []bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.got, in.tls
}

type letter struct {
	from, to, body string
	opts           smtp.MailOptions
}

type inboxSession struct {
	inbox *inbox
	l     letter
}

func (s *inboxSession) Mail(from string, opts *smtp.MailOptions) error {
	s.l = letter{from: from, opts: *opts}
	return nil
}

func (s *inboxSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "first line\nno such user"}
	}
	s.l.to += to + " "
	return nil
}

func (s *inboxSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.l.body = string(b)
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	s.inbox.got = append(s.inbox.got, s.l)
	return nil
}

func (s *inboxSession) Reset()        { s.l = letter{} }
func (s *inboxSession) Logout() error { return nil }

func newInbox(t testing.TB, cert *tls.Config) *inbox {
	return newInboxOf(t, cert, func(in *inbox) smtp.Session { return &inboxSession{inbox: in} })
}

func newInboxOf(t testing.TB, cert *tls.Config, session func(*inbox) smtp.Session) *inbox {
	in := &inbox{}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		_, secure := c.TLSConnectionState()
		in.mu.Lock()
		defer in.mu.Unlock()
		in.tls = append(in.tls, secure)
		return session(in), nil
	}))
	s.Domain, s.TLSConfig, s.EnableSMTPUTF8, s.EnableDSN = "mx.example.org", cert, true, true
	s.MaxLineLength = 1 << 20
	s.ErrorLog = log.New(io.Discard, "", 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in.address = l.Addr().String()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-served
	})
	return in
}

// certificate makes one for 127.0.0.1, and the pool that trusts it.
func certificate(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"a.example.org"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func TestIndependentServerGetsWhatWasSent(t *testing.T) {
	in := newInbox(t, nil)
	h := New(Config{Addresses: []string{in.address}, Hostname: "relay.example.org"}, slog.New(slog.DiscardHandler))
	defer h.Close()
	var want []string
	for i := range 5 {
		tx := begin(t, h)
		env := envelopeFor(t, "b@example.org", "c@example.org")
		env.Params = params(t, "BODY=8BITMIME SIZE=10 RET=FULL ENVID=e1")
		a, err := tx.Envelope(t.Context(), env, true)
		if err != nil || a.Data.Code != 354 {
			t.Fatalf("Envelope = %+v, %v", a, err)
		}
		body := fmt.Sprintf("\r\n%d \xe4\r\n.\r\n..\r\n%s\r\n", i, strings.Repeat(".", 100_000*i))
		r, err := tx.Content(t.Context(), mail.ParseHeader([]byte("Subject: x\r\n")), strings.NewReader(body))
		if err != nil || r.Code != 250 {
			t.Fatalf("Content = %v, %v", r, err)
		}
		tx.Release()
		want = append(want, "Subject: x\r\n"+body)
	}
	got, sessions := in.received()
	if len(sessions) != 1 || len(got) != len(want) {
		t.Fatalf("%d messages in %d sessions, want %d in 1", len(got), len(sessions), len(want))
	}
	for i, l := range got {
		if l.body != want[i] {
			t.Errorf("message %d changed", i)
		}
		if l.from != "a@example.org" || l.to != "b@example.org c@example.org " || l.opts.Body != smtp.Body8BitMIME ||
			l.opts.Size != 10+traceRoom || l.opts.Return != smtp.DSNReturnFull || l.opts.EnvelopeID != "e1" {
			t.Errorf("envelope %d = %+v", i, l)
		}
	}
}

func TestIndependentServersRefusalIsReadWhole(t *testing.T) {
	in := newInbox(t, nil)
	h := New(Config{Addresses: []string{in.address}, Hostname: "relay.example.org"}, slog.New(slog.DiscardHandler))
	defer h.Close()
	tx := begin(t, h)
	a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org", "nobody@example.org"), false)
	if err != nil || a.Rcpts[1].String() != "550 5.1.1 first line no such user" {
		t.Errorf("Envelope = %+v, %v", a, err)
	}
	tx.Release()
	sendMail(t, h)
	if got, _ := in.received(); len(got) != 1 || got[0].to != "b@example.org " {
		t.Errorf("got %+v", got)
	}
}

func TestTLSPolicies(t *testing.T) {
	cert, pool := certificate(t)
	for _, test := range []struct {
		name    string
		policy  TLSPolicy
		server  *tls.Config
		trusted *x509.CertPool
		want    string // tls, clear, or an error's text
	}{
		{"none, offered", NoTLS, cert, nil, "clear"},
		{"opportunistic, offered", OpportunisticTLS, cert, nil, "tls"},
		{"opportunistic, not offered", OpportunisticTLS, nil, nil, "clear"},
		{"required, offered", RequiredTLS, cert, nil, "tls"},
		{"required, not offered", RequiredTLS, nil, pool, "does not offer STARTTLS"},
		{"verified, trusted", VerifiedTLS, cert, pool, "tls"},
		{"verified, untrusted", VerifiedTLS, cert, x509.NewCertPool(), "certificate"},
		{"verified, not offered", VerifiedTLS, nil, pool, "does not offer STARTTLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := newInbox(t, test.server)
			h := New(Config{Addresses: []string{in.address}, Hostname: "relay.example.org", TLS: test.policy, RootCAs: test.trusted}, slog.New(slog.DiscardHandler))
			defer h.Close()
			tx, err := h.Begin(t.Context(), mail.Client{})
			if test.want != "tls" && test.want != "clear" {
				wantFault(t, err, "4.4.1")
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("error = %v, want %q in it", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tx.Release()
			sendMail(t, h)
			got, sessions := in.received()
			if last := sessions[len(sessions)-1]; last != (test.want == "tls") || len(got) != 1 {
				t.Errorf("sent over TLS: %v, messages %d", last, len(got))
			}
		})
	}
}

func TestCertificateForAnotherNameIsNotVerified(t *testing.T) {
	cert, pool := certificate(t)
	for address, want := range map[string]bool{addressA: true, addressB: false} {
		h, n := hopWith(t, Config{Addresses: []string{address}, TLS: VerifiedTLS, RootCAs: pool}, map[string][]script{address: {func(p *peer) {
			p.greet("STARTTLS")
			p.answer("STARTTLS", "220 go")
			p.secure(cert)
		}}})
		n.sockets = true
		tx, err := h.Begin(t.Context(), mail.Client{})
		if (err == nil) != want {
			t.Errorf("%s: error = %v", address, err)
		}
		if err == nil {
			tx.Abort()
		}
	}
}

// secure plays the server's side of the handshake, and the EHLO after it.
func (p *peer) secure(cert *tls.Config) {
	if p.handshake(cert) {
		p.answer("EHLO relay.example.org", "250-mx.example.org", "250 PIPELINING")
		p.end()
	}
}

func (p *peer) handshake(cert *tls.Config) bool {
	tc := tls.Server(p.conn, cert)
	if tc.Handshake() != nil {
		return false
	}
	p.conn, p.r = tc, bufio.NewReader(tc)
	return true
}

func TestPlaintextBehindTheSTARTTLSReplyIsThrownAway(t *testing.T) {
	cert, _ := certificate(t)
	h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: RequiredTLS}, map[string][]script{addressA: {func(p *peer) {
		p.greet("STARTTLS", "SMTPUTF8")
		p.answer("STARTTLS", "220 go", "250-injected", "250 DSN")
		p.secure(cert)
	}}})
	n.sockets = true
	tx := begin(t, h)
	if got := tx.Extensions(); got != (mail.Extensions{Pipelining: true}) {
		t.Errorf("Extensions = %+v, want those said over TLS", got)
	}
	tx.Abort()
}

func TestHandshakeThatFailsIsRetriedInClearWhereOpportunistic(t *testing.T) {
	broken := func(p *peer) {
		p.greet("STARTTLS")
		p.answer("STARTTLS", "220 go")
		_, _ = p.r.Peek(1) // the client's hello
		p.say("no TLS here")
		p.end()
	}
	refuses := func(p *peer) {
		p.greet("STARTTLS")
		p.answer("STARTTLS", "454 4.7.0 not now")
		p.end()
	}
	clear := func(p *peer) {
		p.greet("STARTTLS")
		p.end()
	}
	asks, _ := certificate(t)
	asks.ClientAuth = tls.RequireAnyClientCert
	wantsOurs := func(p *peer) { p.secured(asks) } // TLS 1.3: the client hears of it behind its handshake
	for _, test := range []struct {
		name   string
		policy TLSPolicy
		play   []script
		want   bool
		dials  int
	}{
		{"opportunistic, broken", OpportunisticTLS, []script{broken, clear}, true, 2},
		{"opportunistic, refused", OpportunisticTLS, []script{refuses}, true, 1},
		{"opportunistic, certificate required", OpportunisticTLS, []script{wantsOurs, clear}, true, 2},
		{"required, certificate required", RequiredTLS, []script{wantsOurs, clear}, false, 1},
		{"required, broken", RequiredTLS, []script{broken, clear}, false, 1},
		{"required, refused", RequiredTLS, []script{refuses, clear}, false, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: test.policy}, map[string][]script{addressA: test.play})
			n.sockets = true
			h.log = newAlerts(slog.New(slog.NewTextHandler(&log, nil)))
			tx, err := h.Begin(t.Context(), mail.Client{})
			if (err == nil) != test.want || len(n.dialled) != test.dials {
				t.Errorf("error = %v, %d connections", err, len(n.dialled))
			}
			if log.Len() == 0 {
				t.Error("nothing was logged")
			}
			if err == nil {
				tx.Abort()
			} else if test.name == "required, broken" && !errors.Is(err, errHandshake) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// BenchmarkMessage sends 4 KB messages over one pooled connection to a server that does as
// little as it can.
func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{4 << 10, 5 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			address := discard(b)
			h := New(Config{Addresses: []string{address}, Hostname: "relay.example.org"}, slog.New(slog.DiscardHandler))
			defer h.Close()
			header := mail.ParseHeader([]byte(strings.Repeat("X-Field: some value of the usual length, more or less\r\n", 15)))
			body := "\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78)
			env := envelopeFor(b, "b@example.org")
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				tx, err := h.Begin(b.Context(), mail.Client{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := tx.Envelope(b.Context(), env, true); err != nil {
					b.Fatal(err)
				}
				if r, err := tx.Content(b.Context(), header, strings.NewReader(body)); err != nil || r.Code != 250 {
					b.Fatal(r, err)
				}
				tx.Release()
			}
		})
	}
}

// discard is a server for one transaction after the other, each of one recipient, in groups.
func discard(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go discardFrom(c)
		}
	}()
	return l.Addr().String()
}

func discardFrom(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReaderSize(c, 64<<10)
	say := func(s string) { _, _ = io.WriteString(c, s) }
	say("220 x\r\n")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case bytes.HasPrefix(line, []byte("EHLO")):
			say("250-x\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
		case bytes.HasPrefix(line, []byte("DATA")):
			say("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go\r\n")
			for err == nil && string(line) != ".\r\n" {
				line, err = r.ReadSlice('\n')
			}
			say("250 2.0.0 Ok: queued\r\n")
		}
	}
}
