package agent

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEncode(t *testing.T) {
	word := strings.Repeat("w", 40)
	for _, tc := range []struct{ name, text, want string }{
		{"ASCII", "Hello world", " Hello world"},
		{"empty", "", " "},
		{"long ASCII is folded", word + " " + word, " " + word + "\r\n " + word},
		{"one long word is not", strings.Repeat("w", 200), " " + strings.Repeat("w", 200)},
		{"only what needs it is encoded", "Hello wörld again", " Hello =?utf-8?q?w=C3=B6rld?= again"},
		{"from the first word that needs it to the last", "a ö b ö c", " a =?utf-8?q?=C3=B6_b_=C3=B6?= c"},
		{"mostly beyond ASCII", "日本語", " =?utf-8?b?5pel5pys6Kqe?="},
		{"looks encoded", "=?utf-8?q?x?=", " =?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?="},
		{"bad UTF-8", "a\xff", " =?utf-8?q?a=EF=BF=BD?="},
		{"line breaks", "a\r\nb", " a  b"},
	} {
		if got := encode("Subject", tc.text); got != tc.want {
			t.Errorf("%s: encode(%q) = %q, want %q", tc.name, tc.text, got, tc.want)
		}
	}
}

func TestDecode(t *testing.T) {
	for raw, want := range map[string]string{
		" Hello\r\n\tworld ":             "Hello\tworld",
		" =?iso-8859-1?q?h=E9?=":         "hé",
		" =?koi8-r?b?8NLJ18XU?=":         "Привет",
		" =?utf-8?q?a?= =?utf-8?q?b?= c": "ab c",
		" =?x-none?q?h=E9?=":             "=?x-none?q?h=E9?=",
		" =?utf-8?b?!!?=":                "=?utf-8?b?!!?=",
		" h\xe9":                         "h\xe9",
	} {
		if got := decode(raw); got != want {
			t.Errorf("decode(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "a", "Hello wörld", strings.Repeat("é ", 80), "=?utf-8?q?x?=", strings.Repeat("w ", 90), "  a  ö  ", "\x00\t", "\U0001F600" + strings.Repeat("x", 120)} {
		f.Add("Subject", s)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if len(name) > 60 || !utf8.ValidString(text) {
			return
		}
		raw := encode(name, text)
		for i, line := range strings.Split(raw, "\r\n") {
			if strings.ContainsAny(line, "\r\n\x00") || i > 0 && (line == "" || line[0] != ' ' && line[0] != '\t' || strings.Trim(line, " \t") == "") {
				t.Fatalf("encode(%q) = %q breaks the header section", text, raw)
			}
			if i == 0 {
				line = name + ":" + line
			}
			if strings.Contains(line, "=?") && i > 0 && len(line) > maxEncodedLine && !strings.Contains(strings.TrimLeft(line, " "), " ") {
				t.Fatalf("encode(%q) = %q has a line of %d", text, raw, len(line))
			}
		}
		want := strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(text)
		if got := decode(raw); got != strings.Trim(want, " \t") {
			t.Errorf("encode(%q) = %q reads %q", text, raw, got)
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct{ address, local, domain string }{
		{"a@example.org", "a", "example.org"},
		{`"a b"@example.org`, "a b", "example.org"},
		{`"a\"b\\c"@example.org`, `a"b\c`, "example.org"},
		{`"a@b"@example.org`, "a@b", "example.org"},
		{"postmaster", "postmaster", ""},
		{"", "", ""},
		{"a@[192.0.2.1]", "a", "[192.0.2.1]"},
	} {
		if local, domain := Split(tc.address); local != tc.local || domain != tc.domain {
			t.Errorf("Split(%q) = %q, %q", tc.address, local, domain)
		}
		if tc.local == "" {
			continue
		}
		if got := Join(tc.local, tc.domain); got != tc.address {
			t.Errorf("Join(%q, %q) = %q, want %q", tc.local, tc.domain, got, tc.address)
		}
	}
}

func FuzzSplitJoin(f *testing.F) {
	for _, s := range []string{"a", "a b", `"`, `\`, "a@b", ".", "a..b", "é", ""} {
		f.Add(s, "example.org")
	}
	f.Fuzz(func(t *testing.T, local, domain string) {
		if strings.ContainsAny(domain, `@"`) || domain == "" {
			return
		}
		if l, d := Split(Join(local, domain)); l != local || d != domain {
			t.Errorf("Split(Join(%q, %q)) = %q, %q", local, domain, l, d)
		}
	})
}

func TestMatches(t *testing.T) {
	domains := []string{"example.org", "*.example.com"}
	for domain, want := range map[string]bool{
		"example.org": true, "EXAMPLE.org": true, "sub.example.org": false, "a.example.com": true, "A.b.Example.com": true,
		"example.com": false, ".example.com": false, "xexample.com": false, "": false,
	} {
		if got := Matches(domains, domain); got != want {
			t.Errorf("Matches(%q) = %v", domain, got)
		}
	}
}
