package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/auth"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// Agents are narrowed by listener, domains, direction, login and size: each is asked about the mail
// that concerns it and no other, and explain has said so before.
func TestNarrowedAgents(t *testing.T) {
	only := map[string]string{
		"all":       "",
		"here":      `listeners = ["127.0.0.1:0"]`,
		"there":     `listeners = ["localhost:0"]`,
		"inbound":   `direction = "inbound"`,
		"internal":  `direction = "internal"`,
		"users":     `authenticated = "yes"`,
		"strangers": `authenticated = "no"`,
		"below":     `recipient_domains = ["*.example.org"]`,
		"partners":  `sender_domains = ["partner.example"]`,
		"small":     `max_size = 1000`,
	}
	sink := (&smtptest.Sink{}).Start(t)
	r := narrowedRelay(t, sink.Addr(), only)
	for _, mail := range []struct {
		name, listener, user, from, to string
		size                           uint64
		asked                          []string
	}{
		{"a stranger's", "127.0.0.1:0", "", "a@elsewhere.example", "b@example.org", 0, []string{"here", "inbound", "strangers", "small"}},
		{"one to a sub-domain", "127.0.0.1:0", "", "a@partner.example", "b@sub.example.org", 2000, []string{"here", "inbound", "strangers", "below", "partners"}},
		{"an insider's", "localhost:0", "", "", "b@example.org", 0, []string{"there", "internal", "strangers", "small"}},
		{"a user's", "localhost:0", "alice", "a@partner.example", "b@elsewhere.example", 999, []string{"there", "internal", "users", "partners", "small"}},
	} {
		t.Run(mail.name, func(t *testing.T) {
			want := append([]string{"all"}, mail.asked...)
			slices.Sort(want)
			before := calls(t, r, only)
			q := &controlv1.ExplainRequest{Listener: mail.listener, Ip: "127.0.0.1", User: mail.user, From: &mail.from, To: []string{mail.to}, Size: mail.size}
			if got := foretold(t, r, q); !slices.Equal(got, want) {
				t.Errorf("explain says %v, want %v", got, want)
			}
			addr := r.Addresses()[slices.Index([]string{"127.0.0.1:0", "localhost:0"}, mail.listener)].String()
			params := ""
			if mail.size > 0 {
				params = fmt.Sprintf(" SIZE=%d", mail.size)
			}
			sendOver(t, addr, mail.user, mail.from, mail.to, params)
			var got []string
			for name, n := range calls(t, r, only) {
				if n > before[name] {
					got = append(got, name)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("asked were %v, want %v", got, want)
			}
		})
	}
}

// narrowedRelay runs a relay with two listeners, the second for insiders and users, and an agent for
// each filter.
func narrowedRelay(t *testing.T, hop string, only map[string]string) *relaytest.Relay {
	t.Helper()
	hashed, err := auth.Hash("secret", false)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte(hashed.Line("alice")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := issue(t)
	first := relaytest.Start(t, relaytest.Options{NextHop: hop, Extra: fmt.Sprintf(`
[[accepted_domain]]
name = "*.example.org"
[[frontend.listener]]
address = "localhost:0"
tls = "starttls"
auth = "optional"
[frontend.listener.networks]
relay = ["127.0.0.1", "::1"]
[[tls.pair]]
certificate = %q
key = %q
[auth]
users = %q
`, cert.certificate, cert.key, users)})
	for name := range only {
		first.Install(name, relaytest.Build(t, "test/faultagent"), "marker")
	}
	first.Stop()
	path := filepath.Join(filepath.Dir(first.Config), "var", "agents.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "[[agent]]")
	for i, b := range blocks {
		for name, filter := range only {
			if filter != "" && strings.Contains(b, fmt.Sprintf("name = %q", name)) {
				blocks[i] = strings.Replace(b, "[agent.only]", "[agent.only]\n"+filter, 1)
			}
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(blocks, "[[agent]]")), 0o600); err != nil {
		t.Fatal(err)
	}
	return relaytest.Run(t, first.Config)
}

// calls are how often each agent has been asked.
func calls(t *testing.T, r *relaytest.Relay, agents map[string]string) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	for name := range agents {
		all[name] = r.Agent(name).Calls
	}
	return all
}

// foretold are the agents that explain says are asked at OnEndOfHeaders.
func foretold(t *testing.T, r *relaytest.Relay, q *controlv1.ExplainRequest) (names []string) {
	t.Helper()
	said, err := r.Explain(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range said.Events {
		for _, a := range e.Agents {
			if e.Event == "OnEndOfHeaders" && a.Asked {
				names = append(names, a.Name)
			}
		}
	}
	if len(said.Recipients) != 1 || !said.Recipients[0].Taken {
		t.Errorf("explain says of the recipient %v", said.Recipients)
	}
	slices.Sort(names)
	return names
}

// sendOver sends a mail, over TLS and logged in where there is a user.
func sendOver(t *testing.T, addr, user, from, to, params string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := smtptest.Over(conn)
	say := func(line, want string) {
		t.Helper()
		if reply, err := c.Cmd(line); err != nil || !strings.HasPrefix(reply, want) {
			t.Fatalf("%s answered %q, %v; want %s", line, reply, err, want)
		}
	}
	if _, err := c.Reply(); err != nil {
		t.Fatal(err)
	}
	say("EHLO client.example.net", "250")
	if user != "" {
		say("STARTTLS", "220")
		c = smtptest.Over(tls.Client(conn, &tls.Config{InsecureSkipVerify: true}))
		say("EHLO client.example.net", "250")
		say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00secret")), "235")
	}
	say("MAIL FROM:<"+from+">"+params, "250")
	say("RCPT TO:<"+to+">", "250")
	say("DATA", "354")
	say("Subject: hello\r\n\r\nhello\r\n.", "250")
	say("QUIT", "221")
}
