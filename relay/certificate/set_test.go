package certificate

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
)

var (
	anyone  = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.PKCS1WithSHA256}
	rsaOnly = []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PSSWithSHA256}
)

func hello(name string, schemes []tls.SignatureScheme) *tls.ClientHelloInfo {
	suites := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if len(schemes) == len(anyone) {
		suites = append(suites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
	}
	return &tls.ClientHelloInfo{
		ServerName: name, SignatureSchemes: schemes, SupportedVersions: []uint16{tls.VersionTLS12}, CipherSuites: suites,
		SupportedCurves: []tls.CurveID{tls.CurveP256}, SupportedPoints: []uint8{0},
	}
}

func TestTheCertificateIsChosenByNameAndByWhatTheClientCanVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ec, rs := ecKey(), rsaKey()
		first := certificateFor(t, ec, 90*day1, "mx.example.org", "mail.example.org")
		firstRSA := certificateFor(t, rs, 90*day1, "mx.example.org")
		other := certificateFor(t, ec, 90*day1, "MX.example.net")
		wild := certificateFor(t, ec, 90*day1, "*.example.com", "example.com")
		exact := certificateFor(t, ec, 90*day1, "a.example.com")
		old := certificateFor(t, ec, 90*day1, "CN=old.example.org")
		expired := certificateFor(t, ec, -day1, "late.example.org")
		expiredTwin := certificateFor(t, ec, -day1, "twin.example.org")
		twin := certificateFor(t, rs, 90*day1, "twin.example.org")
		given := certificateFor(t, ec, 90*day1, "acme.example.org")
		placeholder := certificateFor(t, rs, 90*day1, "acme.example.org")
		pairs := []*tls.Certificate{first, firstRSA, other, wild, exact, old, expired, expiredTwin, twin, placeholder}
		s := newSet([]*tls.Certificate{given}, pairs)
		for _, tt := range []struct {
			name    string
			asked   string
			schemes []tls.SignatureScheme
			want    *tls.Certificate
		}{
			{"exact", "mx.example.net", anyone, other},
			{"case of the name asked for", "Mx.Example.NET", anyone, other},
			{"a dot at the end", "mx.example.net.", anyone, other},
			{"second name", "mail.example.org", anyone, first},
			{"wildcard", "b.example.com", anyone, wild},
			{"wildcard is one label", "c.b.example.com", anyone, first},
			{"exact before wildcard", "a.example.com", anyone, exact},
			{"the domain of a wildcard", "example.com", anyone, wild},
			{"common name only", "old.example.org", anyone, old},
			{"unknown", "mx.example.edu", anyone, first},
			{"none", "", anyone, first},
			{"an asterisk", "*.example.com", anyone, wild},
			{"ECDSA first", "mx.example.org", anyone, first},
			{"RSA for those who know no ECDSA", "mx.example.org", rsaOnly, firstRSA},
			{"RSA of the default", "", rsaOnly, firstRSA},
			{"RSA of the default for a name without", "mx.example.net", rsaOnly, firstRSA},
			{"expired", "late.example.org", anyone, expired},
			{"expired, with another", "twin.example.org", anyone, twin},
			{"what the authority gave before a pair", "acme.example.org", anyone, given},
			{"… unless the client cannot verify it", "acme.example.org", rsaOnly, placeholder},
		} {
			if got := s.choose(hello(tt.asked, tt.schemes)); got != tt.want {
				t.Errorf("%s: got the one for %v", tt.name, names(got))
			}
		}

		if got := newSet([]*tls.Certificate{given}, nil).choose(hello("", anyone)); got != given {
			t.Error("without a pair, the authority's is not the default")
		}
		if got := newSet(nil, []*tls.Certificate{first}).choose(hello("", rsaOnly)); got != first {
			t.Error("a client that can verify none must hear so in the handshake")
		}
		if got := newSet(nil, nil).choose(hello("", anyone)); got != nil {
			t.Error("a certificate of nothing")
		}
	})
}
