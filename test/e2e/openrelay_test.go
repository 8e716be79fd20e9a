package e2e

import (
	"net"
	"strings"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// As it comes the relay is no open relay, by the opinion of Nmap: 16 ways of writing a
// recipient and a sender. That the same relay with rights for the client is one shows that the
// opinion is worth something.
func TestNmapFindsNoOpenRelay(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	for _, tt := range []struct{ name, networks, want string }{
		{"default networks", "", "Server doesn't seem to be an open relay, all tests failed"},
		{"the client may relay", `relay = ["127.0.0.1"]`, "Server is an open relay"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Networks: tt.networks})
			host, port, _ := net.SplitHostPort(r.Addr)
			// The plus runs the script on a port that is not SMTP's.
			out, ok := run(t, "nmap", "-n", "-Pn", "--script", "+smtp-open-relay", "-p", port, host)
			if !ok || !strings.Contains(out, tt.want) {
				t.Errorf("Nmap does not say %q:\n%s", tt.want, out)
			}
		})
	}
	// The script only asks; nothing is sent.
	if n := len(sink.Messages()); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}
