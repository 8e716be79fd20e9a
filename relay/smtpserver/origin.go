package smtpserver

import (
	"net"
	"net/netip"
)

// origin is where a session comes from. Rights, limits, log and agents go by it.
type origin struct {
	// remote is the client: whom PROXY or XCLIENT told, else who has connected. Of a proxy that speaks
	// for itself, or that does not know its client, it is the proxy.
	remote netip.AddrPort
	host   string         // its name, as a trusted hop has told it; "": not known
	local  netip.AddrPort // where the client has connected to
	proxy  netip.Addr     // who told us; not valid: nobody, remote has connected itself
}

// connected is the origin of a connection of which nothing was told.
func connected(c net.Conn) origin {
	return origin{remote: remoteOf(c), local: addrPort(c.LocalAddr())}
}

func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(*net.TCPAddr); ok {
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// known reports whether remote is a client, and not a proxy with nobody behind it: that one has no
// rights, and is not counted.
func (o origin) known() bool { return !o.proxy.IsValid() || o.proxy != o.remote.Addr() }

// admitOrigin counts the session under the client that it comes from. One that is not known is counted
// under none: all that come so would be taken for one client.
func (g *gate) admitOrigin(o origin) error {
	if !o.known() || !o.remote.IsValid() {
		return g.admit(netip.Addr{})
	}
	return g.admit(o.remote.Addr())
}

// has reports a right of the client: whether it is in one of the three lists, nil being empty.
func (o origin) has(right func(netip.Addr) bool) bool {
	return right != nil && o.known() && right(o.remote.Addr())
}
