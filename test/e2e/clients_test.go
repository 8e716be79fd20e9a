package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// target is a listener as a client is told about it, and the envelope.
type target struct {
	name       string // no other target of the test has it
	host, port string
	tls        string // "none", "starttls", "implicit"
	authority  string // PEM of whom the client trusts
	from, to   string
	login      *login // nil: the client does not log in
}

// login is what a client logs in with.
type login struct{ mechanism, user, password string }

// client is a program that people send mail with. It checks the relay's certificate.
type client struct {
	name string
	// send sends the message and returns what the program let its user know, and whether it was
	// content.
	send func(t *testing.T, to target, message []byte) (said string, ok bool)
	// mechanisms are those of SASL that it has.
	mechanisms []string
}

// clients are all that there are, ready for these targets.
func clients(t *testing.T, targets []target) []client {
	all := []client{
		{name: "swaks", send: bySwaks},
		{name: "msmtp", send: byMsmtp, mechanisms: []string{"SCRAM-SHA-256"}},
		{name: "curl", send: byCurl},
		{name: "Nodemailer", send: byNodemailer},
		{name: "smtplib", send: bySmtplib},
		{name: "Postfix", send: byPostfix(t, targets), mechanisms: []string{"SCRAM-SHA-256"}},
		{name: "Exim", send: byExim},
	}
	for i := range all {
		all[i].mechanisms = append(all[i].mechanisms, "PLAIN", "LOGIN")
	}
	return all
}

// told is a message that is hard to carry: dots where lines begin, eight-bit octets, blanks at
// line ends, a long line.
func told(id string) []byte {
	return []byte("From: Client <client@example.net>\r\nTo: alice@example.org\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n" +
		"Message-ID: <" + id + "@client.example.net>\r\nSubject: by a client\r\nX-Folded: one\r\n\ttwo\r\n  three\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		".\r\n..\r\n.dot and more\r\nGrüße aus Köln\r\n\r\n" + strings.Repeat("long ", 180) + "\r\n \r\nblank at the end \r\nend\r\n")
}

func TestClients(t *testing.T) {
	sink := (&smtptest.Sink{Reply: func(command string) string {
		switch {
		case strings.HasPrefix(command, "RCPT TO:<nobody@"):
			return "550 5.1.1 nobody of that name lives here"
		case command == ".":
			return "250 2.0.0 kept with care"
		}
		return ""
	}}).Start(t)
	cert := issue(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Extra: fmt.Sprintf(`
[[frontend.listener]]
address = "127.0.0.1:0"
tls = "starttls"
[[frontend.listener]]
address = "127.0.0.1:0"
tls = "implicit"
[[tls.pair]]
certificate = %q
key = %q
`, cert.certificate, cert.key)})
	var targets []target
	for i, mode := range []string{"none", "starttls", "implicit"} {
		host, port, _ := net.SplitHostPort(r.Addresses()[i].String())
		targets = append(targets, target{
			name: mode, host: host, port: port, tls: mode, authority: cert.authority, from: mode + "@example.net", to: "alice@example.org",
		})
	}
	with := map[string]string{"none": "with ESMTP ", "starttls": "with ESMTPS ", "implicit": "with ESMTPS "}
	all := clients(t, targets)
	t.Run("all", func(t *testing.T) {
		for _, c := range all {
			for _, to := range targets {
				t.Run(c.name+"/"+to.name, func(t *testing.T) {
					t.Parallel()
					id := c.name + "." + to.name
					message := told(id)
					said, ok := c.send(t, to, message)
					if !ok || !strings.Contains(said, "kept with care") {
						t.Fatalf("content: %v, and its user does not see the next hop's reply:\n%s", ok, said)
					}
					field, rest := trace(t, arrived(t, sink, id))
					if !strings.Contains(field, with[to.tls]) {
						t.Errorf("%q does not say %q", field, with[to.tls])
					}
					if !bytes.Equal(rest, message) {
						t.Errorf("arrived\n%q\nwant\n%q", rest, message)
					}

					to.to = "nobody@example.org"
					if said, ok := c.send(t, to, told("refused")); ok || !strings.Contains(said, "nobody of that name lives here") {
						t.Errorf("content: %v, and its user does not see the refusal:\n%s", ok, said)
					}
				})
			}
		}
	})
	for _, m := range sink.Messages() {
		if bytes.Contains(m.Content, []byte("<refused@")) {
			t.Errorf("what was refused arrived, for %q", m.To)
		}
	}
}

// arrived is the one message with this id.
func arrived(t *testing.T, sink *smtptest.Sink, id string) []byte {
	t.Helper()
	var found [][]byte
	for _, m := range sink.Messages() {
		if bytes.Contains(m.Content, []byte("Message-ID: <"+id+"@")) {
			found = append(found, m.Content)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d messages arrived, want 1", len(found))
	}
	return found[0]
}

func bySwaks(t *testing.T, to target, message []byte) (string, bool) {
	args := []string{"--server", to.host, "--port", to.port, "--ehlo", "client.example.net", "--from", to.from, "--to", to.to, "--data", "-"}
	switch to.tls {
	case "starttls":
		args = append(args, "--tls", "--tls-verify", "--tls-ca-path", to.authority)
	case "implicit":
		args = append(args, "--tls-on-connect", "--tls-verify", "--tls-ca-path", to.authority)
	}
	if to.login != nil {
		args = append(args, "--auth", to.login.mechanism, "--auth-user", to.login.user, "--auth-password", to.login.password)
	}
	// It ends the data with a line end of its own.
	return feed(t, bytes.TrimSuffix(local(message), []byte("\n")), nil, needs.Program(t, "swaks"), args...)
}

func byMsmtp(t *testing.T, to target, message []byte) (string, bool) {
	config := "defaults\nset_from_header off\nset_date_header off\nset_msgid_header off\ndomain client.example.net\ntimeout 30\n"
	switch to.tls {
	case "starttls":
		config += "tls on\ntls_trust_file " + to.authority + "\n"
	case "implicit":
		config += "tls on\ntls_starttls off\ntls_trust_file " + to.authority + "\n"
	}
	config += "account default\nhost " + to.host + "\nport " + to.port + "\nfrom " + to.from + "\n"
	if to.login != nil {
		config += "auth " + strings.ToLower(to.login.mechanism) + "\nuser " + to.login.user + "\npassword " + to.login.password + "\n"
	}
	path := filepath.Join(t.TempDir(), "msmtprc")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil { // it takes no other mode
		t.Fatal(err)
	}
	return feed(t, local(message), nil, needs.Program(t, "msmtp"), "--debug", "--file="+path, to.to)
}

func byCurl(t *testing.T, to target, message []byte) (string, bool) {
	scheme := map[string]string{"none": "smtp", "starttls": "smtp", "implicit": "smtps"}[to.tls]
	args := []string{"-sS", "-v", scheme + "://" + net.JoinHostPort(to.host, to.port) + "/client.example.net", "--mail-from", to.from, "--mail-rcpt", to.to, "-T", "-"}
	if to.tls != "none" {
		args = append(args, "--ssl-reqd", "--cacert", to.authority)
	}
	if to.login != nil {
		args = append(args, "--user", to.login.user+":"+to.login.password, "--login-options", "AUTH="+to.login.mechanism)
	}
	return feed(t, message, nil, needs.Program(t, "curl"), args...)
}

func byNodemailer(t *testing.T, to target, message []byte) (string, bool) {
	modules := peer(t, "npm/node_modules")
	args := append([]string{"testdata/nodemailer.js"}, script(to)...)
	return feed(t, message, []string{"NODE_PATH=" + modules}, needs.Program(t, "node"), args...)
}

func bySmtplib(t *testing.T, to target, message []byte) (string, bool) {
	return feed(t, message, nil, needs.Program(t, "/usr/bin/python3"), append([]string{"testdata/smtplib.py"}, script(to)...)...)
}

// script is how the scripts in testdata are told what to do.
func script(to target) []string {
	args := []string{to.host, to.port, to.tls, to.authority, to.from, to.to}
	if to.login != nil {
		args = append(args, to.login.user, to.login.password, to.login.mechanism)
	}
	return args
}
