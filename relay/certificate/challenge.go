package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
	"golang.org/x/net/netutil"
)

// The challenges that prove to an authority that a name is ours.
const (
	http01    = "http-01"     // RFC 8555 §8.3
	tlsALPN01 = "tls-alpn-01" // RFC 8737
)

// An authority asks from a few places at a time, and is not slow.
const (
	maxQuestions    = 200
	questionTimeout = 10 * time.Second
)

// answers answers the challenges of authorities, and nothing else. It listens as long as ACME is
// configured, and not only while a certificate is asked for: a port that another program has
// taken is noticed at once, and not when the certificate is to be renewed.
type answers struct {
	listener net.Listener
	close    func()
}

// listenForChallenges opens the address; "" is the challenge's own port.
func listenForChallenges(challenge, address string, log *slog.Logger) (*answers, error) {
	l, err := net.Listen("tcp", challengeAddress(challenge, address))
	if err != nil {
		return nil, fmt.Errorf("answer %s challenges: %w", challenge, err)
	}
	a := &answers{listener: l, close: func() { l.Close() }}
	limited := netutil.LimitListener(l, maxQuestions)
	if challenge == tlsALPN01 {
		go answerByTLS(limited, log)
		return a, nil
	}
	server := &http.Server{
		Handler: http.HandlerFunc(answerByHTTP), ReadTimeout: questionTimeout, WriteTimeout: questionTimeout, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false)
	a.close = func() { server.Close() }
	go func() { _ = server.Serve(limited) }() // it ends by close
	return a, nil
}

func challengeAddress(challenge, address string) string {
	switch {
	case address != "":
		return address
	case challenge == tlsALPN01:
		return ":443"
	}
	return ":80"
}

func answerByHTTP(w http.ResponseWriter, r *http.Request) {
	if c, ok := certmagic.GetACMEChallenge(r.Host); ok && certmagic.LooksLikeHTTPChallenge(r) &&
		certmagic.SolveHTTPChallenge(zap.NewNop(), w, r, c.Challenge) {
		return
	}
	http.NotFound(w, r)
}

func answerByTLS(l net.Listener, log *slog.Logger) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{acmez.ACMETLS1Protocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, ok := certmagic.GetACMEChallenge(hello.ServerName)
			if !ok {
				return nil, fmt.Errorf("no challenge for %q", hello.ServerName)
			}
			return acmez.TLSALPN01ChallengeCert(c.Challenge)
		},
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			return
		}
		go func() {
			defer conn.Close()
			ctx, cancel := context.WithTimeout(context.Background(), questionTimeout)
			defer cancel()
			if err := tls.Server(conn, config).HandshakeContext(ctx); err != nil {
				log.Debug("ACME challenge", "client", conn.RemoteAddr().String(), "cause", err)
			}
		}()
	}
}
