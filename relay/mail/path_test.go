package mail_test

import (
	"errors"
	"strings"
	"testing"

	"example.org/relay/relay/mail"
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("a", 255)
	label := strings.Repeat("d", 63)
	for _, c := range []struct {
		name, in    string
		utf8        bool
		local, dom  string
		rest, print string
	}{
		{"null", "<>", false, "", "", "", ""},
		{"null with parameters", "<> BODY=8BITMIME", false, "", "", " BODY=8BITMIME", ""},
		{"mailbox", "<user@example.org>", false, "user", "example.org", "", "user@example.org"},
		{"parameters", "<user@example.org> SIZE=1 X", false, "user", "example.org", " SIZE=1 X", "user@example.org"},
		{"case is kept", "<User@Example.ORG>", false, "User", "Example.ORG", "", "User@Example.ORG"},
		{"postmaster", "<postmaster>", false, "postmaster", "", "", "postmaster"},
		{"Postmaster", "<PostMaster>", false, "PostMaster", "", "", "PostMaster"},
		{"postmaster with domain", "<postmaster@example.org>", false, "postmaster", "example.org", "", "postmaster@example.org"},
		{"source route", "<@a.example,@b.example:user@example.org>", false, "user", "example.org", "", "user@example.org"},
		{"all of atext", "<!#$%&'*+-/=?^_`{|}~@example.org>", false, "!#$%&'*+-/=?^_`{|}~", "example.org", "", "!#$%&'*+-/=?^_`{|}~@example.org"},
		{"needless quotes", `<"user.name"@example.org>`, false, "user.name", "example.org", "", "user.name@example.org"},
		{"needed quotes", `<"a b"@example.org>`, false, "a b", "example.org", "", `"a b"@example.org`},
		{"quoted pairs", `<"a\"b\\c\d"@example.org>`, false, `a"b\cd`, "example.org", "", `"a\"b\\cd"@example.org`},
		{"quoted at", `<"a@b"@example.org>`, false, "a@b", "example.org", "", `"a@b"@example.org`},
		{"empty quotes", `<""@example.org>`, false, "", "example.org", "", `""@example.org`},
		{"command in quotes", `<"victim@internal> ORCPT=rfc822;a"@example.org>`, false,
			"victim@internal> ORCPT=rfc822;a", "example.org", "", `"victim@internal> ORCPT=rfc822;a"@example.org`},
		{"dot at the end", "<foo.@example.org>", false, "foo.", "example.org", "", `"foo."@example.org`},
		{"two dots", "<a..b@example.org>", false, "a..b", "example.org", "", `"a..b"@example.org`},
		{"dot at the start", "<.a@example.org>", false, ".a", "example.org", "", `".a"@example.org`},
		{"one label", "<a@localhost>", false, "a", "localhost", "", "a@localhost"},
		{"digits", "<a@1.2.3>", false, "a", "1.2.3", "", "a@1.2.3"},
		{"underscore", "<a@my_host.example.org>", false, "a", "my_host.example.org", "", "a@my_host.example.org"},
		{"A-label", "<a@xn--bcher-kva.example>", false, "a", "xn--bcher-kva.example", "", "a@xn--bcher-kva.example"},
		{"U-label", "<a@bücher.example>", true, "a", "bücher.example", "", "a@bücher.example"},
		{"UTF-8 local-part", "<jürgen@example.org>", true, "jürgen", "example.org", "", "jürgen@example.org"},
		{"UTF-8 in quotes", `<"jür gen"@example.org>`, true, "jür gen", "example.org", "", `"jür gen"@example.org`},
		{"IPv4 literal", "<a@[192.0.2.1]>", false, "a", "[192.0.2.1]", "", "a@[192.0.2.1]"},
		{"IPv4 literal with zeros", "<a@[192.000.002.001]>", false, "a", "[192.000.002.001]", "", "a@[192.000.002.001]"},
		{"IPv6 literal", "<a@[IPv6:2001:db8::1]>", false, "a", "[IPv6:2001:db8::1]", "", "a@[IPv6:2001:db8::1]"},
		{"IPv6 literal with IPv4", "<a@[ipv6:::ffff:192.0.2.1]>", false, "a", "[ipv6:::ffff:192.0.2.1]", "", "a@[ipv6:::ffff:192.0.2.1]"},
		{"other literal", "<a@[tag:>what-ever,]>", false, "a", "[tag:>what-ever,]", "", "a@[tag:>what-ever,]"},
		{"local-part of 255", "<" + long + "@example.org>", false, long, "example.org", "", long + "@example.org"},
		{"domain of 255", "<a@" + label + "." + label + "." + label + "." + label + ">", false,
			"a", label + "." + label + "." + label + "." + label, "", "a@" + label + "." + label + "." + label + "." + label},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, rest, err := mail.ParsePath(c.in, c.utf8)
			if want := (mail.Path{Local: c.local, Domain: c.dom}); err != nil || p != want || rest != c.rest {
				t.Fatalf("ParsePath(%q) = %+v, %q, %v, want %+v, %q", c.in, p, rest, err, want, c.rest)
			}
			if p.String() != c.print {
				t.Errorf("String = %q, want %q", p.String(), c.print)
			}
			if p.Wire() != "<"+c.print+">" {
				t.Errorf("Wire = %q", p.Wire())
			}
			if back, err := mail.ParseMailbox(p.String(), c.utf8); err != nil || back != p {
				t.Errorf("ParseMailbox(%q) = %+v, %v, want %+v", p.String(), back, err, p)
			}
			if p.NeedsUTF8() != c.utf8 {
				t.Errorf("NeedsUTF8 = %v, want %v", p.NeedsUTF8(), c.utf8)
			}
			if p.IsNull() != (c.print == "") {
				t.Errorf("IsNull = %v", p.IsNull())
			}
		})
	}
}

func TestParsePathRefuses(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"nothing", ""},
		{"no brackets", "user@example.org"},
		{"space first", " <user@example.org>"},
		{"no end", "<user@example.org"},
		{"null without end", "<"},
		{"two starts", "<<user@example.org>"},
		{"something after the end", "<user@example.org>SIZE=1"},
		{"tab after the end", "<user@example.org>\tSIZE=1"},
		{"two ends", "<user@example.org>>"},
		{"no domain", "<user>"},
		{"empty domain", "<user@>"},
		{"no local-part", "<@example.org>"},
		{"quoted postmaster without domain", `<"postmaster">`},
		{"postmaster after a route", "<@a.example:postmaster>"},
		{"null after a route", "<@a.example:>"},
		{"route without colon", "<@a.example user@example.org>"},
		{"route with literal", "<@[192.0.2.1]:user@example.org>"},
		{"route with a comma too many", "<@a.example,:user@example.org>"},
		{"two ats", "<a@b@example.org>"},
		{"space", "<a b@example.org>"},
		{"space inside", "< user@example.org >"},
		{"space in domain", "<user@exa mple.org>"},
		{"quote not closed", `<"user@example.org>`},
		{"quote in the middle", `<us"er@example.org>`},
		{"quote then more", `<"us"er@example.org>`},
		{"backslash without quotes", `<us\er@example.org>`},
		{"NUL in quotes", "<\"a\x00b\"@example.org>"},
		{"quoted pair NUL", "<\"a\\\x00b\"@example.org>"},
		{"CR in quotes", "<\"a\rb\"@example.org>"},
		{"LF in quotes", "<\"a\nb\"@example.org>"},
		{"tab in quotes", "<\"a\tb\"@example.org>"},
		{"DEL", "<a\x7fb@example.org>"},
		{"NUL", "<a\x00@example.org>"},
		{"CR in domain", "<a@example.org\r>"},
		{"LF in domain", "<a@exam\nple.org>"},
		{"8-bit", "<j\xfcrgen@example.org>"},
		{"UTF-8 without SMTPUTF8", "<jürgen@example.org>"},
		{"U-label without SMTPUTF8", "<a@bücher.example>"},
		{"dot at the start of the domain", "<a@.example.org>"},
		{"dot at the end of the domain", "<a@example.org.>"},
		{"two dots in the domain", "<a@example..org>"},
		{"hyphen first", "<a@-example.org>"},
		{"hyphen last", "<a@example-.org>"},
		{"odd domain", "<a@-_!;,(>"},
		{"percent in domain", "<a@exa%mple.org>"},
		{"label of 64", "<a@" + strings.Repeat("d", 64) + ".example>"},
		{"domain of 257", "<a@" + strings.Repeat("d.", 128) + "d>"},
		{"local-part of 256", "<" + strings.Repeat("a", 256) + "@example.org>"},
		{"literal not closed", "<a@[192.0.2.1>"},
		{"literal of 256", "<a@[192.0.2.256]>"},
		{"literal with three numbers", "<a@[192.0.2]>"},
		{"literal with five numbers", "<a@[192.0.2.1.1]>"},
		{"literal with a sign", "<a@[192.0.+2.1]>"},
		{"empty literal", "<a@[]>"},
		{"IPv6 without tag", "<a@[2001:db8::1]>"},
		{"IPv6 tag with IPv4", "<a@[IPv6:192.0.2.1]>"},
		{"IPv6 with zone", "<a@[IPv6:fe80::1%eth0]>"},
		{"literal with space", "<a@[tag:a b]>"},
		{"literal with CRLF", "<a@[tag:a\r\nb]>"},
		{"text after the literal", "<a@[192.0.2.1]b>"},
		{"comment", "<a(b)@example.org>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if p, rest, err := mail.ParsePath(c.in, false); err == nil {
				t.Errorf("ParsePath(%q) = %+v, %q", c.in, p, rest)
			}
		})
	}
}

func TestParsePathRefusesWithUTF8(t *testing.T) {
	for _, in := range []string{
		"<j\xfcrgen@example.org>", "<a\u0085b@example.org>", "<a@b\xffcher.example>", "<a@bücher\u0085.example>",
		"<a@bücher。example>", "<a@bü cher.example>", "<\"\\ü\"@example.org>", "<a@" + strings.Repeat("ü", 60) + ".example>",
		"<a@bü@cher.example>",
	} {
		if p, _, err := mail.ParsePath(in, true); err == nil {
			t.Errorf("ParsePath(%q) = %+v", in, p)
		}
	}
}

func TestAddressBeyondASCIIIsToldApart(t *testing.T) {
	for _, in := range []string{"jürgen@example.org", "a@bücher.example", `"ü"@example.org`} {
		if _, err := mail.ParseMailbox(in, false); !errors.Is(err, mail.ErrNeedsUTF8) {
			t.Errorf("ParseMailbox(%q) = %v, want ErrNeedsUTF8", in, err)
		}
	}
}

func TestParseMailboxRefuses(t *testing.T) {
	for _, in := range []string{
		"<a@example.org>", "a@example.org>", "a@example.org x", "@a.example:b@example.org", "a", `""`, "a@example.org\r\n",
		"a@example.org, b@example.org", "a@[192.0.2.1] ",
	} {
		if p, err := mail.ParseMailbox(in, true); err == nil {
			t.Errorf("ParseMailbox(%q) = %+v", in, p)
		}
	}
}

func TestPathEqual(t *testing.T) {
	a := mail.Path{Local: "User", Domain: "Example.org"}
	if !a.Equal(mail.Path{Local: "User", Domain: "example.ORG"}) {
		t.Error("domains differ in case only, but are not equal")
	}
	if a.Equal(mail.Path{Local: "user", Domain: "Example.org"}) {
		t.Error("local-parts differ in case, but are equal")
	}
}

// FuzzParsePath proves that a path which was read is printed as exactly one path, which
// reads as the same, and that nothing in it can end a command line.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{
		"<>", "<postmaster>", "<user@example.org> SIZE=1", "<@a,@b:user@example.org>", `<"a b"@example.org>`, `<"\"\\"@[192.0.2.1]>`,
		`<"victim@internal> ORCPT=rfc822;a"@example.org>`, "<a..b.@example.org>", "<jürgen@bücher.example>", "<a@[IPv6:::1]>", "<a@[x:>]>",
		`<""@a>`, "<a@b@c>", "<\"\r\n\"@a>",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		p, rest, err := mail.ParsePath(s, utf8)
		if err != nil {
			return
		}
		if !strings.HasSuffix(s, rest) || rest != "" && rest[0] != ' ' {
			t.Errorf("rest %q of %q", rest, s)
		}
		wire := p.Wire()
		if strings.ContainsAny(wire, "\r\n\x00") {
			t.Errorf("%q has a line end or NUL", wire)
		}
		if back, err := mail.ParseMailbox(p.String(), utf8); err != nil || back != p {
			t.Errorf("ParseMailbox(%q) = %+v, %v, want %+v", p.String(), back, err, p)
		}
		if back, more, err := mail.ParsePath(wire+" X=1", utf8); err != nil || back != p || more != " X=1" {
			t.Errorf("ParsePath(%q) = %+v, %q, %v, want %+v", wire+" X=1", back, more, err, p)
		}
		if !utf8 && p.NeedsUTF8() {
			t.Errorf("%q needs SMTPUTF8", wire)
		}
	})
}
