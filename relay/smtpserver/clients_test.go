package smtpserver

import (
	"net/netip"
	"testing"
)

// A step is an address that connects, or with "-" before it one of its connections that ends.
func TestConnectionsAreCounted(t *testing.T) {
	tests := []struct {
		name   string
		max    int
		limits Limits
		steps  []string
		want   []barrier
	}{
		{"no limits", 9, Limits{}, []string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, nil},
		{"descriptors", 2, Limits{Connections: 5}, []string{"192.0.2.1", "2001:db8::1", "192.0.2.3", "-192.0.2.1", "192.0.2.3"},
			[]barrier{"", "", descriptorBarrier, "", ""}},
		{"in total", 9, Limits{Connections: 2}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "-192.0.2.1", "192.0.2.3"},
			[]barrier{"", "", connectionsBarrier, "", ""}},
		{"address", 9, Limits{ConnectionsPerAddress: 2},
			[]string{"192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "-192.0.2.1", "192.0.2.1"},
			[]barrier{"", "", "", addressBarrier, addressBarrier, "", ""}},
		{"IPv6 address", 9, Limits{ConnectionsPerAddress: 1},
			[]string{"2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1", "-2001:db8::1", "2001:db8::2"},
			[]barrier{"", addressBarrier, "", "", ""}},
		{"network", 9, Limits{ConnectionsPerNetwork: 2},
			[]string{"192.0.2.1", "192.0.2.255", "192.0.2.3", "192.0.3.1", "-192.0.2.1", "192.0.2.3"},
			[]barrier{"", "", networkBarrier, "", "", ""}},
		{"IPv6 network", 9, Limits{ConnectionsPerNetwork: 2},
			[]string{"2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:ffff::1", "2001:db8:1::1"},
			[]barrier{"", "", networkBarrier, ""}},
		{"no address", 9, Limits{ConnectionsPerAddress: 1, ConnectionsPerNetwork: 1}, []string{"", "", "-"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Clients{max: tt.max, of: map[string]*crowd{}}
			here := map[netip.Addr][]visit{}
			for i, step := range tt.steps {
				want := noBarrier
				if tt.want != nil {
					want = tt.want[i]
				}
				addr, leaves := parseStep(step)
				if leaves {
					c.leave(here[addr][0])
					here[addr] = here[addr][1:]
					continue
				}
				v, b := enterAs(c, "test", addr, tt.limits)
				if b == noBarrier {
					here[addr] = append(here[addr], v)
				}
				if b != want {
					t.Errorf("step %d, %s: barrier %q, want %q", i, step, b, want)
				}
			}
			for _, vs := range here {
				for _, v := range vs {
					c.leave(v)
				}
			}
			checkEmpty(t, c)
		})
	}
}

func parseStep(s string) (addr netip.Addr, leaves bool) {
	if s != "" && s[0] == '-' {
		s, leaves = s[1:], true
	}
	if s == "" {
		return netip.Addr{}, leaves
	}
	return netip.MustParseAddr(s), leaves
}

func enterAs(c *Clients, listener string, addr netip.Addr, l Limits) (visit, barrier) {
	v, b := c.enter(listener, l)
	if b != noBarrier {
		return v, b
	}
	if v, b = c.admit(v, addr, l); b != noBarrier {
		c.leave(v)
	}
	return v, b
}

func checkEmpty(t *testing.T, c *Clients) {
	t.Helper()
	if c.total != 0 || len(c.of) != 0 {
		t.Errorf("all have left: total %d, listeners %v", c.total, c.of)
	}
}

// A connection is one client's at a time: who is told by PROXY or XCLIENT takes the place of whoever
// it was before.
func TestConnectionMovesToItsRealClient(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	l := Limits{ConnectionsPerAddress: 1, ConnectionsPerNetwork: 2}
	c := &Clients{max: 9, of: map[string]*crowd{}}
	first, _ := enterAs(c, "test", a, l)
	second, _ := c.enter("test", l)
	if _, b := c.admit(second, a, l); b != addressBarrier {
		t.Errorf("second connection of an address: %q", b)
	}
	second, _ = c.admit(second, b, l)
	if first, _ = c.admit(first, a, l); first.address.Addr() != a {
		t.Errorf("stays with %v", first)
	}
	if moved, barrier := c.admit(second, netip.MustParseAddr("192.0.2.3"), l); barrier != noBarrier {
		t.Errorf("move within a full network: %q", barrier)
	} else {
		second = moved
	}
	c.leave(first)
	c.leave(second)
	checkEmpty(t, c)
}

// Listeners are counted for themselves, by their names: a Server that takes over a listener
// takes over its clients.
func TestListenersAreCountedApart(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	l := Limits{Connections: 1}
	c := &Clients{max: 9, of: map[string]*crowd{}}
	one, _ := enterAs(c, "one", a, l)
	if _, b := enterAs(c, "one", a, l); b != connectionsBarrier {
		t.Errorf("again: %q", b)
	}
	two, b := enterAs(c, "two", a, l)
	if b != noBarrier || c.Count("one") != 1 || c.Count("two") != 1 || c.Count("three") != 0 {
		t.Errorf("other listener: %q, %d, %d, %d", b, c.Count("one"), c.Count("two"), c.Count("three"))
	}
	c.leave(one)
	c.leave(two)
	checkEmpty(t, c)
}

func TestSessionsFitTheDescriptors(t *testing.T) {
	for _, tt := range []struct {
		descriptors    uint64
		outgoing, want int
	}{
		{0, 0, 1}, {4, 0, 1}, {64, 0, 24}, {1024, 0, 384}, {524_288, 0, 262_016}, {1<<64 - 1, 0, 2_097_024},
		{0, 5, 1}, {64, 1000, 24}, {1024, 100, 668}, {20_000, 200, 19_544},
	} {
		if got := sessionsFor(tt.descriptors, tt.outgoing); got != tt.want {
			t.Errorf("sessionsFor(%d, %d) = %d, want %d", tt.descriptors, tt.outgoing, got, tt.want)
		}
	}
}

// Whatever comes, moves and goes in whatever order: no count is ever below what is there, none is
// above a limit, and in the end all are zero.
func FuzzClients(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add([]byte("connections come and go, and some of them move"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		addrs := []netip.Addr{
			{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("::ffff:192.0.2.1"),
			netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("fe80::1%lo"),
		}
		l := Limits{Connections: 6, ConnectionsPerAddress: 2, ConnectionsPerNetwork: 3}
		c := &Clients{max: 8, of: map[string]*crowd{}}
		var here []visit
		for i, op := range ops {
			addr := addrs[int(op>>2)%len(addrs)]
			switch k := i * int(op); {
			case op&3 < 2:
				if v, b := enterAs(c, "ab"[op&1:op&1+1], addr, l); b == noBarrier {
					here = append(here, v)
				}
			case len(here) == 0:
			case op&3 == 2:
				k %= len(here)
				here[k], _ = c.admit(here[k], addr, l)
			default:
				k %= len(here)
				c.leave(here[k])
				here = append(here[:k], here[k+1:]...)
			}
			checkCounts(t, c, here, l)
		}
		for _, v := range here {
			c.leave(v)
		}
		checkEmpty(t, c)
	})
}

// checkCounts counts anew.
func checkCounts(t *testing.T, c *Clients, here []visit, l Limits) {
	t.Helper()
	total, by := map[string]int{}, map[string]map[netip.Prefix]int{}
	for _, v := range here {
		total[v.listener]++
		if by[v.listener] == nil {
			by[v.listener] = map[netip.Prefix]int{}
		}
		if v.address.IsValid() {
			by[v.listener][v.address]++
			by[v.listener][v.network]++
		}
	}
	if c.total != len(here) || c.total > c.max || len(c.of) != len(total) {
		t.Fatalf("total %d of %d at %d listeners, want %d", c.total, c.max, len(c.of), len(here))
	}
	for name, of := range c.of {
		if of.total != total[name] || of.total > l.Connections || len(of.by) != len(by[name]) {
			t.Fatalf("%s: %+v, want %d %v", name, of, total[name], by[name])
		}
		for p, n := range of.by {
			most := l.ConnectionsPerNetwork
			if p.Bits() == addressBits4 || p.Bits() == addressBits6 {
				most = l.ConnectionsPerAddress
			}
			if n != by[name][p] || n > most {
				t.Fatalf("%s: %v is there %d times, want %d, at most %d", name, p, n, by[name][p], most)
			}
		}
	}
}

// Where few connections go out, more can come in; who is there already stays.
func TestOutgoingConnectionsLeaveTheirDescriptors(t *testing.T) {
	c := NewClients()
	all := c.Max()
	c.SetOutgoing(1)
	if got := c.Max(); got <= all {
		t.Errorf("at most %d, and %d where one goes out", all, got)
	}
	v, _ := c.enter("one", Limits{})
	c.SetOutgoing(0)
	if got := c.Max(); got != all {
		t.Errorf("at most %d again, want %d", got, all)
	}
	c.leave(v)
	checkEmpty(t, c)
}
