package smtpserver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// handshakeTime is how long a handshake may take: it is two round trips and some arithmetic. Nothing
// can be said to who does not come through it.
const handshakeTime = time.Minute

// handshake puts TLS on the connection. A session whose handshake has failed ends, since nobody
// knows any more what the two sides have agreed on.
func (g *gate) handshake(config *tls.Config) bool {
	if config == nil {
		return g.noTLS(errNoCertificate)
	}
	deadline := time.Now().Add(min(handshakeTime, g.s.cfg.Limits.CommandTimeout))
	_ = g.raw.SetWriteDeadline(deadline)
	c := tls.Server(g.unread(), config)
	if err := g.waiting(deadline, true, func() error { return c.HandshakeContext(g.ctx) }); err != nil {
		return g.noTLS(err)
	}
	state := c.ConnectionState()
	state.VerifiedChains = verify(&state)
	g.conn = c
	g.client = event.Client{TLS: &state}
	return true
}

var errNoCertificate = errors.New("there is no certificate yet")

// unread is the connection with what came in one piece with a PROXY header still to be read.
func (g *gate) unread() net.Conn {
	rest := g.in.unused()
	if len(rest) == 0 {
		return g.raw
	}
	g.in.r = g.in.w
	return &unreadConn{g.raw, bytes.Clone(rest)}
}

// unreadConn gives the octets first.
type unreadConn struct {
	net.Conn
	octets []byte
}

func (c *unreadConn) Read(p []byte) (int, error) {
	if len(c.octets) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.octets)
	c.octets = c.octets[n:]
	return n, nil
}

// noTLS ends the session without TLS.
func (g *gate) noTLS(err error) bool {
	if errors.Is(err, errDraining) {
		g.hangUp(event.DisconnectDrain)
		return false
	}
	g.s.cfg.Log.Info("TLS handshake", "session", g.id, "client", g.remote.Addr().String(), "listener", g.s.cfg.Listener, "error", err.Error())
	g.hangUp(event.DisconnectClientLost)
	return false
}

// verify checks a client's certificate against the roots that the system trusts. Mail servers
// show as clients what they have as servers, so either use will do. What fails here is shown
// to agents and in the log; nobody is refused for it.
func verify(state *tls.ConnectionState) [][]*x509.Certificate {
	certs := state.PeerCertificates
	if len(certs) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil
	}
	return chains
}

// startTLS is STARTTLS (RFC 3207). A session forgets by it all that was said in the clear.
// Deviates: all but the address that XCLIENT has told (§4.2). Who speaks through a hop that is trusted
// must not come by the hop's own rights.
func (g *gate) startTLS(c *command) {
	switch {
	case g.s.cfg.TLSMode != StartTLS:
		g.badCommand(c, 502, 1, "STARTTLS not offered")
		return
	case g.client.TLS != nil:
		g.badCommand(c, 503, 1, "TLS is in use already")
		return
	case c.arg != "":
		g.badCommand(c, 501, 4, "STARTTLS takes no argument")
		return
	case len(g.in.unused()) > 0:
		// Commands sent before TLS must not count as said under it.
		g.linger = true
		g.answer(c, reply.Reply{}, &reply.Error{
			Reply: reply.New(554, reply.Enhanced{Subject: 7}, "nothing may follow STARTTLS before TLS, closing connection"), Hangup: true,
		})
		return
	}
	config := g.s.cfg.TLS()
	if config == nil {
		// RFC 3207 §4
		g.answer(c, reply.Reply{}, &reply.Error{
			Reply: reply.New(454, reply.Enhanced{Subject: 7}, "TLS not available due to temporary reason"), Op: "STARTTLS", Err: errNoCertificate,
		})
		return
	}
	if err := g.ask(event.StartTlsCommand, c.arg); err != nil {
		g.answer(c, reply.Reply{}, err)
		return
	}
	g.answer(c, reply.New(220, reply.Enhanced{}, "ready to start TLS"), nil)
	if g.flush() != nil || !g.handshake(config) {
		return
	}
	g.forget()
	g.claim = claim{}
	if g.tx != nil {
		g.tx.Reset(g.ctx)
	}
	g.agents.SetClient(g.client)
}

// logTLS is what the line of a session says of TLS, besides that there is any.
func (g *gate) logTLS() []slog.Attr {
	s := g.client.TLS
	if s == nil {
		return nil
	}
	attrs := []slog.Attr{
		slog.String("tls_version", tls.VersionName(s.Version)), slog.String("tls_cipher", tls.CipherSuiteName(s.CipherSuite)),
	}
	if s.ServerName != "" {
		attrs = append(attrs, slog.String("tls_name", shown(s.ServerName)))
	}
	if len(s.PeerCertificates) > 0 {
		attrs = append(attrs, slog.String("client_certificate", shown(s.PeerCertificates[0].Subject.String())),
			slog.Bool("client_certificate_verified", len(s.VerifiedChains) > 0))
	}
	return attrs
}
