package smtpserver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"time"

	"github.com/pires/go-proxyproto"

	"example.org/relay/relay/event"
)

// The PROXY protocol, versions 1 and 2 (proxy-protocol.txt of HAProxy).

// proxyTime is how long a proxy may take for its header, which it sends with its first octets.
const proxyTime = 10 * time.Second

// maxProxyLine is the longest header of version 1, CRLF included (§2.1). Those of version 2 may have
// maxLine octets, enough for a client's certificate.
const maxProxyLine = 107

func init() {
	// nginx tells an IPv4 address so where the other one of the line is IPv6.
	proxyproto.V1AcceptIPv4InTCP6 = true
}

// readProxy takes the PROXY header that a proxy must begin with, and reports whether the session may
// go on. Without a header there is no telling who is there, so nothing is said to it.
func (g *gate) readProxy() bool {
	g.proxy = g.remote.Addr()
	h, err := g.proxyHeader()
	if err == nil {
		g.origin, err = g.behind(h)
	}
	if err == nil {
		return true
	}
	level := slog.LevelWarn
	if errors.Is(err, errSilent) || errors.Is(err, errDraining) {
		level = slog.LevelDebug
	}
	g.s.cfg.Log.Log(g.ctx, level, "no PROXY header, connection closed",
		"session", g.id, "proxy", g.proxy.String(), "listener", g.s.cfg.Listener, "error", err.Error())
	g.hangUp(event.DisconnectHostClosed)
	return false
}

// errSilent is a connection that was made and closed: a load balancer looks whether we are there.
var errSilent = errors.New("closed without an octet")

// proxyHeader reads the header, in whatever pieces it comes. What follows it stays in g.in.
func (g *gate) proxyHeader() (*proxyproto.Header, error) {
	limit := min(proxyTime, g.s.cfg.Limits.CommandTimeout)
	deadline := time.Now().Add(limit)
	for {
		h, size, err := parseProxy(g.in.unused())
		if h != nil || err != nil {
			g.in.r += size
			return h, err
		}
		err = g.fill(deadline, true)
		switch {
		case err == nil:
		case errors.Is(err, io.ErrUnexpectedEOF) && len(g.in.unused()) == 0:
			return nil, errSilent
		case errors.Is(err, errDraining):
			return nil, err
		default:
			return nil, fmt.Errorf("%d octets of a header within %v: %w", len(g.in.unused()), limit, err)
		}
	}
}

// behind is the origin that a header tells.
func (g *gate) behind(h *proxyproto.Header) (origin, error) {
	o := origin{remote: g.remote, local: g.local, proxy: g.remote.Addr()}
	// LOCAL is the proxy itself, as is UNKNOWN by all we can tell. Who came to it by a Unix socket has no address.
	if h.Command.IsLocal() || h.TransportProtocol.IsUnix() {
		return o, nil
	}
	client, server, ok := h.TCPAddrs()
	if !ok {
		return o, errors.New("PROXY for what is no TCP connection")
	}
	o.remote, o.local = unmap(client.AddrPort()), unmap(server.AddrPort())
	if a := o.remote.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return o, fmt.Errorf("PROXY for a client at %v", a)
	}
	return o, nil
}

// parseProxy takes the header that b begins with, and its size. The header is nil where it is not
// all there yet.
func parseProxy(b []byte) (*proxyproto.Header, int, error) {
	size, err := proxySize(b)
	if err != nil || size == 0 || size > len(b) {
		return nil, 0, err
	}
	b = b[:size]
	// Room for the whole line: the parser takes no header that comes in pieces.
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), maxProxyLine+1))
	if err != nil {
		return nil, 0, err
	}
	if h.Version == 2 {
		err = checkProxySum(h, b)
	}
	if err != nil {
		return nil, 0, err
	}
	return h, size, nil
}

var (
	errNoProxy      = errors.New("what came is no PROXY header")
	errLongProxy    = errors.New("PROXY header too long")
	proxySignature1 = []byte("PROXY ")
)

// proxyFixed is the part of a header of version 2 that all have; the last two octets are the size of
// the rest.
const proxyFixed = 16

// proxySize is the size of the header that b begins with, 0 where b is too short to tell.
func proxySize(b []byte) (int, error) {
	switch {
	case begins(b, proxySignature1):
		end := bytes.IndexByte(b[:min(len(b), maxProxyLine)], '\n')
		if end < 0 && len(b) >= maxProxyLine {
			return 0, errLongProxy
		}
		return end + 1, nil
	case begins(b, proxyproto.SIGV2):
		if len(b) < proxyFixed {
			return 0, nil
		}
		size := proxyFixed + int(binary.BigEndian.Uint16(b[proxyFixed-2:]))
		if size > maxLine {
			return 0, errLongProxy
		}
		return size, nil
	}
	return 0, errNoProxy
}

// begins reports whether b begins with the signature, as far as b goes.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkProxySum looks through the TLVs of a header of version 2 for a checksum, and checks that (§2.2.4).
// All others say nothing that we need.
func checkProxySum(h *proxyproto.Header, b []byte) error {
	at := proxyFixed
	switch b[13] >> 4 { // the family of the addresses
	case 1:
		at += 12
	case 2:
		at += 36
	case 3:
		at += 216
	}
	for at+3 <= len(b) {
		kind, value := proxyproto.PP2Type(b[at]), at+3
		at = value + int(binary.BigEndian.Uint16(b[at+1:]))
		if kind != proxyproto.PP2_TYPE_CRC32C || at > len(b) {
			continue
		}
		if at-value != 4 {
			return errors.New("PROXY header with a checksum that is none")
		}
		sum := crc32.Update(0, castagnoli, b[:value])
		sum = crc32.Update(sum, castagnoli, make([]byte, 4))
		if crc32.Update(sum, castagnoli, b[at:]) != binary.BigEndian.Uint32(b[value:]) {
			return errors.New("PROXY header with a wrong checksum")
		}
	}
	// What LOCAL has in place of addresses is to be skipped, whatever it is.
	if at != len(b) && !h.Command.IsLocal() {
		return errors.New("PROXY header with broken TLVs")
	}
	return nil
}
