package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// mailServer is a real one that has mailboxes for alice and bob of example.org, and knows
// nobody else.
type mailServer struct {
	addr string
	mail string // pattern of the files of one user, whose name is its %s
}

// kept waits for the message of this user that ends like this, and returns all of it, with LF alone.
func (m mailServer) kept(t *testing.T, user string, ending []byte) string {
	t.Helper()
	ending = local(ending)
	var found []byte
	relaytest.Eventually(t, user+" gets the message, as it is", func() bool {
		files, _ := filepath.Glob(fmt.Sprintf(m.mail, user))
		for _, f := range files {
			if data, err := os.ReadFile(f); err == nil && bytes.HasSuffix(local(data), ending) {
				found = local(data)
				return true
			}
		}
		return false
	})
	return string(found[:len(found)-len(ending)])
}

func startPostfixServer(t *testing.T, cert pair) mailServer {
	p := startMailServer(t, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "+cert.key+" "+cert.certificate+"\n")
	return mailServer{p.addr, filepath.Join(p.dir, "mail", "%s", "new", "*")}
}

func startEximServer(t *testing.T, cert pair) mailServer {
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	mail := folder(t)
	if err := os.Chmod(mail, 0o777); err != nil {
		t.Fatal(err)
	}
	newExim(t, fmt.Sprintf(`daemon_smtp_ports = %[1]s
message_size_limit = 40M
tls_advertise_hosts = *
tls_certificate = %[2]s
tls_privatekey = %[3]s
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept domains = example.org
         local_parts = alice : bob
  deny message = no such user here
begin routers
local:
  driver = accept
  local_parts = alice : bob
  transport = local
begin transports
local:
  driver = appendfile
  maildir_format
  directory = %[4]s/$local_part_data
  create_directory
  user = Debian-exim
`, port, cert.certificate, cert.key, mail)).start(t, addr)
	return mailServer{addr, filepath.Join(mail, "%s", "new", "*")}
}

func TestNextHops(t *testing.T) {
	cert := issue(t)
	for _, server := range []struct {
		name  string
		start func(*testing.T, pair) mailServer
	}{{"Postfix", startPostfixServer}, {"Exim", startEximServer}, {"Haraka", startHaraka}} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			hop := server.start(t, cert)
			for _, tls := range []string{"none", "verified"} {
				t.Run(tls, func(t *testing.T) {
					lines := ""
					if tls == "verified" {
						lines = fmt.Sprintf("ca = %q", cert.authority)
					}
					r := relaytest.Start(t, relaytest.Options{NextHop: hop.addr, NextHopTLS: tls, NextHopLines: lines})
					t.Run("accepted", func(t *testing.T) { hopAccepts(t, r, hop, tls, "", []byte("plain and simple\r\n.\r\n..\r\n")) })
					t.Run("eight bits", func(t *testing.T) {
						hopAccepts(t, r, hop, tls, " BODY=8BITMIME", []byte("Grüße aus Köln\r\n\xe9\xe8 is not UTF-8\r\n"))
					})
					t.Run("big", func(t *testing.T) {
						hopAccepts(t, r, hop, tls, "", bytes.Repeat([]byte(".a line of seventy octets, one hundred and fifty thousand times over.\r\n"), 150_000))
					})
					t.Run("refused in the session", func(t *testing.T) { hopRefuses(t, r) })
					t.Run("pipelined", func(t *testing.T) { hopTakesAGroup(t, r, hop) })
				})
			}
		})
	}
}

// hopAccepts sends alice a message, which must be in her mailbox as it is, below what it was
// carried by.
func hopAccepts(t *testing.T, r *relaytest.Relay, hop mailServer, tls, params string, body []byte) {
	c := dial(t, r.Addr)
	message := headed(t, body)
	if reply, err := c.Send("bob@example.net", "alice@example.org", params, message); err != nil || !strings.HasPrefix(reply, "250 ") {
		t.Fatalf("answered %q, %v", reply, err)
	}
	above := hop.kept(t, "alice", message)
	own, ours, found := strings.Cut(above, "Received: from client.example.net ")
	if !found || !strings.Contains(ours, "by mx.example.org with ESMTP ") {
		t.Errorf("the relay's trace field is not there:\n%s", above)
	}
	// The server says by the keyword of RFC 3848 how it was handed the message.
	if want := map[string]string{"none": "with ESMTP ", "verified": "with ESMTPS "}[tls]; !strings.Contains(strings.ToUpper(own), strings.ToUpper(want)) {
		t.Errorf("the server's field does not say %q:\n%s", want, own)
	}
}

// hopRefuses: the server's refusal is the client's, and the session goes on.
func hopRefuses(t *testing.T, r *relaytest.Relay) {
	c := dial(t, r.Addr)
	wantReply(t, c, "MAIL FROM:<bob@example.net>", "250 ")
	wantReply(t, c, "RCPT TO:<nobody@example.org>", "550 ")
	wantReply(t, c, "RCPT TO:<alice@example.org>", "250 ")
	wantReply(t, c, "RSET", "250 ")
}

// hopTakesAGroup sends a whole envelope in one write, one of whose recipients nobody knows.
func hopTakesAGroup(t *testing.T, r *relaytest.Relay, hop mailServer) {
	c := dial(t, r.Addr)
	message := headed(t, []byte("for both\r\n"))
	group := "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
	if err := c.Raw([]byte(group)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"250 ", "250 ", "550 ", "250 ", "354 "} {
		if reply, err := c.Reply(); err != nil || !strings.HasPrefix(reply, want) {
			t.Fatalf("reply %d is %q, %v; want %s", i+1, reply, err, want)
		}
	}
	if err := c.Raw(append(smtptest.Stuff(message), ".\r\n"...)); err != nil {
		t.Fatal(err)
	}
	if reply, err := c.Reply(); err != nil || !strings.HasPrefix(reply, "250 ") {
		t.Fatalf("answered %q, %v", reply, err)
	}
	hop.kept(t, "alice", message)
	hop.kept(t, "bob", message)
}

// headed puts a header section before a body, by which the test knows the message again.
func headed(t *testing.T, body []byte) []byte {
	return append([]byte("From: bob@example.net\r\nTo: alice@example.org\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <"+
		strings.NewReplacer("/", ".", "_", ".").Replace(t.Name())+"@example.net>\r\nSubject: a test\r\n\r\n"), body...)
}
