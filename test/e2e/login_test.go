package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/relay/relay/auth"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// Clients log in, by each mechanism they have, and may then send to any domain; with a wrong
// password they are told so, and nothing is sent.
func TestLogins(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	cert := issue(t)
	const user, password = "alice@example.org", "correct horse, staple"
	hashed, err := auth.Hash(password, true)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte(hashed.Line(user)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Limits: "auth_failures_per_address = 0", Extra: fmt.Sprintf(`
[[frontend.listener]]
address = "127.0.0.1:0"
tls = "starttls"
auth = "required"
[[tls.pair]]
certificate = %q
key = %q
[auth]
users = %q
`, cert.certificate, cert.key, users)})
	host, port, _ := net.SplitHostPort(r.Addresses()[1].String())
	var targets []target
	for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"} {
		for word, good := range map[string]string{"right": password, "wrong": "Correct horse, staple"} {
			name := word + "-" + strings.ToLower(mechanism)
			targets = append(targets, target{
				name: name, host: host, port: port, tls: "starttls", authority: cert.authority, from: name + "@example.net", to: "bob@elsewhere.example",
				login: &login{mechanism, user, good},
			})
		}
	}
	all := clients(t, targets)
	t.Run("all", func(t *testing.T) {
		for _, c := range all {
			for _, to := range targets {
				if !slices.Contains(c.mechanisms, to.login.mechanism) {
					continue
				}
				t.Run(c.name+"/"+to.name, func(t *testing.T) {
					t.Parallel()
					id := c.name + "." + to.name
					said, ok := c.send(t, to, told(id))
					if right := to.login.password == password; right && !ok {
						t.Fatalf("not content:\n%s", said)
					} else if !right {
						if ok {
							t.Fatalf("content with a wrong password:\n%s", said)
						}
						return
					}
					if field, _ := trace(t, arrived(t, sink, id)); !strings.Contains(field, "with ESMTPSA ") {
						t.Errorf("%q does not say that the client had logged in", field)
					}
				})
			}
		}
	})
	for _, m := range sink.Messages() {
		if bytes.Contains(m.Content, []byte(".wrong-")) {
			t.Errorf("a message of a client that had not logged in arrived: %.300q", m.Content)
		}
	}
	log := r.Log.String()
	for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"} {
		if !strings.Contains(log, `msg="logged in"`) || !strings.Contains(log, "mechanism="+mechanism) {
			t.Errorf("the log has no login by %s", mechanism)
		}
	}
	if strings.Contains(log, "horse") || strings.Contains(log, "Y29ycmVjdCBob3JzZ") {
		t.Error("a password is in the log")
	}
}

// The users file is read again when it changes, and by a reload; a bad one changes nothing.
func TestUsersAreReadAgain(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	cert := issue(t)
	users := filepath.Join(t.TempDir(), "users")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(users+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(users+".new", users); err != nil {
			t.Fatal(err)
		}
	}
	line := func(user string) string {
		h, err := auth.Hash(user+"'s", false)
		if err != nil {
			t.Fatal(err)
		}
		return h.Line(user) + "\n"
	}
	write(line("alice"))
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), TLS: "none", Extra: fmt.Sprintf(`
[[frontend.listener]]
address = "127.0.0.1:0"
tls = "implicit"
auth = "optional"
[[tls.pair]]
certificate = %q
key = %q
[auth]
users = %q
`, cert.certificate, cert.key, users)})
	host, port, _ := net.SplitHostPort(r.Addresses()[1].String())
	sends := func(user string) bool {
		t.Helper()
		_, ok := byCurl(t, target{
			host: host, port: port, tls: "implicit", authority: cert.authority, from: "a@example.net", to: "b@elsewhere.example",
			login: &login{"PLAIN", user, user + "'s"},
		}, told(user))
		return ok
	}
	if !sends("alice") || sends("bob") {
		t.Error("not alice alone may send")
	}
	write(line("bob"))
	relaytest.Eventually(t, "the users file is read again", func() bool { return r.Log.Contains("users file read again") })
	if sends("alice") || !sends("bob") {
		t.Error("not bob alone may send, after the change")
	}
	write(line("carol") + "dave\n")
	if _, err := r.Reload(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "users:2: has no hashed password") {
		t.Errorf("reload of a bad file: %v", err)
	}
	relaytest.Eventually(t, "the log says that the file is bad", func() bool { return r.Log.Contains("users file not taken") })
	if sends("carol") || !sends("bob") {
		t.Error("not bob alone may send, after a bad change")
	}
	write(line("carol"))
	done, err := r.Reload(t.Context(), nil)
	if err != nil || !slices.Contains(done.GetChanged(), "auth") {
		t.Errorf("reload: %v, %v", done, err)
	}
	if !sends("carol") || sends("bob") {
		t.Error("not carol alone may send, after the reload")
	}
}
