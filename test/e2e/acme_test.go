package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// pebble is an ACME authority for tests, that of Let's Encrypt.
type pebble struct {
	directory string
	ca        string // PEM of its web server's certificate
	challenge string // where it asks, by HTTP and by TLS
}

// startPebble runs an authority whose certificates live so long. All names lead to 127.0.0.1.
func startPebble(t *testing.T, life time.Duration) *pebble {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "pebble")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/letsencrypt/pebble/v2/cmd/pebble").CombinedOutput(); err != nil {
		t.Fatalf("build pebble: %v\n%s", err, out)
	}
	addr, challenge := freeAddr(t), freeAddr(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	makeWebCertificate(t, cert, key)
	_, port, _ := net.SplitHostPort(challenge)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "certificate": cert, "privateKey": key, "httpPort": number(t, port), "tlsPort": number(t, port),
		"keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": int(life.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pebble.json"), string(config))

	cmd := exec.Command(program, "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", startNames(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=5")
	out := &relaytest.Log{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("pebble said:\n%s", out.Tail(4000))
		}
	})
	relaytest.Eventually(t, "pebble listens", func() bool {
		c, err := net.Dial("tcp", addr)
		return err == nil && c.Close() == nil
	})
	return &pebble{"https://" + addr + "/dir", cert, challenge}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := net.LookupPort("tcp", s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// startNames runs a resolver that knows one address.
func startNames(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // pebble asks by TCP
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
			r.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			}}
		}
		_ = w.WriteMsg(r)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

func makeWebCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
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

func (p *pebble) table(challenge string, names ...string) string {
	return fmt.Sprintf("[tls.acme]\ndomains = [\"%s\"]\nterms_agreed = true\ndirectory = %q\nca = %q\nchallenge = %q\naddress = %q\n",
		strings.Join(names, `", "`), p.directory, p.ca, challenge, p.challenge)
}

// presented returns the certificate that a client gets by STARTTLS when it asks for a name, nil
// where STARTTLS is not offered.
func presented(t *testing.T, addr, name string) *x509.Certificate {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	reply, err := c.Cmd("EHLO client.example.net")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(reply, "STARTTLS") {
		return nil
	}
	wantReply(t, c, "STARTTLS", "220 ")
	secure := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return secure.ConnectionState().PeerCertificates[0]
}

// obtained waits until the authority has given its certificate, and for the certificate.
func obtained(t *testing.T, r *relaytest.Relay, name string) *x509.Certificate {
	t.Helper()
	relaytest.Eventually(t, "a certificate for "+name+" is obtained", func() bool {
		return r.Log.Contains(`msg="certificate obtained" name=` + name + " ")
	})
	return served(t, r, name)
}

// served waits for the authority's certificate.
func served(t *testing.T, r *relaytest.Relay, name string) *x509.Certificate {
	t.Helper()
	var got *x509.Certificate
	relaytest.Eventually(t, "the authority's certificate for "+name+" is in force", func() bool {
		got = presented(t, r.Addr, name)
		return got != nil && got.VerifyHostname(name) == nil && strings.Contains(got.Issuer.CommonName, "Pebble")
	})
	return got
}

func TestACMEGetsKeepsAndServesCertificates(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			p := startPebble(t, 90*24*time.Hour)
			r := relaytest.Start(t, relaytest.Options{
				NextHop: sink.Addr(), TLS: "starttls", Extra: p.table(challenge, "mx.example.org", "mail.example.org"),
			})
			first := obtained(t, r, "mx.example.org")
			obtained(t, r, "mail.example.org")
			if got := presented(t, r.Addr, "other.example.org"); got == nil || !got.Equal(first) {
				t.Error("without a pair, the first name's certificate is not the default")
			}
			dir := filepath.Join(filepath.Dir(r.Config), "var", "acme")
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v %v", dir, info, err)
			}

			// A reload of something else asks nothing, one of names only for what is missing.
			edit(t, r, `name = "example.org"`, `name = "example.com"`)
			if got, err := reload(r); err != nil || fmt.Sprint(got.Changed) != "[accepted_domain]" {
				t.Fatal(got, err)
			}
			if got := presented(t, r.Addr, "mx.example.org"); got == nil || !got.Equal(first) {
				t.Error("a reload lost the certificate")
			}
			edit(t, r, `"mail.example.org"`, `"second.example.org"`)
			if got, err := reload(r); err != nil || fmt.Sprint(got.Changed) != "[tls.acme]" {
				t.Fatal(got, err)
			}
			if got := presented(t, r.Addr, "mx.example.org"); got == nil || !got.Equal(first) {
				t.Error("another name lost the certificate")
			}
			obtained(t, r, "second.example.org")

			// A pair beside it is the default; a restart finds what there was.
			certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
			makeCertificate(t, certFile, keyFile, "pair.example.org")
			edit(t, r, "[tls.acme]", fmt.Sprintf("[[tls.pair]]\ncertificate = %q\nkey = %q\n[tls.acme]", certFile, keyFile))
			r.Stop()
			r = relaytest.Run(t, r.Config)
			if got := served(t, r, "mx.example.org"); !got.Equal(first) {
				t.Error("a restart asked for another certificate")
			}
			if got := presented(t, r.Addr, "other.example.org"); got == nil || got.Subject.CommonName != "pair.example.org" {
				t.Errorf("the pair is not the default: %v", got)
			}
		})
	}
}

func TestACMERenewsWhatExpires(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	p := startPebble(t, 3*time.Second)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), TLS: "starttls", Extra: p.table("http-01", "mx.example.org")})
	first := obtained(t, r, "mx.example.org")
	relaytest.Eventually(t, "the end is logged", func() bool { return r.Log.Contains(`level=ERROR msg="certificate has expired"`) })
	if got := presented(t, r.Addr, "mx.example.org"); got == nil {
		t.Error("an expired certificate is not served any more")
	}
	r.Stop()
	r = relaytest.Run(t, r.Config)
	relaytest.Eventually(t, "another certificate is in force", func() bool {
		got := presented(t, r.Addr, "mx.example.org")
		return got != nil && got.SerialNumber.Cmp(first.SerialNumber) != 0
	})
}

func TestACMEDirectoryThatIsDownStopsNothing(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	p := &pebble{directory: "https://" + freeAddr(t) + "/dir", challenge: freeAddr(t)}
	p.ca = filepath.Join(t.TempDir(), "ca.pem")
	makeWebCertificate(t, p.ca, filepath.Join(t.TempDir(), "key.pem"))
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), TLS: "starttls", Extra: p.table("http-01", "mx.example.org")})
	relaytest.Eventually(t, "the failure is logged", func() bool {
		return r.Log.Contains("level=ERROR msg=acme") && r.Log.Contains("connection refused")
	})
	c := dial(t, r.Addr)
	if reply, err := c.Cmd("EHLO client.example.net"); err != nil || strings.Contains(reply, "STARTTLS") {
		t.Errorf("STARTTLS without a certificate: %q %v", reply, err)
	}
	wantReply(t, c, "STARTTLS", "454 4.7.0")
	if reply, err := c.Send("bob@example.net", "alice@example.org", "", []byte("Subject: x\r\n\r\n")); err != nil || reply[0] != '2' {
		t.Errorf("%q %v", reply, err)
	}

	t.Run("an address for challenges that is taken stops nothing at the start, and fails a reload", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		edit(t, r, p.challenge, taken.Addr().String())
		if _, err := reload(r); err == nil || !strings.Contains(err.Error(), "tls.acme.address") {
			t.Errorf("reload: %v", err)
		}
		if c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.challenge); err != nil {
			t.Errorf("the old address: %v", err)
		} else {
			c.Close()
		}
		r.Stop()
		r = relaytest.Run(t, r.Config)
		dial(t, r.Addr)
		relaytest.Eventually(t, "it is logged", func() bool { return r.Log.Contains(`level=ERROR msg="ACME challenges cannot be answered"`) })
		taken.Close()
		relaytest.Eventually(t, "the address is had when it is free", func() bool { return r.Log.Contains("ACME challenges can be answered again") })
	})
}
