package mail_test

import (
	"slices"
	"testing"

	"example.org/relay/relay/mail"
)

func TestDomainsContains(t *testing.T) {
	d := mail.NewDomains("Example.org", "*.example.net", "bücher.example", "*.xn--bcher-kva.test", "*", "*example.com")
	for domain, want := range map[string]bool{
		"":                       true, // <postmaster>
		"example.org":            true,
		"EXAMPLE.ORG":            true,
		"sub.example.org":        false,
		"notexample.org":         false,
		"example.net":            false,
		"a.example.net":          true,
		"a.B.Example.Net":        true,
		".example.net":           false,
		"evilexample.net":        false,
		"xn--bcher-kva.example":  true,
		"bücher.example":         true,
		"BÜCHER.example":         true,
		"a.bücher.test":          true,
		"a.xn--bcher-kva.test":   true,
		"other.test":             false, // "*" alone is no pattern
		"evilexample.com":        false, // nor is a star without its dot
		"[192.0.2.1]":            false,
		"example.org.":           false,
		"example.org\u3002other": false,
	} {
		if got := d.Contains(domain); got != want {
			t.Errorf("Contains(%q) = %v, want %v", domain, got, want)
		}
	}
	if (mail.Domains{}).Contains("example.org") {
		t.Error("the zero Domains has example.org")
	}
	if got := mail.NewDomains("A.example", "*.b.example").Names(); !slices.Equal(got, []string{"A.example", "*.b.example"}) {
		t.Errorf("Names = %q", got)
	}
}
