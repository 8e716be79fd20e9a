package smtpserver

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var parsedHop = netip.AddrPortFrom(hop, 40000)

func TestXClientValues(t *testing.T) {
	for _, tt := range []struct{ arg, want string }{
		{"NAME=client.example.org", "NAME=client.example.org"},
		{"name=client.example.org.", "NAME=client.example.org"},
		{"ADDR=192.0.2.1  PORT=0", "ADDR=192.0.2.1 PORT=0"},
		{"ADDR=ipv6:2001:DB8::1", "ADDR=2001:db8::1"},
		{"ADDR=IPv6:::ffff:192.0.2.1", "ADDR=192.0.2.1"},
		{"DESTADDR=203.0.113.25 DESTPORT=25", "DESTADDR=203.0.113.25 DESTPORT=25"},
		{"ADDR=[unavailable] NAME=[TempUnavail] LOGIN=+5BUNAVAILABLE+5D", "ADDR= LOGIN= NAME="},
		{"HELO=a+20b+2Bc LOGIN=J+c3+b6rg PROTO=esmtp", "HELO=a b+c LOGIN=Jörg PROTO=ESMTP"},
		{"LOGIN=" + strings.Repeat("x", 255), "LOGIN=" + strings.Repeat("x", 255)},
		{"LOGIN=" + strings.Repeat("x", 256), "error"},
		{"ADDR=IPV6:fe80::1%eth0", "error"},
		{"ADDR=IPV6:", "error"},
		{"ADDR=192.0.2.1%x", "error"},
		{"ADDR=224.0.0.1", "error"},
		{"PORT=-1", "error"},
		{"PORT=025", "error"},
		{"NAME=[192.0.2.1]", "error"},
		{"NAME=IPV6:2001:db8::1", "error"},
		{"NAME==", "error"},
		{"LOGIN=a+", "error"},
		{"LOGIN=a+1", "error"},
		{"LOGIN=a+GG", "error"},
		{"LOGIN=a+00", "error"},
		{"HELO=x HELO=x", "error"},
		{"=x", "error"},
	} {
		if got := printed(parseXClient(tt.arg)); got != tt.want {
			t.Errorf("XCLIENT %s = %s, want %s", tt.arg, got, tt.want)
		}
	}
}

func printed(told attributes, err error) string {
	if err != nil {
		return "error"
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(told)) {
		all = append(all, name+"="+told[name])
	}
	return strings.Join(all, " ")
}

// FuzzXClient: what is taken can be printed, comes to an origin that stands for somebody, and means the same when
// it is told again.
func FuzzXClient(f *testing.F) {
	for _, s := range []string{
		"NAME=client.example.org ADDR=192.0.2.1 PORT=25 PROTO=ESMTP HELO=client+2Eexample.org LOGIN=user DESTADDR=IPV6:::1 DESTPORT=25",
		"ADDR=[UNAVAILABLE] NAME=+5BTEMPUNAVAIL+5D", "ADDR=IPV6:2001:db8::1", "LOGIN=+C3+B6", "ADDR=198.51.100.7",
	} {
		f.Add(s)
	}
	peer := origin{remote: parsedHop, local: parsedHop}
	f.Fuzz(func(t *testing.T, arg string) {
		told, err := parseXClient(arg)
		if err != nil {
			return
		}
		var again []string
		for name, value := range told {
			if strings.ContainsFunc(value, unicode.IsControl) || len(value) > 255 {
				t.Fatalf("%s=%q", name, value)
			}
			switch {
			case value == "":
				value = "[UNAVAILABLE]"
			case strings.HasSuffix(name, "ADDR") && strings.Contains(value, ":"):
				value = "IPV6:" + value
			}
			again = append(again, name+"="+encodeXtext(value))
		}
		twice, err := parseXClient(strings.Join(again, " "))
		if err != nil || !maps.Equal(told, twice) {
			t.Fatalf("%q = %v; again %q = %v, %v", arg, told, again, twice, err)
		}
		o := told.change(peer, peer)
		if !o.remote.Addr().IsValid() || o.remote.Addr() != hop && o.proxy != hop {
			t.Fatalf("%q = %+v", arg, o)
		}
		if _, ok := told["ADDR"]; ok && told["ADDR"] == "" && o.known() {
			t.Fatalf("%q: a client without an address is known: %+v", arg, o)
		}
	})
}

func encodeXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			b.WriteString("+" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
		}
	}
	return b.String()
}
