package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// received is the Received field that the relay gave the last message.
func received(t *testing.T, sink *smtptest.Sink) string {
	t.Helper()
	all := sink.Take()
	if len(all) != 1 {
		t.Fatalf("%d messages arrived", len(all))
	}
	head, _, _ := strings.Cut(string(all[0].Content), "\r\n\tby ")
	return head
}

// Real clients that speak PROXY: the relay takes the address that they tell, in rights, log and trace.
func TestRealClientsBehindAProxy(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Networks: `proxy = ["127.0.0.1"]
relay = ["127.0.0.0/8", "192.0.2.0/24"]`})
	host, port, _ := net.SplitHostPort(r.Addr)

	t.Run("swaks", func(t *testing.T) {
		needs.Program(t, "swaks")
		for _, tt := range []struct {
			name, version, family, source, to, want string
		}{
			{"version 1", "1", "TCP4", "192.0.2.1", "a@example.com", "([192.0.2.1])"},
			{"version 1, IPv6", "1", "TCP6", "2001:db8::1", "a@example.org", "([IPv6:2001:db8::1])"},
			{"version 2", "2", "AF_INET", "192.0.2.1", "a@example.com", "([192.0.2.1])"},
			{"version 2, IPv6", "2", "AF_INET6", "2001:db8::1", "a@example.org", "([IPv6:2001:db8::1])"},
			{"a stranger", "1", "TCP4", "198.51.100.1", "a@example.com", ""},
			{"a stranger, version 2", "2", "AF_INET", "198.51.100.1", "a@example.com", ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				dest := "127.0.0.1"
				if strings.Contains(tt.source, ":") {
					dest = "::1"
				}
				args := []string{"--server", host, "--port", port, "--helo", "client.example.net", "--from", "a@example.net", "--to", tt.to,
					"--proxy-version", tt.version, "--proxy-family", tt.family, "--proxy-source", tt.source, "--proxy-source-port", "4711",
					"--proxy-dest", dest, "--proxy-dest-port", "25"}
				if tt.version == "2" {
					args = append(args, "--proxy-protocol", "STREAM", "--proxy-command", "PROXY")
				}
				out, ok := run(t, "swaks", args...)
				if tt.want == "" {
					if ok || !strings.Contains(out, "550 5.7.1 relaying denied") {
						t.Errorf("swaks:\n%s", out)
					}
					return
				}
				if !ok {
					t.Fatalf("swaks:\n%s", out)
				}
				if got := received(t, sink); !strings.Contains(got, "from client.example.net "+tt.want) {
					t.Errorf("%s", got)
				}
				if !r.Log.Contains("client=" + tt.source + " proxy=127.0.0.1") {
					t.Errorf("the log does not name %s and its proxy", tt.source)
				}
			})
		}
	})
	t.Run("swaks, without a header", func(t *testing.T) {
		needs.Program(t, "swaks")
		out, ok := run(t, "swaks", "--server", host, "--port", port, "--timeout", "20", "--to", "a@example.org")
		if ok || strings.Contains(out, "220 ") {
			t.Errorf("swaks:\n%s", out)
		}
		relaytest.Eventually(t, "the log says why", func() bool { return r.Log.Contains("no PROXY header, connection closed") })
	})
	t.Run("curl", func(t *testing.T) {
		needs.Program(t, "curl")
		file := filepath.Join(t.TempDir(), "message.eml")
		write(t, file, "From: curl@example.net\r\nSubject: by curl\r\n\r\nhello\r\n")
		out, ok := run(t, "curl", "-sS", "--haproxy-protocol", "smtp://"+r.Addr+"/client.example.net", "--mail-from", "curl@example.net",
			"--mail-rcpt", "a@example.org", "-T", file)
		if !ok {
			t.Fatalf("curl:\n%s", out)
		}
		// It tells its own address: it speaks for itself.
		if got := received(t, sink); !strings.Contains(got, "([127.0.0.1])") {
			t.Errorf("%s", got)
		}
	})
	t.Run("HAProxy", func(t *testing.T) {
		throughHAProxy(t, r, sink)
		for line := range strings.Lines(r.Log.String()) {
			if strings.Contains(line, "check.example.net") && !strings.Contains(line, "level=DEBUG") {
				t.Errorf("a look whether the relay is there fills the log: %s", line)
			}
		}
		if !r.Log.Contains("check.example.net") {
			t.Error("HAProxy has not looked")
		}
	})
}

// throughHAProxy sends a message through HAProxy for each version of the protocol. HAProxy looks whether the relay
// is there meanwhile, by connections of its own.
func throughHAProxy(t *testing.T, r *relaytest.Relay, sink *smtptest.Sink) {
	program := needs.Program(t, "haproxy")
	for _, send := range []string{"send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"} {
		t.Run(send, func(t *testing.T) {
			addr := freeAddr(t)
			file := filepath.Join(t.TempDir(), "haproxy.cfg")
			write(t, file, fmt.Sprintf(`
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  unique-id-format %%[uuid]
frontend smtp
  bind %s
  use_backend relay
backend relay
  option smtpchk HELO check.example.net
  server relay %s check inter 200ms %s check-send-proxy
`, addr, r.Addr, send))
			out := &relaytest.Log{}
			cmd := exec.Command(program, "-f", file, "-db")
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Signal(os.Interrupt)
				_ = cmd.Wait()
				if t.Failed() {
					t.Logf("HAProxy said:\n%s", out)
				}
			}()
			var c *smtptest.Client
			relaytest.Eventually(t, "HAProxy listens", func() bool {
				conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}}).Dial("tcp", addr)
				if err != nil {
					return false
				}
				c = smtptest.Over(conn)
				banner, err := c.Reply()
				return err == nil && strings.HasPrefix(banner, "220 ")
			})
			defer c.Quit()
			if _, err := c.Cmd("EHLO client.example.net"); err != nil {
				t.Fatal(err)
			}
			if answer, err := c.Send("a@example.net", "a@example.com", "", []byte("Subject: by HAProxy\r\n\r\nhello\r\n")); err != nil {
				t.Fatal(answer, err)
			}
			if got := received(t, sink); !strings.Contains(got, "from client.example.net ([127.0.0.3])") {
				t.Errorf("%s", got)
			}
		})
	}
}

// XCLIENT by swaks, in one command and in several.
func TestXClientByARealClient(t *testing.T) {
	needs.Program(t, "swaks")
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Networks: `xclient = ["127.0.0.1"]
relay = ["127.0.0.0/8", "192.0.2.0/24"]`})
	host, port, _ := net.SplitHostPort(r.Addr)
	swaks := func(to string, args ...string) (string, bool) {
		return run(t, "swaks", append([]string{"--server", host, "--port", port, "--helo", "hop.example.net", "--from", "a@example.net", "--to", to}, args...)...)
	}
	out, ok := swaks("a@example.com", "--xclient-addr", "192.0.2.1", "--xclient-name", "client.example.net", "--xclient-port", "4711",
		"--xclient-proto", "ESMTP", "--xclient-helo", "client.example.net", "--xclient-login", "Jörg", "--xclient-destaddr", "127.0.0.1", "--xclient-destport", "25")
	if !ok {
		t.Fatalf("swaks:\n%s", out)
	}
	if got := received(t, sink); !strings.Contains(got, "from client.example.net (client.example.net [192.0.2.1])") {
		t.Errorf("%s", got)
	}
	if !r.Log.Contains("client=127.0.0.1") || !r.Log.Contains("reason=xclient next=") ||
		!r.Log.Contains("client=192.0.2.1 host=client.example.net proxy=127.0.0.1") {
		t.Error("the log does not have both")
	}
	if out, ok := swaks("a@example.com", "--xclient-name", "client.example.net", "--xclient-delim", "--xclient-addr", "198.51.100.1"); ok ||
		!strings.Contains(out, "550 5.7.1 relaying denied") {
		t.Errorf("swaks for a stranger:\n%s", out)
	}
	if out, ok := swaks("a@example.com", "--xclient-addr", "[UNAVAILABLE]"); ok || !strings.Contains(out, "550 5.7.1 relaying denied") {
		t.Errorf("swaks for nobody:\n%s", out)
	}
}
