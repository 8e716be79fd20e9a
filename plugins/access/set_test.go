package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// A question costs a few looks into a map, however long the list is.
func TestAQuestionDoesNotCostMoreInALongList(t *testing.T) {
	const entries = 100_000
	var clients, senders strings.Builder
	for i := range entries {
		fmt.Fprintf(&clients, "10.%d.%d.%d/%d\n", i>>16, i>>8&255, i&^1&255, 31+i%2)
		switch i % 3 {
		case 0:
			fmt.Fprintf(&senders, "user%d@spam%d.example\n", i, i)
		case 1:
			fmt.Fprintf(&senders, "*.spam%d.example\n", i)
		default:
			fmt.Fprintf(&senders, "spam%d.example\n", i)
		}
	}
	networks, err := readSet(client)(strings.NewReader(clients.String()))
	if err != nil {
		t.Fatal(err)
	}
	looks := 0
	for range networks.prefixes(netip.MustParseAddr("192.0.2.1")) {
		looks++
	}
	if len(networks.networks) < entries/2 || looks != 2 {
		t.Errorf("%d networks of two lengths cost %d looks", len(networks.networks), looks)
	}
	addresses, err := readSet(sender)(strings.NewReader(senders.String()))
	if err != nil {
		t.Fatal(err)
	}
	looks = 0
	for range parents("a.b.c.example.net") {
		looks++
	}
	if n := len(addresses.names) + len(addresses.under); n != entries || looks != 4 {
		t.Errorf("%d addresses, %d looks for the domains above", n, looks)
	}
	for fact, want := range map[string]int{"USER0@spam0.example": 1, "x@a.b.spam1.example": 2, "x@spam2.example": 3, "user99999@SPAM99999.example": entries, "x@example.net": 0} {
		if _, line, found := addresses.find(fact); line != want || found != (want > 0) {
			t.Errorf("%s is on line %d, want %d", fact, line, want)
		}
	}
	if entry, line, found := networks.findAddr(netip.MustParseAddr("10.1.134.158")); !found || line != entries {
		t.Errorf("the last network: %s on line %d, %v", entry, line, found)
	}
}

func TestTheSmallestNetworkCounts(t *testing.T) {
	s := newSet(client)
	for i, n := range []string{"0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25", "::/0", "2001:db8::/32", "192.0.2.0/24"} {
		if err := s.add(n, i); err != nil {
			t.Fatal(err)
		}
	}
	for ip, want := range map[string]int{"198.51.100.1": 0, "192.0.2.1": 1, "192.0.2.200": 2, "::1": 3, "2001:db8::1": 4, "::ffff:192.0.2.1": 1, "fe80::1%eth0": 3} {
		if _, line, found := s.findAddr(netip.MustParseAddr(ip)); !found || line != want {
			t.Errorf("%s is entry %d, want %d", ip, line, want)
		}
	}
}

func FuzzList(f *testing.F) {
	for _, s := range []string{"192.0.2.0/24\n2001:db8::1 # x", "::ffff:192.0.2.0/120", "a@b\n*.c\n<>", `"a b"@c`, "postmaster@", "[192.0.2.1]", "x@[IPv6:::1]", "münchen.example", "xn--", "@", `"@"`, "*.*.a", "a@b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for k := client; k <= recipient; k++ {
			s, err := readSet(k)(strings.NewReader(text))
			if err != nil {
				if !strings.HasPrefix(err.Error(), "line ") {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			for network := range s.networks {
				if _, _, found := s.findAddr(network.Addr()); !found {
					t.Errorf("%q: %s does not have its own address", text, network)
				}
			}
			for name := range s.names {
				fact := strings.TrimSuffix(name, "@")
				if name == nullSender {
					fact = ""
				} else if k != hello && !strings.Contains(name, "@") {
					fact = "x@" + name
				} else if strings.ContainsAny(name, `"\\`) || strings.Count(name, "@") != 1 {
					continue // the key of a quoted local part, which is kept without its quotes
				}
				if _, _, found := s.find(fact); !found {
					t.Errorf("%q: %q is not found as %q", text, name, fact)
				}
			}
			for name := range s.under {
				if _, _, found := s.find("x@a." + name); k != hello && !found && !strings.HasPrefix(name, "[") {
					t.Errorf("%q: *.%s does not have a.%s", text, name, name)
				}
			}
		}
	})
}
