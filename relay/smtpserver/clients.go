package smtpserver

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// Clients knows how many connections each client has, over the Servers of all listeners and those
// that a change of configuration has put in their place. Safe for concurrent use.
type Clients struct {
	logins loginFailures

	mu    sync.Mutex
	max   int // of all listeners together: what the descriptors allow
	total int
	of    map[string]*crowd // by listener; only those that somebody is connected to
}

// crowd is who is connected to one listener.
type crowd struct {
	total int
	// by counts each client and each network that has a connection. The two never meet: they
	// differ in their bits. Invariant: no count is below 1.
	by map[netip.Prefix]int
}

// What counts as one client and as one network. Whoever has an IPv6 address has 2^64 of them
// (RFC 7421), and a site is given a /48 (RFC 6177).
const (
	addressBits4, networkBits4 = 32, 24
	addressBits6, networkBits6 = 64, 48
)

// visit is the place that one connection has in the counts.
type visit struct {
	listener string
	// address and network are those it is counted under; invalid: under none, since it is not
	// known yet for whom it speaks, or it has no address.
	address, network netip.Prefix
}

// barrier is the limit that a connection would break, by its name in the configuration; "":
// none.
type barrier string

const (
	noBarrier          barrier = ""
	descriptorBarrier  barrier = "descriptors"
	connectionsBarrier barrier = "limits.connections"
	addressBarrier     barrier = "limits.connections_per_address"
	networkBarrier     barrier = "limits.connections_per_network"
)

// NewClients makes one that knows of nobody. It lets in no more than the descriptors of the process
// allow.
func NewClients() *Clients {
	return &Clients{max: sessionsFor(openFiles(), 0), of: map[string]*crowd{}}
}

// SetOutgoing says how many connections to next hops there may be at a time, so that so many
// descriptors are kept for them; 0: one for each session. It holds for those who come from now on.
func (c *Clients) SetOutgoing(most int) {
	n := sessionsFor(openFiles(), most)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max = n
}

// Max is how many connections there may be at a time, to all listeners together, so that neither
// Accept nor a next hop's connection runs out of descriptors.
func (c *Clients) Max() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max
}

// Count is how many connections a listener has.
func (c *Clients) Count(listener string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of := c.of[listener]; of != nil {
		return of.total
	}
	return 0
}

// enter counts a connection that has come.
func (c *Clients) enter(listener string, l Limits) (visit, barrier) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of[listener]
	switch {
	case c.total >= c.max:
		return visit{}, descriptorBarrier
	case of != nil && l.Connections > 0 && of.total >= l.Connections:
		return visit{}, connectionsBarrier
	case of == nil:
		of = &crowd{by: map[netip.Prefix]int{}}
		c.of[listener] = of
	}
	c.total++
	of.total++
	return visit{listener: listener}, noBarrier
}

// admit counts a connection under addr, in place of whoever it was counted under. Where there is a
// barrier, it leaves v as it is.
func (c *Clients) admit(v visit, addr netip.Addr, l Limits) (visit, barrier) {
	address, network := groups(addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of[v.listener]
	// Not against itself, where it moves within a network.
	others := func(p, own netip.Prefix) int {
		if n := of.by[p]; p != own {
			return n
		}
		return of.by[p] - 1
	}
	switch {
	case !address.IsValid():
	case l.ConnectionsPerAddress > 0 && others(address, v.address) >= l.ConnectionsPerAddress:
		return v, addressBarrier
	case l.ConnectionsPerNetwork > 0 && others(network, v.network) >= l.ConnectionsPerNetwork:
		return v, networkBarrier
	}
	of.drop(v)
	if address.IsValid() {
		of.by[address]++
		of.by[network]++
	}
	v.address, v.network = address, network
	return v, noBarrier
}

// leave ends a visit. Once for each.
func (c *Clients) leave(v visit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of[v.listener]
	of.drop(v)
	c.total--
	if of.total--; of.total == 0 {
		delete(c.of, v.listener) // its maps have grown with the crowd
	}
}

func (of *crowd) drop(v visit) {
	if !v.address.IsValid() {
		return
	}
	for _, p := range [...]netip.Prefix{v.address, v.network} {
		if of.by[p]--; of.by[p] == 0 {
			delete(of.by, p)
		}
	}
}

// groups are the client and the network that an address belongs to; invalid for none.
func groups(addr netip.Addr) (address, network netip.Prefix) {
	if !addr.IsValid() {
		return address, network
	}
	addr = addr.Unmap()
	bits, wider := addressBits6, networkBits6
	if addr.Is4() {
		bits, wider = addressBits4, networkBits4
	}
	address, _ = addr.Prefix(bits)
	network, _ = addr.Prefix(wider)
	return address, network
}

// openFiles is how many descriptors the process may have: at the start, Go has raised its soft
// limit to the hard one.
func openFiles() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024 // the kernel's own default
	}
	return r.Cur
}

// otherDescriptors are for agents (six each), listeners, commands, files and the connections
// that are turned away.
const otherDescriptors = 256

// sessionsFor is how many sessions fit into so many descriptors: each takes one, and one more for the
// next hop, of which there are at most so many; outgoing 0 is any number.
func sessionsFor(descriptors uint64, outgoing int) int {
	n := int(min(descriptors, 4<<20)) // "unlimited" is a very large number
	n -= min(otherDescriptors, n/4)
	kept := (n + 1) / 2
	if outgoing > 0 {
		kept = min(kept, outgoing)
	}
	return max(n-kept, 1)
}
