package smtpserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pires/go-proxyproto"
)

// v2 is a header of version 2: command, family and what follows the fixed part.
func v2(command, family byte, rest string) string {
	b := append([]byte(nil), proxyproto.SIGV2...)
	b = append(b, command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(b) + rest
}

// tlv is one of the fields behind the addresses.
func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed puts the right checksum into a header that ends with an empty one.
func summed(header string) string {
	b := []byte(header)
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

const (
	ip4   = "\xc0\x00\x02\x01\xcb\x00\x71\x19\xdc\x04\x00\x19" // 192.0.2.1:56324 to 203.0.113.25:25
	ip6   = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19\xdc\x04\x00\x19"
	noSum = "\x00\x00\x00\x00"
)

// proxyHeaders are headers and what they come to: the client they tell, "proxy", or a part of the error.
var proxyHeaders = []struct{ name, header, want string }{
	{"TCP4", "PROXY TCP4 192.0.2.1 203.0.113.25 56324 25\r\n", "192.0.2.1:56324"},
	{"TCP6", "PROXY TCP6 2001:db8::1 2001:db8::19 56324 25\r\n", "[2001:db8::1]:56324"},
	{"TCP6 with a mapped address", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::19 56324 25\r\n", "192.0.2.1:56324"},
	{"TCP6 with an IPv4 address", "PROXY TCP6 192.0.2.1 2001:db8::19 56324 25\r\n", "192.0.2.1:56324"},
	{"UNKNOWN", "PROXY UNKNOWN\r\n", "proxy"},
	{"UNKNOWN with more", "PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n", "proxy"},
	{"TCP4 with an IPv6 address", "PROXY TCP4 2001:db8::1 203.0.113.25 56324 25\r\n", "invalid address"},
	{"a name", "PROXY TCP4 client.example.org 203.0.113.25 56324 25\r\n", "invalid address"},
	{"a port too high", "PROXY TCP4 192.0.2.1 203.0.113.25 65536 25\r\n", "invalid port"},
	{"a word too few", "PROXY TCP4 192.0.2.1 203.0.113.25 56324\r\n", "address family"},
	{"a word too many", "PROXY TCP4 192.0.2.1 203.0.113.25 56324 25 x\r\n", "address family"},
	{"two spaces", "PROXY  TCP4 192.0.2.1 203.0.113.25 56324 25\r\n", "address family"},
	{"no family", "PROXY \r\n", "address family"},
	{"bare LF", "PROXY TCP4 192.0.2.1 203.0.113.25 56324 25\n", "must end with"},
	{"small letters", "proxy TCP4 192.0.2.1 203.0.113.25 56324 25\r\n", errNoProxy.Error()},
	{"no line", "PROXY UNKNOWN " + strings.Repeat("x", 93), errLongProxy.Error()},
	{"no address", "PROXY TCP4 0.0.0.0 203.0.113.25 56324 25\r\n", "client at 0.0.0.0"},
	{"a multicast address", "PROXY TCP6 ff02::1 2001:db8::19 56324 25\r\n", "client at ff02::1"},
	{"SMTP", "EHLO client.example.org\r\n", errNoProxy.Error()},
	{"an empty line", "\r\n", errNoProxy.Error()},
	{"two empty lines and SMTP", "\r\n\r\nEHLO", errNoProxy.Error()},

	{"version 2, IPv4", v2(0x21, 0x11, ip4), "192.0.2.1:56324"},
	{"version 2, IPv6", v2(0x21, 0x21, ip6), "[2001:db8::1]:56324"},
	{"version 2, a mapped address", v2(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x01"+ip6[16:]), "192.0.2.1:56324"},
	{"version 2, LOCAL", v2(0x20, 0x00, ""), "proxy"},
	{"version 2, LOCAL with what is to be skipped", v2(0x20, 0x11, "abc"), "proxy"},
	{"version 2, LOCAL with an address", v2(0x20, 0x11, ip4), "proxy"},
	{"version 2, a Unix socket", v2(0x21, 0x31, strings.Repeat("\x00", 216)), "proxy"},
	{"version 2, UDP", v2(0x21, 0x12, ip4), "no TCP connection"},
	{"version 2, no family", v2(0x21, 0x00, ""), "unsupported address family"},
	{"version 2, a family that is none", v2(0x21, 0x41, ip4), "unsupported address family"},
	{"version 2, a command that is none", v2(0x22, 0x11, ip4), "unsupported proxy protocol version and command"},
	{"version 3", v2(0x31, 0x11, ip4), "unsupported proxy protocol version and command"},
	{"version 2, an address too short", v2(0x21, 0x11, ip4[:11]), "invalid length"},
	{"version 2, TLVs", v2(0x21, 0x11, ip4+tlv(4, "")+tlv(0xe0, "abc")+tlv(0x20, "\x00\x00\x00\x00\x00")), "192.0.2.1:56324"},
	{"version 2, a TLV cut short", v2(0x21, 0x11, ip4+"\x04\x00\x03ab"), "broken TLVs"},
	{"version 2, an octet too many", v2(0x21, 0x11, ip4+"\x04"), "broken TLVs"},
	{"version 2, a checksum", summed(v2(0x21, 0x11, ip4+tlv(0xe0, "abc")+tlv(3, noSum))), "192.0.2.1:56324"},
	{"version 2, a checksum of LOCAL", summed(v2(0x20, 0x00, tlv(3, noSum))), "proxy"},
	{"version 2, a wrong checksum", v2(0x21, 0x11, ip4+tlv(3, "abcd")), "wrong checksum"},
	{"version 2, a wrong checksum of LOCAL", v2(0x20, 0x00, tlv(3, "abcd")), "wrong checksum"},
	{"version 2, a checksum that is too short", v2(0x21, 0x11, ip4+tlv(3, "abc")), "checksum that is none"},
	{"version 2, as long as may be", v2(0x21, 0x11, ip4+tlv(0xe0, strings.Repeat("x", maxLine-16-12-3))), "192.0.2.1:56324"},
	{"version 2, too long", v2(0x21, 0x11, strings.Repeat("x", maxLine-15)), errLongProxy.Error()},
}

// tellOf reads a header that comes in pieces of a size, with more behind it.
func tellOf(header string, piece int) (told, rest string, failed bool) {
	g := &gate{in: newInput(), origin: origin{remote: parsedHop, local: parsedHop}}
	stream := header + "EHLO"
	var err error
	for got := 0; ; {
		var h *proxyproto.Header
		var size int
		if h, size, err = parseProxy([]byte(stream[:got])); err != nil {
			break
		}
		if h != nil {
			var o origin
			if o, err = g.behind(h); err != nil {
				break
			}
			if !o.known() {
				return "proxy", stream[size:], false
			}
			return o.remote.String(), stream[size:], false
		}
		if got == len(stream) {
			return "", stream, false
		}
		got = min(got+piece, len(stream))
	}
	return err.Error(), "", true
}

func TestProxyHeaders(t *testing.T) {
	for _, tt := range proxyHeaders {
		for _, piece := range []int{1, 7, 1 << 20} {
			told, rest, failed := tellOf(tt.header, piece)
			if !strings.Contains(told, tt.want) {
				t.Errorf("%s, in pieces of %d: %q, want %q", tt.name, piece, told, tt.want)
			}
			if !failed && rest != "EHLO" {
				t.Errorf("%s, in pieces of %d: %q is left", tt.name, piece, rest)
			}
		}
	}
}

// FuzzProxyHeader: a header means the same in whatever pieces it comes, and what the library finds in the whole.
func FuzzProxyHeader(f *testing.F) {
	for _, tt := range proxyHeaders {
		f.Add([]byte(tt.header+"EHLO client.example.org\r\n"), 3)
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		if len(stream) > 2*maxLine {
			return
		}
		piece = max(1, min(piece, len(stream)))
		whole, size, wholeErr := parseProxy(stream)
		var h *proxyproto.Header
		var n int
		var err error
		for got := 0; h == nil && err == nil && got < len(stream); {
			got = min(got+piece, len(stream))
			h, n, err = parseProxy(stream[:got])
		}
		if (h == nil) != (whole == nil) || n != size || (err == nil) != (wholeErr == nil) || h != nil && !h.EqualsTo(whole) {
			t.Fatalf("in pieces of %d: %v %d %v; at once: %v %d %v", piece, h, n, err, whole, size, wholeErr)
		}
		if h == nil {
			return
		}
		r := bufio.NewReaderSize(bytes.NewReader(stream), 4*maxLine)
		theirs, err := proxyproto.Read(r)
		if err != nil || !theirs.EqualsTo(h) {
			t.Fatalf("the library finds %v, %v; we %v", theirs, err, h)
		}
		if rest, _ := io.ReadAll(r); !bytes.Equal(rest, stream[n:]) {
			t.Fatalf("%q is left; %q with the library", stream[n:], rest)
		}
		g := &gate{origin: origin{remote: parsedHop}}
		if o, err := g.behind(h); err == nil && !o.remote.IsValid() {
			t.Fatalf("%v has no client", h)
		}
		if _, _, err := parseProxy(append([]byte("X"), stream...)); !errors.Is(err, errNoProxy) {
			t.Fatal("a header behind something else")
		}
	})
}

// headed puts a header before the first octets that are written, in the same segment.
type headed struct {
	net.Conn
	header string
}

func (c *headed) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(append([]byte(c.header), p...))
	n, c.header = n-len(c.header), ""
	return n, err
}

// A TLS handshake that came together with the header is not lost.
func TestProxyHeaderAndHandshakeInOneSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		p.cfg.TLSMode, p.cfg.Proxy = Implicit, isHop
		p.start()
		c := tls.Client(&headed{p.conn, "PROXY TCP4 192.0.2.1 203.0.113.9 56324 465\r\n"}, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		p.conn = c
		go p.receive(c)
		if err := p.swallow("220 "); err != nil {
			t.Error(err)
		}
		p.stop()
	})
}
