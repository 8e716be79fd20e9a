package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// A Postfix that trusts the relay goes by the client: in its log by XFORWARD, in its rules by
// XCLIENT. One that does not trust it gets no mail by XCLIENT, and mail as before by XFORWARD.
func TestPostfixIsToldWhoTheClientIs(t *testing.T) {
	const rules = "smtpd_client_restrictions = check_client_access inline:{127.0.0.3=REJECT}\n"
	trusting := startMailServer(t, rules+"smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_authorized_xforward_hosts = 127.0.0.1\n")
	wary := startMailServer(t, rules)
	for _, tt := range []struct {
		name, forward, client string
		server                *postfix
		reply                 string // to MAIL, RCPT and DATA: the first that is not 250 or 354, or the final one
		log                   string // what Postfix says of the client
	}{
		{"xforward", "xforward", "127.0.0.2", trusting, "250 2.0.0 ", "orig_client=unknown[127.0.0.2]"},
		{"xforward is no rule", "xforward", "127.0.0.3", trusting, "250 2.0.0 ", "orig_client=unknown[127.0.0.3]"},
		{"xforward where it is not offered", "xforward", "127.0.0.4", wary, "250 2.0.0 ", "client=unknown[127.0.0.1]"},
		{"xclient", "xclient", "127.0.0.2", trusting, "250 2.0.0 ", ": client=unknown[127.0.0.2]"},
		{"xclient is the rule", "xclient", "127.0.0.3", trusting, "554 5.7.1 <unknown[127.0.0.3]>: Client host rejected", "from unknown[127.0.0.3]: 554"},
		{"xclient where it is not offered", "xclient", "127.0.0.4", wary, "451 4.4.", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := relaytest.Start(t, relaytest.Options{NextHop: tt.server.addr, NextHopLines: `forward_client = "` + tt.forward + `"`})
			c := dialFrom(t, tt.client, r.Addr)
			reply, err := c.Send("bob@example.net", "alice@example.org", "", []byte("Subject: from "+tt.client+"\r\n\r\n"))
			if refused, ok := err.(*smtptest.Refused); ok {
				reply, err = refused.Reply, nil
			}
			if err != nil || !strings.HasPrefix(reply, tt.reply) {
				t.Errorf("answered %q, %v; want %s", reply, err, tt.reply)
			}
			relaytest.Eventually(t, "Postfix logs "+tt.log, func() bool {
				log, _ := os.ReadFile(filepath.Join(tt.server.dir, "log", "mail.log"))
				return strings.Contains(string(log), tt.log)
			})
		})
	}
}

// dialFrom is a client whose address is this one of the loopback network.
func dialFrom(t *testing.T, client, addr string) *smtptest.Client {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := smtptest.Over(conn)
	if banner, err := c.Reply(); err != nil || !strings.HasPrefix(banner, "220 ") {
		t.Fatalf("banner %q, %v", banner, err)
	}
	wantReply(t, c, "EHLO client.example.net", "250-")
	return c
}

// Clients take turns, by XFORWARD on one connection of the pool, and each message is its own
// client's. Postfix takes XCLIENT but once on a connection.
func TestPostfixTellsClientsThatTakeTurnsApart(t *testing.T) {
	hop := startMailServer(t, "smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_authorized_xforward_hosts = 127.0.0.1\n")
	said := func() string {
		log, _ := os.ReadFile(filepath.Join(hop.dir, "log", "mail.log"))
		return string(log)
	}
	for _, forward := range []string{"xforward", "xclient"} {
		r := relaytest.Start(t, relaytest.Options{NextHop: hop.addr, NextHopLines: `forward_client = "` + forward + `"`})
		before := strings.Count(said(), "connect from unknown[127.0.0.1]")
		for i, client := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.3", "127.0.0.2"} {
			c := dialFrom(t, client, r.Addr)
			subject := fmt.Sprintf("Subject: %s %d\r\n\r\n", forward, i)
			reply, err := c.Send("bob@example.net", "alice@example.org", "", []byte(subject))
			if err != nil || !strings.HasPrefix(reply, "250 ") {
				t.Fatalf("%s %d: %q, %v", forward, i, reply, err)
			}
			_, id, _ := strings.Cut(strings.TrimSuffix(reply, ")"), "(id ")
			_, queue, _ := strings.Cut(reply, "queued as ")
			queue, _, _ = strings.Cut(queue, " ")
			want := queue + ": client=unknown[" + client + "]"
			if forward == "xforward" {
				want = queue + ": client=unknown[127.0.0.1], orig_queue_id=" + id + ", orig_client=unknown[" + client + "]"
			}
			relaytest.Eventually(t, "Postfix logs "+want, func() bool { return strings.Contains(said(), want) })
		}
		if n := strings.Count(said(), "connect from unknown[127.0.0.1]") - before; n > 2 && forward == "xforward" {
			t.Errorf("%d connections for 4 messages", n) // its log may be late by those of the start
		}
	}
}
