package smtpserver

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/relay/relay/mail"
)

// attributes are those of an XCLIENT command, checked and decoded; "" stands for one that the hop does
// not know.
type attributes map[string]string

// change is the origin o with what is told of addresses and name. peer is the hop.
func (a attributes) change(o, peer origin) origin {
	if addr, ok := a["ADDR"]; ok {
		o.host = "" // it was another client's, as was the port
		o.remote = netip.AddrPortFrom(peer.remote.Addr(), 0)
		o.proxy = peer.remote.Addr()
		if addr != "" {
			o.remote = netip.AddrPortFrom(parsedAddr(addr), 0)
		}
		if addr != "" && o.remote.Addr() == peer.remote.Addr() {
			o.proxy = peer.proxy // it speaks for itself, with its own rights
		}
	}
	if port, ok := a["PORT"]; ok {
		o.remote = netip.AddrPortFrom(o.remote.Addr(), parsedPort(port))
	}
	if name, ok := a["NAME"]; ok && o.known() {
		o.host = name
	}
	if addr := a["DESTADDR"]; addr != "" {
		o.local = netip.AddrPortFrom(parsedAddr(addr), o.local.Port())
	}
	if port := a["DESTPORT"]; port != "" {
		o.local = netip.AddrPortFrom(o.local.Addr(), parsedPort(port))
	}
	return o
}

func parsedAddr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func parsedPort(s string) uint16 {
	n, _ := strconv.ParseUint(s, 10, 16)
	return uint16(n)
}

// xclientChecks are the attributes and what their values may be. An address comes back without its
// prefix.
var xclientChecks = map[string]func(value string) (string, error){
	"NAME": hostName, "ADDR": ipAddress, "PORT": port, "PROTO": protocolName, "HELO": printable, "LOGIN": printable,
	"DESTADDR": ipAddress, "DESTPORT": port,
}

// xclientKeyword is the line of the reply to EHLO.
const xclientKeyword = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// parseXClient reads the argument of XCLIENT.
func parseXClient(arg string) (attributes, error) {
	told := attributes{}
	for word := range strings.FieldsSeq(arg) {
		name, value, ok := strings.Cut(word, "=")
		if !ok || value == "" {
			return nil, errors.New("NAME=value expected")
		}
		name = strings.ToUpper(name)
		check, known := xclientChecks[name]
		if !known {
			return nil, errors.New("no such attribute")
		}
		if _, twice := told[name]; twice {
			return nil, errors.New(name + " is there twice")
		}
		value, err := xclientValue(value, check)
		if err != nil {
			return nil, fmt.Errorf("%s is %w", name, err)
		}
		told[name] = value
	}
	if len(told) == 0 {
		return nil, errors.New("attributes expected")
	}
	return told, nil
}

// xclientValue decodes and checks a value. What is unavailable comes in clear or encoded.
func xclientValue(s string, check func(string) (string, error)) (string, error) {
	s, ok := mail.DecodeXtext(s)
	switch {
	case !ok:
		return "", errors.New("no xtext")
	case strings.EqualFold(s, "[UNAVAILABLE]"), strings.EqualFold(s, "[TEMPUNAVAIL]"):
		return "", nil
	}
	return check(s)
}

func hostName(s string) (string, error) {
	s = strings.TrimSuffix(s, ".")
	if _, err := netip.ParseAddr(s); err == nil || len(s) > 255 || mail.CheckDomain(s) != nil {
		return "", errors.New("no name of a host")
	}
	return s, nil
}

func ipAddress(s string) (string, error) {
	const v6 = "IPV6:"
	tagged := len(s) > len(v6) && strings.EqualFold(s[:len(v6)], v6)
	if tagged {
		s = s[len(v6):]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is6() != tagged || a.Zone() != "" || a.Unmap().IsUnspecified() || a.Unmap().IsMulticast() {
		return "", errors.New("no address of a host: 192.0.2.1 or IPV6:2001:db8::1 expected")
	}
	return a.Unmap().String(), nil
}

func port(s string) (string, error) {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || strconv.FormatUint(n, 10) != s {
		return "", errors.New("no port number")
	}
	return s, nil
}

// protocolName is checked and not used: how the client spoke to the hop is the hop's to write down, in its
// Received field.
func protocolName(s string) (string, error) {
	if s = strings.ToUpper(s); s != "SMTP" && s != "ESMTP" {
		return "", errors.New("neither SMTP nor ESMTP")
	}
	return s, nil
}

func printable(s string) (string, error) {
	if s = strings.TrimSpace(s); s == "" || len(s) > 255 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", errors.New("empty, too long, or has what cannot be printed")
	}
	return s, nil
}
