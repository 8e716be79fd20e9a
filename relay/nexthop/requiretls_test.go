package nexthop

import "testing"

// RFC 8689 §4.2.1: only over TLS, with a certificate verified for the server's name, and where the
// server offers it there. What is said of it in clear counts for nothing.
func TestRequireTLSGoesWhereItIsKept(t *testing.T) {
	cert, pool := certificate(t)
	for _, tt := range []struct {
		name         string
		policy       TLSPolicy
		clear, inTLS []string // offered in clear, and under TLS
		kept         bool
	}{
		{"verified and offered", VerifiedTLS, []string{"STARTTLS"}, []string{"REQUIRETLS"}, true},
		{"verified, offered in clear only", VerifiedTLS, []string{"STARTTLS", "REQUIRETLS"}, []string{"DSN"}, false},
		{"not verified", RequiredTLS, []string{"STARTTLS"}, []string{"REQUIRETLS"}, false},
		{"opportunistic", OpportunisticTLS, []string{"STARTTLS"}, []string{"REQUIRETLS"}, false},
		{"in clear", NoTLS, []string{"REQUIRETLS"}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: tt.policy, RootCAs: pool}, map[string][]script{addressA: {func(p *peer) {
				p.greet(tt.clear...)
				if tt.inTLS != nil {
					p.answer("STARTTLS", "220 go")
					p.handshake(cert)
					p.want("EHLO relay.example.org")
					p.say("250-mx.example.org")
					for _, e := range tt.inTLS {
						p.say("250-" + e)
					}
					p.say("250 HELP")
				}
				if tt.kept {
					p.answer("MAIL FROM:<a@example.org> REQUIRETLS", "250 ok")
					p.answer("RCPT TO:<b@example.org>", "250 ok")
				}
				p.wantEnd("QUIT\r\n")
			}}})
			n.sockets = true
			tx := begin(t, h)
			env := envelopeFor(t, "b@example.org")
			env.Params = params(t, "REQUIRETLS")
			want := "550 5.7.30"
			if tt.kept {
				want = "250"
			}
			a, err := tx.Envelope(t.Context(), env, false)
			if err != nil || a.Mail.String()[:len(want)] != want {
				t.Errorf("Envelope = %v, %v, want %s", a.Mail, err, want)
			}
			if got := h.Extensions().RequireTLS; got != tt.kept {
				t.Errorf("Extensions().RequireTLS = %v", got)
			}
			tx.Release()
			h.Close()
		})
	}
}
