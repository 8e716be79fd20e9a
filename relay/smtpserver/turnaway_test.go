package smtpserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// addressed is a pipe that comes from somewhere.
type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

// house is a server that clients of any address can come to, in a bubble.
type house struct {
	*player
	log lockedBuffer
}

func newHouse(t *testing.T, change func(*Config)) *house {
	h := &house{player: newPlayer(t)}
	h.cfg.Log = slog.New(slog.NewTextHandler(&h.log, nil))
	change(&h.cfg)
	h.serve()
	return h
}

func (h *house) serve() {
	h.server, h.l = New(h.cfg), newPipeListener()
	h.served = make(chan error, 1)
	go func(s *Server, l net.Listener, served chan error) { served <- s.Serve(l) }(h.server, h.l, h.served)
}

// from connects as a client of that address.
func (h *house) from(addr string) net.Conn {
	here, there := net.Pipe()
	h.l.conns <- addressed{there, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 4321))}
	return here
}

// hears reads a line, "" at the end of the connection.
func hears(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Hour))
	line, err := bufio.NewReaderSize(c, 512).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

func (h *house) empty() {
	h.t.Helper()
	if err := h.server.Shutdown(context.Background()); err != nil {
		h.t.Errorf("Shutdown = %v", err)
	}
	if err := <-h.served; err != nil {
		h.t.Errorf("Serve = %v", err)
	}
	if h.cfg.Clients != nil {
		checkEmpty(h.t, h.cfg.Clients)
	}
}

const greeting = "220 mx.example.org ESMTP relay"

// Who is turned away hears why, and is let in when there is room again.
func TestTurnedAway(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits Limits
		want   string
	}{
		{"total", Limits{Connections: 1}, "421 4.3.2 mx.example.org too many connections, try again later"},
		{"address", Limits{ConnectionsPerAddress: 1}, "421 4.7.0 mx.example.org too many connections from your address, try again later"},
		{"network", Limits{ConnectionsPerNetwork: 1}, "421 4.7.0 mx.example.org too many connections from your network, try again later"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, func(c *Config) { c.Limits, c.Clients = tt.limits, NewClients() })
				first := h.from("192.0.2.1")
				if got := hears(t, first); got != greeting {
					t.Errorf("first hears %q", got)
				}
				second := h.from("192.0.2.1")
				if got := hears(t, second); got != tt.want {
					t.Errorf("second hears %q", got)
				}
				if got := hears(t, second); got != "" {
					t.Errorf("second also hears %q", got)
				}
				_ = first.Close()
				synctest.Wait()
				third := h.from("192.0.2.1")
				if got := hears(t, third); got != greeting {
					t.Errorf("third hears %q", got)
				}
				_ = third.Close()
				h.empty()
			})
		})
	}
}

// A change of configuration puts another Server in the place of this one: clients stay counted.
func TestCountsAreSharedOverReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.Limits.ConnectionsPerAddress, c.Clients = 1, NewClients() })
		first := h.from("192.0.2.1")
		hears(t, first)
		old, oldServed := h.server, h.served
		h.serve()
		if got := hears(t, h.from("192.0.2.1")); !strings.HasPrefix(got, "421 4.7.0") {
			t.Errorf("hears %q", got)
		}
		_ = first.Close()
		_ = old.Shutdown(context.Background())
		<-oldServed
		h.empty()
	})
}

// Under implicit TLS the reply is under TLS, too, and who does not shake hands is not waited for.
func TestTurnedAwayUnderTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.Limits.Connections, c.TLSMode = 1, Implicit })
		first := tls.Client(h.from("192.0.2.1"), &tls.Config{InsecureSkipVerify: true})
		if got := hears(t, first); got != greeting {
			t.Errorf("first hears %q", got)
		}
		second := tls.Client(h.from("192.0.2.2"), &tls.Config{InsecureSkipVerify: true})
		if got := hears(t, second); !strings.HasPrefix(got, "421 4.3.2 ") {
			t.Errorf("second hears %q", got)
		}
		silent := h.from("192.0.2.3")
		before := time.Now()
		if got := hears(t, silent); got != "" || time.Since(before) != turnAwayTime {
			t.Errorf("silent one hears %q after %v", got, time.Since(before))
		}
		_ = first.NetConn().Close()
		h.empty()
	})
}

// Neither does a missing certificate nor a fault at one of them reach anybody else.
func TestFaultsAtThoseTurnedAwayStayThere(t *testing.T) {
	for name, config := range map[string]func() *tls.Config{
		"no certificate": func() *tls.Config { return nil },
		"panic":          func() *tls.Config { panic("as asked") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clients := &Clients{max: 0, of: map[string]*crowd{}}
				h := newHouse(t, func(c *Config) { c.Clients, c.TLSMode, c.TLS = clients, Implicit, config })
				for range 2 {
					if got := hears(t, h.from("192.0.2.1")); got != "" {
						t.Errorf("hears %q", got)
					}
				}
				h.empty()
				if name == "panic" != strings.Contains(h.log.String(), "as asked") {
					t.Error(h.log.String())
				}
			})
		})
	}
}

// However many come, no more than some are heard out; the others are not held, nor are they when the
// relay goes down.
func TestFewAreHeardOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.Limits.Connections = 1 })
		first := h.from("192.0.2.1")
		hears(t, first)
		before := time.Now()
		for range 2 * turningAway {
			h.from("192.0.2.2") // it does not read
		}
		synctest.Wait()
		if n := h.server.turned.busy; n != turningAway {
			t.Errorf("%d are heard out, want %d", n, turningAway)
		}
		// A pipe has no room: each of the others was given its 10 ms.
		if took := time.Since(before); took > turningAway*10*time.Millisecond {
			t.Errorf("turned away in %v", took)
		}
		if got := hears(t, h.from("192.0.2.2")); !strings.HasPrefix(got, "421 4.3.2 ") {
			t.Errorf("last one hears %q", got)
		}
		_ = first.Close()
		synctest.Wait()
		before = time.Now()
		h.empty()
		if took := time.Since(before); took > 0 {
			t.Errorf("going down took %v", took)
		}
	})
}

// The log has one line a second for those who are turned away.
func TestTurnedAwayAreLoggedSometimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.Limits.ConnectionsPerAddress = 1 })
		first := h.from("192.0.2.1")
		hears(t, first)
		for range 5 {
			hears(t, h.from("192.0.2.1"))
		}
		time.Sleep(turnAwayLog)
		hears(t, h.from("192.0.2.1"))
		log := h.log.String()
		if n := strings.Count(log, `msg="connection refused"`); n != 2 || strings.Contains(log, "msg=session") {
			t.Errorf("%d lines:\n%s", n, log)
		}
		if want := "client=192.0.2.1 listener=test limit=limits.connections_per_address connections=1 more=4"; !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
		_ = first.Close()
		h.empty()
	})
}

// A proxy's connections are not its own, and their clients are held to the limits when they are
// known.
func TestThroughAProxyTheClientIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) {
			c.Limits.ConnectionsPerAddress, c.Clients = 1, NewClients()
			c.XClient = func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.1") }
		})
		for range 3 {
			if got := hears(t, h.from("192.0.2.1")); got != greeting {
				t.Errorf("hears %q", got)
			}
		}
		synctest.Wait()
		client, refused := netip.MustParseAddr("198.51.100.1"), 0
		for g := range h.server.gates {
			if err := g.admit(client); err != nil {
				refused++
			}
		}
		if refused != 2 || h.cfg.Clients.of["test"].by[netip.PrefixFrom(client, 32)] != 1 {
			t.Errorf("%d refused", refused)
		}
		h.empty()
	})
}
