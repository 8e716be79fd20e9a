package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/relay/proto/control/v1"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// edit replaces a text in the relay's configuration.
func edit(t *testing.T, r *relaytest.Relay, old, with string) {
	t.Helper()
	text := read(t, r.Config)
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in the configuration", old)
	}
	write(t, r.Config, strings.Replace(text, old, with, 1))
}

func reload(r *relaytest.Relay) (*controlv1.ReloadResponse, error) {
	return r.Reload(context.Background(), &controlv1.ReloadRequest{})
}

func wantReply(t *testing.T, c *smtptest.Client, line, want string) {
	t.Helper()
	if got, err := c.Cmd(line); err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s: answered %q %v, want %s", line, got, err, want)
	}
}

func dial(t *testing.T, addr string) *smtptest.Client {
	t.Helper()
	c, err := smtptest.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestReloadTakesEffectWithTheNextTransactionOfRunningSessions(t *testing.T) {
	sink, other := (&smtptest.Sink{}).Start(t), (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	c := dial(t, r.Addr)
	wantReply(t, c, "MAIL FROM:<bob@example.net>", "250 ")
	wantReply(t, c, "RCPT TO:<alice@example.com>", "550 5.7.1")

	edit(t, r, `name = "example.org"`, `name = "example.com"`)
	edit(t, r, sink.Addr(), other.Addr())
	got, err := reload(r)
	if err != nil || len(got.Changed) == 0 {
		t.Fatalf("reload: %v, %v", got, err)
	}
	wantReply(t, c, "RCPT TO:<alice@example.com>", "550 5.7.1") // the transaction keeps what it began with
	wantReply(t, c, "RCPT TO:<alice@example.org>", "250 ")
	wantReply(t, c, "RSET", "250 ")
	wantReply(t, c, "MAIL FROM:<bob@example.net>", "250 ")
	wantReply(t, c, "RCPT TO:<alice@example.org>", "550 5.7.1")
	wantReply(t, c, "RSET", "250 ")
	if reply, err := c.Send("bob@example.net", "alice@example.com", "", []byte("Subject: x\r\n\r\n")); err != nil || reply[0] != '2' {
		t.Fatalf("%q %v", reply, err)
	}
	if len(sink.Take()) != 0 || len(other.Take()) != 1 {
		t.Error("the message did not go to the new next hop")
	}
}

func TestReloadOfABadConfigurationChangesNothing(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := read(t, r.Config)
	for name, with := range map[string]string{
		"unknown key":               "name = \"example.com\"\nnmae = \"x\"",
		"a listener that is taken":  "name = \"example.com\"\n[[frontend.listener]]\naddress = \"" + taken.Addr().String() + "\"\ntls = \"none\"",
		"a certificate not there":   "name = \"example.com\"\n[[tls.pair]]\ncertificate = \"no.pem\"\nkey = \"no.pem\"",
		"a next hop that is a word": "name = \"example.com\"\n[next_hop.other]\naddresses = [5]",
	} {
		t.Run(name, func(t *testing.T) {
			write(t, r.Config, strings.Replace(good, `name = "example.org"`, with, 1))
			if _, err := reload(r); err == nil {
				t.Fatal("was taken")
			}
			c := dial(t, r.Addr)
			wantReply(t, c, "MAIL FROM:<bob@example.net>", "250 ")
			wantReply(t, c, "RCPT TO:<alice@example.org>", "250 ")
			wantReply(t, c, "RCPT TO:<alice@example.com>", "550 5.7.1")
		})
	}
}

func TestReloadOpensAndClosesListeners(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	c := dial(t, r.Addr)
	addr := freeAddr(t)
	edit(t, r, `address = "127.0.0.1:0"`, `address = "`+addr+`"`)
	if _, err := reload(r); err != nil {
		t.Fatal(err)
	}
	dial(t, addr)
	if got, err := c.Reply(); err != nil || !strings.HasPrefix(got, "421 ") {
		t.Errorf("the session of the closed listener was told %q %v, want 421", got, err)
	}
	relaytest.Eventually(t, "the old listener is closed", func() bool {
		c, err := net.Dial("tcp", r.Addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

func TestReloadTakesANewCertificate(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	makeCertificate(t, cert, key, "first.example.org")
	r := relaytest.Start(t, relaytest.Options{
		NextHop: sink.Addr(), TLS: "starttls",
		Extra: "[[tls.pair]]\ncertificate = \"" + cert + "\"\nkey = \"" + key + "\"\n",
	})
	if got := certificateOf(t, r.Addr); got != "first.example.org" {
		t.Errorf("certificate of %s", got)
	}
	makeCertificate(t, cert, key, "second.example.org")
	if _, err := reload(r); err != nil {
		t.Fatal(err)
	}
	if got := certificateOf(t, r.Addr); got != "second.example.org" {
		t.Errorf("after the reload: certificate of %s", got)
	}
}

// certificateOf says STARTTLS, sends a message under TLS and returns the server's name.
func certificateOf(t *testing.T, addr string) string {
	t.Helper()
	c := dial(t, addr)
	wantReply(t, c, "STARTTLS", "220 ")
	secure := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	over := smtptest.Over(secure)
	wantReply(t, over, "EHLO client.example.net", "250")
	if reply, err := over.Send("bob@example.net", "alice@example.org", "", []byte("Subject: x\r\n\r\n")); err != nil || reply[0] != '2' {
		t.Errorf("under TLS: %q %v", reply, err)
	}
	return secure.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func makeCertificate(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

func TestReloadSaysWhatNeedsARestartUntilThereIsOne(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	edit(t, r, `state_dir = "var"`, `state_dir = "elsewhere"`)
	for range 2 {
		if got, err := reload(r); err != nil || len(got.NeedsRestart) != 1 || got.NeedsRestart[0] != "state_dir" {
			t.Errorf("reload: %v, %v", got, err)
		}
	}
}

func TestReloadWhatIfChangesNothing(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	edit(t, r, `name = "example.org"`, `name = "example.com"`)
	for range 2 {
		got, err := r.Reload(context.Background(), &controlv1.ReloadRequest{WhatIf: true})
		if err != nil || len(got.Changed) != 1 || got.Changed[0] != "accepted_domain" {
			t.Errorf("reload: %v, %v", got, err)
		}
	}
	if reply, err := dial(t, r.Addr).Send("bob@example.net", "alice@example.org", "", []byte("Subject: x\r\n\r\n")); err != nil || reply[0] != '2' {
		t.Errorf("%q %v", reply, err)
	}
}
