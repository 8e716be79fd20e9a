package nexthop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

func file(t testing.TB, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// secured plays greeting and STARTTLS, and EHLO under TLS with these extensions.
func (p *peer) secured(cert *tls.Config, extensions ...string) bool {
	p.greet("STARTTLS")
	p.answer("STARTTLS", "220 go")
	tc := tls.Server(p.conn, cert)
	if err := tc.Handshake(); err != nil {
		return false
	}
	p.conn = tc
	p.r.Reset(tc)
	p.want("EHLO relay.example.org")
	lines := []string{"250-mx.example.org", "250-PIPELINING"}
	for _, e := range extensions {
		lines = append(lines, "250-"+e)
	}
	p.say(append(lines, "250 8BITMIME")...)
	return true
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// loginHop is a Hop that logs in at peers under TLS.
func loginHop(t *testing.T, auth Auth, extensions string, plays ...script) (*Hop, *network, *bytes.Buffer) {
	cert, _ := certificate(t)
	var scripts []script
	for _, play := range plays {
		scripts = append(scripts, func(p *peer) {
			if p.secured(cert, extensions) {
				play(p)
			}
		})
	}
	h, n := hopWith(t, Config{Addresses: []string{addressA}, TLS: RequiredTLS, Auth: auth}, map[string][]script{addressA: scripts})
	n.sockets = true
	log := &bytes.Buffer{}
	h.log = newAlerts(slog.New(slog.NewTextHandler(log, nil)))
	h.tls.log = h.log
	return h, n, log
}

func TestLoginDialogues(t *testing.T) {
	long := strings.Repeat("t", 2000)
	for _, test := range []struct {
		name, mechanism, secret string
		play                    script
		want                    string // in the error; "" for none
	}{
		{"plain", "plain", "s3cret\r\nmore", func(p *peer) {
			p.answer("AUTH PLAIN "+b64("\x00relay@example.org\x00s3cret"), "235 2.7.0 welcome")
		}, ""},
		{"plain, too long for one line", "plain", long, func(p *peer) {
			p.answer("AUTH PLAIN", "334 ")
			p.answer(b64("\x00relay@example.org\x00"+long), "235 ok")
		}, ""},
		{"plain, refused", "plain", "wrong", func(p *peer) { p.line(); p.say("535 5.7.8 no") }, "535 5.7.8 no"},
		{"plain, later", "plain", "s3cret", func(p *peer) { p.line(); p.say("454 4.7.0 busy") }, "454 4.7.0 busy"},
		{"plain, asked for more", "plain", "s3cret", func(p *peer) { p.line(); p.say("334 bW9yZQ==") }, "334"},
		{"plain, hangs up", "plain", "s3cret", func(p *peer) { p.line() }, "closed without a reply"},
		{"login", "login", "s3cret", func(p *peer) {
			p.answer("AUTH LOGIN", "334 VXNlcm5hbWU6")
			p.answer(b64("relay@example.org"), "334 UGFzc3dvcmQ6")
			p.answer(b64("s3cret"), "235 ok")
		}, ""},
		{"login, no such user", "login", "s3cret", func(p *peer) {
			p.answer("AUTH LOGIN", "334 VXNlcm5hbWU6")
			p.answer(b64("relay@example.org"), "535 5.7.8 who?")
			if s := p.end(); s != "" {
				p.t.Errorf("server was told %q", s)
			}
		}, "535 5.7.8 who?"},
		{"login, mechanism refused", "login", "s3cret", func(p *peer) { p.answer("AUTH LOGIN", "504 5.5.4 no") }, "504 5.5.4 no"},
		{"xoauth2", "xoauth2", "token", func(p *peer) {
			p.answer("AUTH XOAUTH2 "+b64("user=relay@example.org\x01auth=Bearer token\x01\x01"), "235 ok")
		}, ""},
		{"xoauth2, long token", "xoauth2", long, func(p *peer) {
			p.answer("AUTH XOAUTH2", "334 ")
			p.answer(b64("user=relay@example.org\x01auth=Bearer "+long+"\x01\x01"), "235 ok")
		}, ""},
		{"xoauth2, refused", "xoauth2", "old", func(p *peer) {
			p.line()
			p.say("334 " + b64(`{"status":"401","schemes":"bearer"}`))
			p.answer("", "535 5.7.8 see above")
		}, `535 5.7.8 see above ("{\"status\":\"401\",\"schemes\":\"bearer\"}")`},
		{"xoauth2, beyond all lines", "xoauth2", strings.Repeat("t", 10000), func(p *peer) { p.answer("AUTH XOAUTH2", "334 "); p.end() }, "too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			auth := Auth{Mechanism: test.mechanism, Username: "relay@example.org", SecretFile: file(t, "secret", test.secret, 0o600)}
			h, _, log := loginHop(t, auth, "AUTH PLAIN LOGIN XOAUTH2", func(p *peer) {
				test.play(p)
				if test.want == "" {
					p.message()
				}
			})
			if test.want == "" {
				sendMail(t, h)
			} else {
				_, err := h.Begin(t.Context(), mail.Client{})
				wantFault(t, err, "4.4.1")
				if !strings.Contains(err.Error(), test.want) || !errors.Is(err, errLogin) {
					t.Errorf("error = %v, want %q in it", err, test.want)
				}
				if !strings.Contains(log.String(), "level=ERROR msg=\"cannot log in at next hop") {
					t.Errorf("log:\n%s", log)
				}
			}
			secret, _, _ := strings.Cut(test.secret, "\r")
			for _, s := range []string{secret, b64(secret), b64("\x00relay@example.org\x00" + secret)} {
				if test.secret != "old" && strings.Contains(log.String(), s) {
					t.Errorf("the secret is in the log:\n%s", log)
				}
			}
		})
	}
}

func TestSecretIsNotSentInClear(t *testing.T) {
	auth := Auth{Mechanism: "plain", Username: "u", SecretFile: file(t, "secret", "s3cret", 0o600)}
	for _, offers := range [][]string{{"AUTH PLAIN"}, {"AUTH PLAIN", "STARTTLS"}} {
		for policy, scripts := range map[TLSPolicy]int{NoTLS: 1, OpportunisticTLS: 1} {
			said := make(chan string, 2)
			play := func(p *peer) {
				p.greet(offers...)
				if policy == OpportunisticTLS && len(offers) > 1 {
					p.answer("STARTTLS", "454 not now")
				}
				said <- p.end()
			}
			h, _ := hopWith(t, Config{Addresses: []string{addressA}, TLS: policy, Auth: auth}, map[string][]script{addressA: []script{play, play}[:scripts]})
			_, err := h.Begin(t.Context(), mail.Client{})
			wantFault(t, err, "4.4.1")
			if !errors.Is(err, errLoginInClear) {
				t.Errorf("error = %v", err)
			}
			if s := <-said; s != "" {
				t.Errorf("server was told %q", s)
			}
		}
	}
}

func TestMechanismThatIsNotOfferedIsNotTried(t *testing.T) {
	for extension, want := range map[string]string{
		"AUTH CRAM-MD5": `does not offer AUTH PLAIN, but "CRAM-MD5"`,
		"SIZE":          "does not offer AUTH on this connection",
	} {
		auth := Auth{Mechanism: "plain", Username: "u", SecretFile: file(t, "secret", "s3cret", 0o600)}
		h, _, _ := loginHop(t, auth, extension, func(p *peer) {
			if s := p.end(); s != "" {
				p.t.Errorf("server was told %q", s)
			}
		})
		if _, err := h.Begin(t.Context(), mail.Client{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v", err)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	for _, test := range []struct {
		name, content, want string
	}{
		{"whole line", " pass word ", " pass word "},
		{"line end", "pass\n", "pass"},
		{"DOS line end", "pass\r\n", "pass"},
		{"first line", "pass\nother\n", "pass"},
		{"empty", "", "is empty"},
		{"empty first line", "\npass\n", "is empty"},
		{"NUL", "a\x00b", "is not text"},
		{"not UTF-8", "\xff\xfe", "is not text"},
		{"huge", strings.Repeat("x", maxSecretFile+1), "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := firstLine(test.content)
			if err != nil {
				got = err.Error()
			}
			if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
				t.Errorf("firstLine = %q, want %q", got, test.want)
			}
		})
	}
}

func TestSecretThatOthersCanReadIsWarnedOfOnce(t *testing.T) {
	name := file(t, "secret", "s3cret", 0o600)
	var log bytes.Buffer
	h := New(Config{Auth: Auth{Mechanism: "plain", SecretFile: name}}, slog.New(slog.NewTextHandler(&log, nil)))
	for _, test := range []struct {
		mode os.FileMode
		want int
	}{{0o640, 0}, {0o644, 1}, {0o644, 1}, {0o600, 1}} {
		if err := os.Chmod(name, test.mode); err != nil {
			t.Fatal(err)
		}
		if s, err := h.secret(t.Context()); s != "s3cret" || err != nil {
			t.Errorf("secret = %q, %v", s, err)
		}
		if got := strings.Count(log.String(), "can be read by others"); got != test.want {
			t.Errorf("mode %o: warned %d times, want %d", test.mode, got, test.want)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := h.secret(t.Context()); !errors.Is(err, errLogin) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v", err)
	}
}

func TestRefusedSecretIsNotTriedAgainUntilItChanges(t *testing.T) {
	name := file(t, "secret", "wrong", 0o600)
	h, n, _ := loginHop(t, Auth{Mechanism: "plain", Username: "u", SecretFile: name}, "AUTH PLAIN",
		func(p *peer) { p.line(); p.say("535 5.7.8 no") },
		func(p *peer) { p.line(); p.say("235 ok"); p.message() })
	for range 5 {
		_, err := h.Begin(t.Context(), mail.Client{})
		if err == nil || !strings.Contains(err.Error(), "535 5.7.8 no") {
			t.Fatalf("error = %v", err)
		}
	}
	if len(n.dialled) != 1 {
		t.Errorf("%d connections, want 1", len(n.dialled))
	}
	if err := os.WriteFile(name, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sendMail(t, h)
}

func TestRefusedSecretIsTriedAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := logins{turn: make(chan struct{}, 1)}
		no := &loginRefused{}
		no.answer.Code = 535
		start := time.Now()
		var tried []time.Duration
		for time.Since(start) < 20*time.Minute {
			if a, err := l.admit(t.Context(), "wrong"); err == nil {
				tried = append(tried, time.Since(start))
				a.note(no)
				a.end()
			}
			time.Sleep(time.Second)
		}
		want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 150 * time.Second, 310 * time.Second, 610 * time.Second, 910 * time.Second}
		if len(tried) != len(want) {
			t.Fatalf("tried at %v, want %v", tried, want)
		}
		for i := range want {
			if tried[i] != want[i] {
				t.Errorf("tried at %v, want %v", tried, want)
			}
		}
	})
}

func TestUnknownSecretIsTriedByOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := logins{turn: make(chan struct{}, 1)}
		var mu sync.Mutex
		tried := 0
		no := &loginRefused{}
		no.answer.Code = 535
		for range 20 {
			go func() {
				a, err := l.admit(t.Context(), "wrong")
				if err != nil {
					return
				}
				defer a.end()
				time.Sleep(time.Second)
				mu.Lock()
				tried++
				mu.Unlock()
				a.note(no)
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		time.Sleep(time.Microsecond)
		if _, err := l.admit(ctx, "other"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error of one that waits = %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if tried != 1 {
			t.Errorf("tried %d times, want 1", tried)
		}
		// A good one is tried by all.
		a, err := l.admit(t.Context(), "right")
		if err != nil {
			t.Fatal(err)
		}
		a.note(nil)
		a.end()
		for range 3 {
			if _, err := l.admit(t.Context(), "right"); err != nil {
				t.Error(err)
			}
		}
	})
}

// Those who waited for what becomes of a new secret go on together once it is known to be good.
func TestSecretThatWasFoundGoodKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := logins{turn: make(chan struct{}, 1)}
		start := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				a, err := l.admit(t.Context(), "right")
				if err != nil {
					t.Error(err)
					return
				}
				defer a.end()
				time.Sleep(time.Second)
				a.note(nil)
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("20 logins took %v, want one second for the first and one for all others", took)
		}
	})
}

// RFC 4954 §5.
func TestMailAuthIsPassedOnlyToWhereWeHaveLoggedIn(t *testing.T) {
	env := envelopeFor(t, "b@example.org")
	env.Params = params(t, "AUTH=a+2Bb@example.org")
	auth := Auth{Mechanism: "plain", Username: "u", SecretFile: file(t, "secret", "s3cret", 0o600)}
	with, _, _ := loginHop(t, auth, "AUTH PLAIN", func(p *peer) {
		p.line()
		p.say("235 ok")
		p.answer("MAIL FROM:<a@example.org> AUTH=a+2Bb@example.org", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "250 ok")
		p.answer("RSET", "250 ok")
		p.answer("MAIL FROM:<a@example.org>", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "250 ok")
		p.end()
	})
	without, _, _ := loginHop(t, Auth{}, "AUTH PLAIN", func(p *peer) {
		p.answer("MAIL FROM:<a@example.org>", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "250 ok")
		p.end()
	})
	for _, h := range []*Hop{with, without} {
		tx := begin(t, h)
		if got := tx.Extensions().Auth; got != (h == with) {
			t.Errorf("Extensions().Auth = %v", got)
		}
		_, _ = tx.Envelope(t.Context(), env, false)
		if h == with {
			_ = tx.Reset(t.Context())
			_, _ = tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), false)
		}
		tx.Abort()
	}
}

// authSession is go-smtp's side of a login.
type authSession struct{ inboxSession }

func (s *authSession) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

func (s *authSession) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "relay@example.org" || password != "s3cret" {
			return smtp.ErrAuthFailed
		}
		s.l.opts.Auth = &user
		return nil
	}
	if mechanism == sasl.Login {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

// loginServer is the server's side of LOGIN.
type loginServer struct {
	check func(user, password string) error
	user  *string
}

func (s *loginServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case s.user == nil:
		user := string(response)
		s.user = &user
		return []byte("Password:"), false, nil
	}
	return nil, true, s.check(*s.user, string(response))
}

func TestIndependentServerLetsUsIn(t *testing.T) {
	cert, pool := certificate(t)
	for _, mechanism := range []string{"plain", "login"} {
		for secret, want := range map[string]bool{"s3cret": true, "wrong": false} {
			t.Run(mechanism+" "+secret, func(t *testing.T) {
				in := newInboxOf(t, cert, func(in *inbox) smtp.Session { return &authSession{inboxSession{inbox: in}} })
				h := New(Config{
					Addresses: []string{in.address}, Hostname: "relay.example.org", TLS: VerifiedTLS, RootCAs: pool,
					Auth: Auth{Mechanism: mechanism, Username: "relay@example.org", SecretFile: file(t, "secret", secret+"\n", 0o600)},
				}, slog.New(slog.DiscardHandler))
				defer h.Close()
				if !want {
					_, err := h.Begin(t.Context(), mail.Client{})
					wantFault(t, err, "4.4.1")
					if !strings.Contains(err.Error(), "535") {
						t.Errorf("error = %v", err)
					}
					return
				}
				tx := begin(t, h)
				env := envelopeFor(t, "b@example.org")
				env.Params = params(t, "AUTH=<>")
				a, err := tx.Envelope(t.Context(), env, true)
				if err != nil || a.Data.Code != 354 {
					t.Fatalf("Envelope = %v, %v", a, err)
				}
				if r, err := tx.Content(t.Context(), mail.ParseHeader(nil), strings.NewReader("\r\nx\r\n")); err != nil || r.Code != 250 {
					t.Fatalf("Content = %v, %v", r, err)
				}
				tx.Release()
				if got, _ := in.received(); len(got) != 1 || got[0].opts.Auth == nil || *got[0].opts.Auth != "" {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}
