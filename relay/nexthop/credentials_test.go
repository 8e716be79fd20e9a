package nexthop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
)

// pairFiles writes a certificate of this name, signed by itself, and its key.
func pairFiles(t testing.TB, dir, name string) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certificate, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", secret)
	return certificate, key
}

func writePEM(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNameThatIsVerified(t *testing.T) {
	cert, _ := certificate(t) // for a.example.org and 127.0.0.1
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	writePEM(t, ca, "CERTIFICATE", cert.Certificates[0].Certificate[0])
	other, _ := pairFiles(t, dir, "other.example.org")
	for _, test := range []struct {
		name, address, tlsName, ca string
		want                       string // in the error
	}{
		{"host of the address", addressA, "", ca, ""},
		{"IP address", "127.0.0.1:25", "", ca, ""},
		{"name beside the address", "192.0.2.1:25", "a.example.org", ca, ""},
		{"IP address beside the address", addressB, "127.0.0.1", ca, ""},
		{"other host", addressB, "", ca, `certificate is not valid for "b.example.org": x509: certificate is valid for a.example.org, not b.example.org; it is for "a.example.org, 127.0.0.1"`},
		{"other IP address", "192.0.2.1:25", "", ca, `not valid for "192.0.2.1"`},
		{"other name", addressA, "b.example.org", ca, `not valid for "b.example.org"`},
		{"other CA", addressA, "", other, "signed by unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, n := hopWith(t, Config{Addresses: []string{test.address}, TLS: VerifiedTLS, TLSName: test.tlsName, CA: test.ca}, map[string][]script{
				test.address: {func(p *peer) {
					if p.secured(cert) {
						p.end()
					}
				}},
			})
			n.sockets = true
			tx, err := h.Begin(t.Context(), mail.Client{})
			if err == nil {
				tx.Abort()
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error = %v, want %q", err, test.want)
			}
		})
	}
}

func TestClientCertificateIsShownAndReadAgainWhenItChanges(t *testing.T) {
	cert, _ := certificate(t)
	asks := cert.Clone()
	asks.ClientAuth = tls.RequireAnyClientCert
	dir := t.TempDir()
	certificate, key := pairFiles(t, dir, "first.example.org")
	shown := make(chan string, 1)
	play := func(p *peer) {
		if p.secured(asks) {
			shown <- p.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
			p.want("QUIT")
		}
	}
	var log bytes.Buffer
	h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: RequiredTLS, Certificate: certificate, Key: key, MaxIdle: -1},
		map[string][]script{addressA: {play, play, play, play}})
	n.sockets = true
	h.log = newAlerts(slog.New(slog.NewTextHandler(&log, nil)))
	h.tls.log = h.log
	connect := func(want string) {
		t.Helper()
		begin(t, h).Release()
		if got := <-shown; got != want {
			t.Errorf("shown %s, want %s", got, want)
		}
	}
	connect("first.example.org")
	connect("first.example.org") // resumed
	if err := os.WriteFile(key, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	connect("first.example.org")
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "the old ones stay in force") || !strings.Contains(log.String(), key) {
		t.Errorf("log:\n%s", &log)
	}
	pairFiles(t, dir, "second.example.org")
	connect("second.example.org")
}

func TestServerThatIsNotShownACertificateSaysSo(t *testing.T) {
	cert, _ := certificate(t)
	asks := cert.Clone()
	asks.ClientAuth = tls.RequireAnyClientCert
	h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: RequiredTLS}, map[string][]script{addressA: {func(p *peer) {
		p.secured(asks)
	}}})
	n.sockets = true
	if _, err := h.Begin(t.Context(), mail.Client{}); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("error = %v", err)
	}
}

func TestFilesThatWereNeverGoodKeepMailAway(t *testing.T) {
	for _, cfg := range []Config{
		{TLS: VerifiedTLS, CA: file(t, "ca.pem", "nothing", 0o600)},
		{TLS: VerifiedTLS, CA: "/nonexistent"},
		{TLS: OpportunisticTLS, Certificate: "/nonexistent", Key: "/nonexistent"},
	} {
		cfg.Addresses = []string{addressA}
		h, n := hopWith(t, cfg, map[string][]script{addressA: {func(p *peer) {
			p.greet("STARTTLS")
			p.answer("STARTTLS", "220 go")
			p.end()
		}}})
		n.sockets = true
		_, err := h.Begin(t.Context(), mail.Client{})
		wantFault(t, err, "4.4.1")
		if name := cfg.CA + cfg.Certificate; !strings.Contains(err.Error(), name) {
			t.Errorf("error = %v, want %s in it", err, name)
		}
	}
}

func TestSessionsAreResumed(t *testing.T) {
	cert, pool := certificate(t)
	resumed := make(chan bool, 2)
	play := func(p *peer) {
		if p.secured(cert) {
			resumed <- p.conn.(*tls.Conn).ConnectionState().DidResume
			p.want("QUIT")
		}
	}
	h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: VerifiedTLS, RootCAs: pool, MaxIdle: -1}, map[string][]script{addressA: {play, play}})
	n.sockets = true
	for _, want := range []bool{false, true} {
		begin(t, h).Release()
		if got := <-resumed; got != want {
			t.Errorf("resumed = %v, want %v", got, want)
		}
	}
}

func TestEveryAddressOfANameIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := func(p *peer) { p.say("554 5.3.2 no"); p.end() }
		good := func(p *peer) { p.greet(); p.end() }
		cfg := Config{Addresses: []string{addressA}, MaxIdle: -1, Resolve: func(_ context.Context, host string) ([]string, error) {
			if host != "a.example.org" {
				return nil, errors.New(host)
			}
			return []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}, nil
		}}
		h, n := hopWith(t, cfg, map[string][]script{"[2001:db8::1]:25": {bad, good}, "192.0.2.2:25": {good, good}})
		begin(t, h).Abort()
		begin(t, h).Abort() // those that failed are not asked first again
		if want := []string{"[2001:db8::1]:25", "192.0.2.1:25", "192.0.2.2:25", "192.0.2.2:25"}; !slices.Equal(n.dialled, want) {
			t.Errorf("dialled %v, want %v", n.dialled, want)
		}
		time.Sleep(31 * time.Second)
		tx := begin(t, h)
		if tx.Remote() != addressA || n.dialled[len(n.dialled)-1] != "[2001:db8::1]:25" {
			t.Errorf("Remote = %s, dialled %v", tx.Remote(), n.dialled)
		}
		tx.Abort()
	})
}

// Where no way leads to one of the addresses of a name, as it is with IPv6 in many a place, every try
// of it makes a client wait.
func TestSilentAddressOfANameIsTriedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent, tries := "[2001:db8::1]:25", 0
		cfg := Config{Addresses: []string{addressA}, MaxIdle: -1, Resolve: func(context.Context, string) ([]string, error) {
			return []string{"2001:db8::1", "192.0.2.1"}, nil
		}}
		good := func(p *peer) { p.greet(); p.end() }
		h, n := hopWith(t, cfg, map[string][]script{silent: {good}, "192.0.2.1:25": many(60, good)})
		up := false
		h.cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == silent && !up {
				tries++
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return n.dial(ctx, network, address)
		}
		connect := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tx, err := h.Begin(ctx, mail.Client{})
			if err != nil {
				t.Fatal(err)
			}
			tx.Abort()
		}
		for range 60 {
			connect()
			time.Sleep(time.Minute)
		}
		if tries < 2 || tries > 10 {
			t.Errorf("%d of 60 connections waited for the silent address, want some and less and less", tries)
		}
		up = true
		time.Sleep(10 * time.Minute)
		connect() // it is the first again
		if last := n.dialled[len(n.dialled)-1]; last != silent {
			t.Errorf("dialled %s, want %s", last, silent)
		}
	})
}

func TestNameThatDoesNotResolveIsAFaultOfItsAddress(t *testing.T) {
	cfg := Config{Addresses: []string{addressA, addressB}, Resolve: func(_ context.Context, host string) ([]string, error) {
		if host == "a.example.org" {
			return nil, errors.New("no such host")
		}
		return []string{"192.0.2.1"}, nil
	}}
	h, _ := hopWith(t, cfg, map[string][]script{"192.0.2.1:25": {func(p *peer) { p.greet(); p.end() }}})
	begin(t, h).Abort()
}

// A reply too many would be taken for that of the next command, and one day for that of the dot.
func TestServerThatSaysMoreThanItWasAskedIsLeft(t *testing.T) {
	for name, play := range map[string]script{
		"hello": func(p *peer) { p.say("220 x"); p.line(); p.say("250 x", "250 ok"); p.end() },
		"greeting": func(p *peer) {
			p.say("220 x", "250 ok")
			p.end()
		},
	} {
		h, _ := hopTo(t, play)
		if _, err := h.Begin(t.Context(), mail.Client{}); err == nil {
			t.Errorf("%s: no error", name)
		} else if !errors.Is(err, errProtocol) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestReplyThatNobodyAskedForIsTakenForNone(t *testing.T) {
	h, _ := hopTo(t, func(p *peer) {
		p.greet("8BITMIME")
		p.answer("MAIL FROM:<a@example.org>", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "250 ok", "354 go on")
		if s := p.end(); s != "" {
			p.t.Errorf("server was told %q", s)
		}
	})
	tx := begin(t, h)
	if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), false); err != nil {
		t.Fatal(err)
	}
	_, err := tx.Data(t.Context())
	wantFault(t, err, "4.4.2")
}

// slowBody begins, waits, and ends.
type slowBody struct {
	io.Reader
	wait func()
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.wait != nil {
		b.wait()
		b.wait = nil
	}
	return n, err
}

// A reply that comes before the dot is none to the message, under TLS as in clear; TLS's own records
// are none at all.
func TestEarlyReplyUnderTLSIsNoAnswer(t *testing.T) {
	for _, early := range []bool{true, false} {
		cert, _ := certificate(t)
		said := make(chan struct{})
		h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: RequiredTLS}, map[string][]script{addressA: {func(p *peer) {
			if !p.secured(cert) {
				return
			}
			p.envelope()
			_, _ = p.r.Peek(1) // content has begun
			if early {
				_, _ = io.WriteString(p.conn, "250 2.0.0 queued\r\n")
				close(said)
				p.end()
				return
			}
			close(said)
			p.content()
			p.say("250 2.0.0 queued")
		}}})
		n.sockets = true
		tx := begin(t, h)
		if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
			t.Fatal(err)
		}
		body := strings.NewReader("\r\n" + strings.Repeat("x\r\n", 100_000))
		r, err := tx.Content(t.Context(), mail.ParseHeader(nil), &slowBody{body, func() { <-said }})
		if early {
			wantFault(t, err, "4.4.2")
		} else if err != nil || r.Code != 250 {
			t.Errorf("Content = %v, %v", r, err)
		}
		tx.Abort()
	}
}
