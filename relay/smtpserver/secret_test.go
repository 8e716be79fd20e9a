package smtpserver

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/pipeline"
)

func TestSecretsOfAuthAreNotTold(t *testing.T) {
	for line, want := range map[string]string{
		"AUTH PLAIN AGFsaWNlAHNlY3JldA==":  "AUTH PLAIN …",
		"AUTH PLAIN\tAGFsaWNlAHNlY3JldA==": "AUTH PLAIN …",
		"AUTH\tPLAIN AGFsaWNlAHNlY3JldA==": "AUTH PLAIN …",
		" AUTH PLAIN AGFsaWNlAHNlY3JldA==": "AUTH PLAIN …",
		"AUTH AGFsaWNlAHNlY3JldA==":        "AUTH …",
		"AUTH c2VjcmV0":                    "AUTH …",
		"auth  plain  AGFsaWNlAHNlY3JldA":  "AUTH plain …",
		"auth login":                       "AUTH login",
		"AUTH":                             "AUTH",
		"MAIL FROM:<a@example.org>":        "MAIL FROM:<a@example.org>",
	} {
		if got := parseCommand(line).told(); got != want {
			t.Errorf("%q is told as %q, want %q", line, got, want)
		}
	}
}

// Whatever becomes of an exchange, no form of the password is in the log or in what agents see.
func TestNoSecretInLogAndEvents(t *testing.T) {
	const secret = "correct horse"
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	plain := func(user string) string {
		return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + secret))
	}
	name := base64.StdEncoding.EncodeToString([]byte("alice"))
	for i, lines := range []string{
		"AUTH PLAIN " + plain("alice"),
		"AUTH PLAIN " + plain("down"),
		"AUTH PLAIN " + plain("panic"),
		"AUTH PLAIN\r\n" + plain("alice"),
		"AUTH PLAIN\t" + plain("alice"),
		"AUTH\tPLAIN " + plain("alice"),
		" AUTH PLAIN " + plain("alice"),
		" AUTH LOGIN\r\n" + name + "\r\n" + encoded,
		"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nBDAT 2\r\n\r\nAUTH LOGIN\r\n" + name + "\r\n" + encoded,
		"AUTH " + plain("alice"),
		"AUTH " + encoded,
		"AUTH NTLM " + plain("alice"),
		"AUTH PLAIN " + plain("alice") + " " + encoded,
		"AUTH PLAIN " + encoded,
		"AUTH PLAIN " + encoded + "!",
		"AUTH LOGIN\r\n" + name + "\r\n" + encoded,
		"AUTH LOGIN\r\n" + name + "\r\n" + encoded + "!\r\n" + encoded,
		"AUTH LOGIN\r\n" + name + "\r\n" + secret,
		"AUTH LOGIN\r\n*\r\n" + encoded + "\r\n" + secret,
		"AUTH LOGIN\r\n" + strings.Repeat("x", 2*maxAuthLine) + "\r\n" + encoded,
		"AUTH CRAM-MD5\r\n" + plain("alice"),
		"MAIL FROM:<>\r\nAUTH LOGIN\r\n" + name + "\r\n" + encoded,
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &lockedBuffer{}
				p := newPlayer(t)
				p.cfg.TLSMode, p.cfg.Auth = Implicit, fakeLogins{}
				p.cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				for _, k := range event.FrontEnd.Events() {
					p.binding.Subscriptions = append(p.binding.Subscriptions, event.Subscription{Kind: k})
				}
				p.start()
				if err := p.startTLS(); err != nil {
					t.Fatal(err)
				}
				for _, line := range []string{"EHLO client.example.org", lines, "QUIT"} {
					if err := p.send(line + "\r\n"); err != nil {
						break
					}
					time.Sleep(time.Minute)
				}
				_ = p.conn.Close()
				_ = p.server.Close()
				<-p.served
				synctest.Wait()
				seen := log.String() + strings.Join(p.agent.seen, "\n")
				if !strings.Contains(strings.ToUpper(seen), "AUTH") {
					t.Errorf("nothing was seen of it:\n%s", seen)
				}
				for _, s := range []string{secret, encoded, plain("alice"), plain("down"), plain("panic")} {
					if strings.Contains(seen, strings.TrimRight(s, "=")) {
						t.Errorf("%q is in\n%s", s, seen)
					}
				}
			})
		})
	}
}

// Responses may be longer than command lines, and what is too long is no command.
func TestLongResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		p.cfg.TLSMode, p.cfg.Auth = Implicit, fakeLogins{}
		p.cfg.Limits.AuthFailures = 10
		p.start()
		defer p.stop()
		if err := p.startTLS(); err != nil {
			t.Fatal(err)
		}
		if err := p.hello(); err != nil {
			t.Fatal(err)
		}
		longest := strings.Repeat("AAAA", (maxAuthLine-2)/4)
		for _, tt := range []struct{ response, reply string }{
			{longest, "501 5.5.2 malformed response"},
			{longest + "AAAA", "500 5.5.6 response too long"},
			{strings.Repeat("AAAA", 15_000), "500 5.5.6 response too long"},
			{base64.StdEncoding.EncodeToString([]byte("\x00alice\x00secret")), "235 2.7.0 authentication successful"},
		} {
			for _, step := range []struct{ send, want string }{{"AUTH PLAIN", "334 "}, {tt.response, tt.reply}} {
				if err := p.send(step.send + "\r\n"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if err := p.expect("S:", step.want); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.send("NOOP\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := p.swallow("250 2.0.0 ok"); err != nil {
			t.Error(err)
		}
	})
}

func TestAgentsSeeWhoHasLoggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		seen := &stateAgent{}
		p.cfg.TLSMode, p.cfg.Auth = Implicit, fakeLogins{}
		p.binding.Agent = seen
		p.binding.Subscriptions = []event.Subscription{{Kind: event.EndOfAuthentication}, {Kind: event.NoopCommand}}
		p.start()
		defer p.stop()
		if err := p.startTLS(); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"EHLO a", "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "NOOP", "EHLO b", "NOOP"} {
			if err := p.send(line + "\r\n"); err != nil {
				t.Fatal(err)
			}
			if err := p.swallow("2"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			p.mu.Lock()
			p.got = nil
			p.mu.Unlock()
		}
		want := []string{"a  ", "a alice PLAIN", "b alice PLAIN"}
		if fmt.Sprint(seen.clients) != fmt.Sprint(want) {
			t.Errorf("agents have seen %q, want %q", seen.clients, want)
		}
	})
}

func TestLoginFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l loginFailures
		address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
		for i := range maxAddresses + maxAddresses/2 {
			l.add(address(i))
		}
		if n := len(l.address); n > maxAddresses {
			t.Errorf("%d addresses are kept, want at most %d", n, maxAddresses)
		}
		time.Sleep(failureTime)
		last := address(maxAddresses * 2)
		l.add(last)
		if n := l.count(address(maxAddresses)); n != 0 {
			t.Errorf("%d failures are counted after %s", n, failureTime)
		}
		a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:2")
		l.add(a)
		if l.count(b) != 1 {
			t.Error("two addresses of an IPv6 network of 64 bits are not one client")
		}
		if l.count(netip.MustParseAddr("::ffff:10.3.13.64")) != l.count(netip.MustParseAddr("10.3.13.64")) {
			t.Error("an IPv4 address counts in one form only")
		}
	})
}

// stateAgent keeps what it is shown of the client.
type stateAgent struct {
	fakeAgent
	clients []string
}

func (a *stateAgent) Open(string) pipeline.Conversation { return stateConversation{a} }

type stateConversation struct{ a *stateAgent }

func (c stateConversation) Decide(_ context.Context, events []event.Event, s *event.State, _ time.Duration) (event.Verdict, error) {
	c.a.clients = append(c.a.clients, s.Client.Hello+" "+s.Client.User+" "+s.Client.Mechanism)
	return event.Verdict{Seq: events[len(events)-1].Seq}, nil
}

func (c stateConversation) Notify([]event.Event, *event.State) {}

func (c stateConversation) End([]event.Event, *event.State, event.DisconnectReason) {}
