package e2e

import (
	"net"
	"strings"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// Swaks speaks for another client, by XCLIENT or as a load balancer. Rights, log and trace field
// go by that client; who may not speak for others cannot.
func TestSwaksSpeaksForAClient(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	const right = `relay = ["192.0.2.77", "2001:db8::77"]` + "\n"
	start := func(networks string) *relaytest.Relay {
		return relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Networks: networks})
	}
	hop, balancer, stranger := start(right+`xclient = ["127.0.0.1"]`), start(right+`proxy = ["127.0.0.1"]`), start(right)
	xclient := func(addr string) []string {
		return []string{"--xclient-addr", addr, "--xclient-name", "gateway.example.com", "--xclient-helo", "hello.example.com"}
	}
	proxy := func(version, family, addr, own string) []string {
		return []string{"--proxy-version", version, "--proxy-family", family, "--proxy-source", addr, "--proxy-source-port", "4711", "--proxy-dest", own, "--proxy-dest-port", "25"}
	}
	for _, tt := range []struct {
		name  string
		relay *relaytest.Relay
		args  []string
		trace string // how the trace field begins; "": the message is refused, with want
		want  string // what swaks shows
	}{
		{"XCLIENT", hop, xclient("192.0.2.77"), "from hello.example.com (gateway.example.com [192.0.2.77])", ""},
		{"XCLIENT, IPv6", hop, xclient("IPv6:2001:db8::77"), "from hello.example.com (gateway.example.com [IPv6:2001:db8::77])", ""},
		{"XCLIENT, a client without rights", hop, xclient("192.0.2.78"), "", "550 5.7.1 relaying denied"},
		{"XCLIENT has no right of its own", hop, nil, "", "550 5.7.1 relaying denied"},
		{"XCLIENT by a stranger", stranger, xclient("192.0.2.77"), "", "XCLIENT"},
		{"XCLIENT by a stranger who insists", stranger, []string{"--xclient", "ADDR=192.0.2.77", "--xclient-no-verify"}, "", "XCLIENT"},
		{"PROXY version 1", balancer, proxy("1", "TCP4", "192.0.2.77", "192.0.2.1"), "from client.example.net ([192.0.2.77])", ""},
		{"PROXY version 1, IPv6", balancer, proxy("1", "TCP6", "2001:db8::77", "2001:db8::1"), "from client.example.net ([IPv6:2001:db8::77])", ""},
		{"PROXY version 2", balancer, proxy("2", "AF_INET", "192.0.2.77", "192.0.2.1"), "from client.example.net ([192.0.2.77])", ""},
		{"PROXY version 2, IPv6", balancer, proxy("2", "AF_INET6", "2001:db8::77", "2001:db8::1"), "from client.example.net ([IPv6:2001:db8::77])", ""},
		{"PROXY, a client without rights", balancer, proxy("1", "TCP4", "192.0.2.78", "192.0.2.1"), "", "550 5.7.1 relaying denied"},
		{"a load balancer that speaks nonsense", balancer, []string{"--proxy", "TCP4 here there 1 2"}, "", "*** "},
		{"PROXY by a stranger", stranger, proxy("1", "TCP4", "192.0.2.77", "192.0.2.1"), "", "550 5.7.1 relaying denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, port, _ := net.SplitHostPort(tt.relay.Addr)
			out, ok := run(t, "swaks", append([]string{"--server", host, "--port", port, "--ehlo", "client.example.net", "--from", "a@example.net", "--to", "b@elsewhere.example"}, tt.args...)...)
			got := sink.Take()
			if tt.trace == "" {
				if ok || len(got) != 0 || !strings.Contains(out, tt.want) {
					t.Errorf("content: %v, %d messages arrived; want a refusal with %q:\n%s", ok, len(got), tt.want, out)
				}
				return
			}
			if !ok || len(got) != 1 {
				t.Fatalf("%d messages arrived:\n%s", len(got), out)
			}
			if field, _ := trace(t, got[0].Content); !strings.HasPrefix(field, "Received: "+tt.trace) {
				t.Errorf("%q does not begin with %q", field, tt.trace)
			}
		})
	}
	for _, r := range []*relaytest.Relay{hop, balancer} {
		if !r.Log.Contains("client=192.0.2.77 ") {
			t.Error("the log does not name the client")
		}
	}
}
