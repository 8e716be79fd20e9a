package e2e

import (
	"net"
	"strings"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// Each listener has a banner, limits and networks of its own; what it leaves out is as for all.
func TestListenersHaveTheirOwnRules(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Limits: "recipients = 2", Extra: `
[[frontend.listener]]
address = "127.0.0.1:0"
tls = "none"
banner = "ESMTP for insiders"
[frontend.listener.limits]
recipients = 1
message_size = "300KB"
[frontend.listener.networks]
relay = ["127.0.0.1"]
`})
	addresses := r.Addresses()
	if len(addresses) != 2 {
		t.Fatalf("listens on %v", addresses)
	}
	for _, tt := range []struct {
		name, addr, banner, size string
		rcpts                    [3]string
	}{
		{"general", addresses[0].String(), "220 mx.example.org ESMTP relay", "SIZE 35000000", [3]string{"250", "250", "452 4.5.3"}},
		{"its own", addresses[1].String(), "220 mx.example.org ESMTP for insiders", "SIZE 300000", [3]string{"250", "452 4.5.3", "452 4.5.3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", tt.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := smtptest.Over(conn)
			if banner, err := c.Reply(); err != nil || banner != tt.banner {
				t.Errorf("banner %q, %v", banner, err)
			}
			if hello, err := c.Cmd("EHLO client.example.net"); err != nil || !strings.Contains(hello, tt.size) {
				t.Errorf("EHLO answered %q, %v", hello, err)
			}
			if _, err := c.Cmd("MAIL FROM:<a@example.net>"); err != nil {
				t.Fatal(err)
			}
			for i, want := range tt.rcpts {
				reply, err := c.Cmd("RCPT TO:<b" + string(rune('0'+i)) + "@example.org>")
				if err != nil || !strings.HasPrefix(reply, want) {
					t.Errorf("recipient %d answered %q, %v; want %s", i, reply, err, want)
				}
			}
			if _, err := c.Cmd("RSET"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Cmd("MAIL FROM:<a@example.net>"); err != nil {
				t.Fatal(err)
			}
			want := "550 5.7.1"
			if tt.name == "its own" {
				want = "250"
			}
			if reply, err := c.Cmd("RCPT TO:<somebody@elsewhere.example>"); err != nil || !strings.HasPrefix(reply, want) {
				t.Errorf("a foreign domain answered %q, %v; want %s", reply, err, want)
			}
		})
	}
}
