package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"
	"github.com/emersion/go-msgauth/dkim"
	"go.uber.org/goleak"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone is the DNS: a name's record or its error.
type zone map[string]any

func (z zone) LookupTXT(ctx context.Context, name string) ([]string, error) {
	switch r := z[name].(type) {
	case string:
		return []string{r}, nil
	case error:
		return nil, r
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

type signer struct {
	domain, selector string
	key              crypto.Signer
}

// newSigner makes a key and puts it into the zone.
func newSigner(t *testing.T, z zone, domain, selector string, ed bool) signer {
	t.Helper()
	if ed {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		z[selector+"._domainkey."+domain] = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
		return signer{domain, selector, private}
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	z[selector+"._domainkey."+domain] = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
	return signer{domain, selector, private}
}

func (s signer) sign(t *testing.T, message string, c dkim.Canonicalization) string {
	t.Helper()
	var out bytes.Buffer
	err := dkim.Sign(&out, strings.NewReader(message), &dkim.SignOptions{
		Domain: s.domain, Selector: s.selector, Signer: s.key, HeaderCanonicalization: c, BodyCanonicalization: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Signed as it stands here: an obsolete "Subject :" and odd white space are part of it.
const plain = "From: Alice <alice@example.com>\r\nTo: bob@example.org\r\nSubject :  two\r\n\t lines \r\nDate: Fri, 1 May 2026 10:00:00 +0000\r\n\r\n" +
	"Hello  Bob,\r\n\r\n.\r\n trailing blanks \t\r\n\r\n\r\n"

// results runs a message past the agent and reads the field that it has added: the result,
// domain and reason of each signature.
func results(t *testing.T, z zone, config agenttest.Config, message string) []string {
	t.Helper()
	header, body, _ := strings.Cut(message, "\r\n\r\n")
	header += "\r\n"
	m := agenttest.Start(t, factory(z), config).Connect("192.0.2.1").Mail("alice@example.com")
	m.Rcpt("bob@example.org")
	m.EndOfHeaders(header)
	got := m.EndOfData(body)
	if got.Verdict != (agenttest.Verdict{Action: "continue"}) {
		t.Fatalf("verdict %+v", got.Verdict)
	}
	field, ok := strings.CutSuffix(got.Header, header)
	if !ok || got.Body != body {
		t.Fatalf("more than one field is new: %q, %q", got.Header, got.Body)
	}
	value, ok := strings.CutPrefix(strings.ReplaceAll(field, "\r\n", ""), "Authentication-Results: mx.example.org; ")
	if !ok {
		t.Fatalf("the new field is %q", field)
	}
	if _, _, err := authres.Parse("mx.example.org; " + value); err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	var all []string
	for one := range strings.SplitSeq(value, "; ") {
		parts := resultParts.FindStringSubmatch(one)
		if parts == nil {
			t.Fatalf("result %q", one)
		}
		all = append(all, strings.Join(strings.Fields(strings.Join([]string{parts[1], parts[3], parts[2]}, " ")), " "))
	}
	return all
}

var resultParts = regexp.MustCompile(`^dkim=(\w+)(?: reason="([^"]*)")?(?: header.a=\S+)?(?: header.b=\S+)?(?: header.d=(\S+))?(?: header.s=\S+)?$`)

func TestVerify(t *testing.T) {
	z := zone{}
	rsaSigner := newSigner(t, z, "example.com", "s1", false)
	edSigner := newSigner(t, z, "list.example.net", "s2", true)
	lost := newSigner(t, z, "lost.example.com", "s3", true)
	delete(z, "s3._domainkey.lost.example.com")
	slow := newSigner(t, z, "slow.example.com", "s4", true)
	z["s4._domainkey.slow.example.com"] = &net.DNSError{Err: "i/o timeout", Name: "s4", IsTimeout: true}
	revoked := newSigner(t, z, "revoked.example.com", "s5", true)
	z["s5._domainkey.revoked.example.com"] = "v=DKIM1; p="
	big := strings.Replace(plain, "Hello", strings.Repeat("0123456789 abcdef\r\n", 40_000), 1) // 760,000 octets
	signed := rsaSigner.sign(t, plain, dkim.CanonicalizationSimple)
	pulled := agenttest.Config{Bodies: agenttest.Pulled, ChunkSize: 1000}

	for _, tc := range []struct {
		name    string
		config  agenttest.Config
		message string
		want    []string
	}{
		{"pass, simple", agenttest.Config{}, signed, []string{"pass example.com"}},
		{"pass, relaxed", agenttest.Config{}, rsaSigner.sign(t, plain, dkim.CanonicalizationRelaxed), []string{"pass example.com"}},
		{"body changed", agenttest.Config{}, strings.Replace(signed, "Hello  Bob", "Hello Bob", 1), []string{"fail example.com body hash did not verify"}},
		{"header changed", agenttest.Config{}, strings.Replace(signed, "Subject : ", "Subject: ", 1), []string{"fail example.com signature did not verify"}},
		{"no signature", agenttest.Config{}, plain, []string{"none"}},
		{"several", agenttest.Config{}, edSigner.sign(t, signed, dkim.CanonicalizationRelaxed), []string{"pass list.example.net", "pass example.com"}},
		{"several, one broken by the other's sender", agenttest.Config{},
			edSigner.sign(t, strings.Replace(signed, "Hello", "Hallo", 1), dkim.CanonicalizationRelaxed),
			[]string{"pass list.example.net", "fail example.com body hash did not verify"}},
		{"key missing", agenttest.Config{}, lost.sign(t, plain, dkim.CanonicalizationSimple), []string{"permerror lost.example.com no key for signature"}},
		{"key revoked", agenttest.Config{}, revoked.sign(t, plain, dkim.CanonicalizationSimple), []string{"permerror revoked.example.com key revoked"}},
		{"DNS timeout", agenttest.Config{}, slow.sign(t, plain, dkim.CanonicalizationSimple), []string{"temperror slow.example.com key unavailable"}},
		{"big body in chunks", pulled, rsaSigner.sign(t, big, dkim.CanonicalizationSimple), []string{"pass example.com"}},
		{"big body as a file", agenttest.Config{Bodies: agenttest.Spooled}, rsaSigner.sign(t, big, dkim.CanonicalizationSimple), []string{"pass example.com"}},
		{"big body changed at its end", pulled, rsaSigner.sign(t, big, dkim.CanonicalizationSimple) + "x", []string{"fail example.com body hash did not verify"}},
		{"empty body", agenttest.Config{}, rsaSigner.sign(t, strings.SplitAfter(plain, "\r\n\r\n")[0], dkim.CanonicalizationSimple), []string{"pass example.com"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := results(t, z, tc.config, tc.message); !slices.Equal(got, tc.want) {
				t.Errorf("results %q, want %q", got, tc.want)
			}
		})
	}
}

// The results name the signature, so that two of one domain can be told apart (RFC 6008).
func TestResultsNameTheSignature(t *testing.T) {
	z := zone{}
	s := newSigner(t, z, "example.com", "s1", true)
	message := s.sign(t, plain, dkim.CanonicalizationSimple)
	header, body, _ := strings.Cut(message, "\r\n\r\n")
	_, value, _ := strings.Cut(strings.Join(strings.Fields(header), ""), ";b=")
	m := agenttest.Start(t, factory(z), agenttest.Config{}).Connect("192.0.2.1").Mail("")
	m.EndOfHeaders(header + "\r\n")
	got := m.EndOfData(body)
	for _, want := range []string{"header.d=example.com", "header.s=s1", "header.a=ed25519-sha256", "header.b=" + value[:8]} {
		if !strings.Contains(got.Header, want) {
			t.Errorf("no %s in %q", want, got.Header[:300])
		}
	}
}

// What a stranger writes into a signature cannot become a result.
func TestASignatureInjectsNothing(t *testing.T) {
	forged := "DKIM-Signature: v=1; a=rsa-sha256; d=x\" ; dkim=pass header.d=bank.example; s=a\\\"; h=From; bh=x; b=y\r\n"
	got := results(t, zone{}, agenttest.Config{}, forged+plain)
	if want := []string{"permerror no key for signature"}; !slices.Equal(got, want) {
		t.Errorf("results %q, want %q", got, want)
	}
}

func TestTooManySignaturesAreNotAllVerified(t *testing.T) {
	z := zone{}
	s := newSigner(t, z, "example.com", "s1", true)
	message := plain
	for range maxSignatures + 2 {
		message = s.sign(t, message, dkim.CanonicalizationRelaxed)
	}
	if got := results(t, z, agenttest.Config{}, message); len(got) != maxSignatures {
		t.Errorf("%d results, want %d", len(got), maxSignatures)
	}
}

// A body that cannot be read is no verdict on the message, whether one signature waits for it or two.
func TestABodyThatCannotBeReadIsAFailure(t *testing.T) {
	z := zone{}
	s := newSigner(t, z, "example.com", "s1", true)
	once := s.sign(t, plain, dkim.CanonicalizationSimple)
	for _, message := range []string{once, s.sign(t, once, dkim.CanonicalizationSimple)} {
		config := agenttest.Config{Grant: []agent.Permission{agent.ReadHeaders, agent.ChangeHeaders, agent.UseNetwork}}
		header, body, _ := strings.Cut(message, "\r\n\r\n")
		m := agenttest.Start(t, factory(z), config).Connect("192.0.2.1").Mail("")
		m.EndOfHeaders(header + "\r\n")
		got := m.EndOfData(body)
		if got.Verdict.Failure != "verify: body: the operator has not granted read_body" || strings.Contains(got.Header, "Authentication-Results") {
			t.Errorf("%+v", got)
		}
	}
}

func TestItTakesNoSettings(t *testing.T) {
	h := agenttest.Start(t, factory(zone{}), agenttest.Config{})
	var problem agent.FieldError
	if err := h.Configure(agenttest.Config{Settings: map[string]string{"authserv_id": "x"}}); !errors.As(err, &problem) || problem.Field != "authserv_id" {
		t.Errorf("%v", err)
	}
}
