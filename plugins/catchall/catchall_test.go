package main

import (
	"slices"
	"strings"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
	"example.org/relay/test/agentpeers"
)

// start is a way to run the agent, with a relay around it.
type start func(t testing.TB, c agenttest.Config) *agenttest.Host

// inGo is the agent of this package.
func inGo(t testing.TB, c agenttest.Config) *agenttest.Host { return agenttest.Start(t, factory(), c) }

// eachLanguage runs a test for the agent here and for those that say they are the same, in
// plugins/examples.
func eachLanguage(t *testing.T, test func(t *testing.T, s start)) {
	t.Run("go", func(t *testing.T) { test(t, inGo) })
	for language, folder := range map[string]func(testing.TB) string{"python": agentpeers.Python, "node": agentpeers.Node} {
		t.Run(language, func(t *testing.T) {
			p := agenttest.Launch(t, agentpeers.Program(folder(t), "catchall"))
			test(t, p.Host)
		})
	}
}

// run sends one message through the agent.
func run(t *testing.T, s start, c agenttest.Config, header string, to ...string) agenttest.Result {
	t.Helper()
	m := s(t, c).Connect("192.0.2.1").Mail("sender@example.com")
	for _, r := range to {
		m.Rcpt(r)
	}
	got := m.EndOfHeaders(header)
	if got.Verdict != (agenttest.Verdict{Action: "continue"}) {
		t.Fatalf("verdict = %+v", got.Verdict)
	}
	return got
}

func TestRecipients(t *testing.T) { eachLanguage(t, testRecipients) }

func testRecipients(t *testing.T, s start) {
	for _, tc := range []struct {
		name     string
		settings any
		to, want string // joined with spaces
		tag      string // in the Subject
	}{
		{"alias and tag", nil, "alice_shop@example.org", "alice@example.org", "shop"},
		{"no separator", nil, "alice@example.org", "alice@example.org", ""},
		{"separator first", nil, "_shop@example.org", "_shop@example.org", ""},
		{"two separators first", nil, "__shop@example.org", "__shop@example.org", ""},
		{"empty tag", nil, "alice_@example.org", "alice_@example.org", ""},
		{"the first separator counts", nil, "alice_shop_2026@example.org", "alice@example.org", "shop_2026"},
		{"separator doubled", nil, "alice__shop@example.org", "alice@example.org", "_shop"},
		{"the case of the parts stays", nil, "Alice_Shop@Example.ORG", "Alice@Example.ORG", "Shop"},
		{"quoted local part", nil, `"alice b_shop c"@example.org`, `"alice b"@example.org`, "shop c"},
		{"quotes fall where not needed", nil, `"alice_a b"@example.org`, `alice@example.org`, "a b"},
		{"quoted at sign", nil, `"a@x_shop"@example.org`, `"a@x"@example.org`, "shop"},
		{"dot before the separator needs quotes", nil, `"alice._shop"@example.org`, `"alice."@example.org`, "shop"},
		{"postmaster without a domain", nil, "postmaster", "postmaster", ""},
		{"foreign domain", nil, "alice_shop@example.net", "alice_shop@example.net", ""},
		{"sub-domain pattern", nil, "alice_shop@sub.example.com", "alice@sub.example.com", "shop"},
		{"pattern is not the domain itself", nil, "alice_shop@example.com", "alice_shop@example.com", ""},
		{"own domains only", map[string]any{"domains": []string{"other.example"}}, "alice_shop@example.org a_b@other.example", "alice_shop@example.org a@other.example", ""},
		{"other separator", map[string]any{"separator": "+"}, "alice+shop_a@example.org", "alice@example.org", "shop_a"},
		{"long separator", map[string]any{"separator": "--"}, "alice-x--shop@example.org", "alice-x@example.org", "shop"},
		{"left alone", map[string]any{"leave_alone": []string{"First_Last"}}, "first_last@example.org first_other@example.org",
			"first_last@example.org first@example.org", "other"},
		{"several, tags agree", nil, "alice_shop@example.org bob_shop@example.org", "alice@example.org bob@example.org", "shop"},
		{"several, tags differ", nil, "alice_shop@example.org bob_bank@example.org", "alice@example.org bob@example.org", ""},
		{"untagged here does not count", nil, "alice_shop@example.org bob@example.org", "alice@example.org bob@example.org", "shop"},
		{"outsiders do not learn the tag", nil, "alice_shop@example.org bob@example.net", "alice@example.org bob@example.net", ""},
		{"two tags of one alias are one copy", nil, "alice_shop@example.org alice_bank@Example.org", "alice@example.org", ""},
		{"alias is a recipient already", nil, "alice_shop@example.org alice@example.org", "alice@example.org", "shop"},
		{"case tells aliases apart", nil, "alice_shop@example.org Alice_shop@example.org", "alice@example.org Alice@example.org", "shop"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := agenttest.Config{Settings: tc.settings, AcceptedDomains: []string{"example.org", "*.example.com", "other.example"}}
			got := run(t, s, c, "Subject: Hello\r\n", strings.Split(join(tc.to), "\n")...)
			if want := strings.Split(join(tc.want), "\n"); !slices.Equal(got.Recipients, want) {
				t.Errorf("recipients = %q, want %q", got.Recipients, want)
			}
			want := "Subject: Hello\r\n"
			if tc.tag != "" {
				want = "Subject: [" + tc.tag + "] Hello\r\n"
			}
			if got.Header != want {
				t.Errorf("header = %q, want %q", got.Header, want)
			}
		})
	}
}

// join puts a line break at spaces outside quotes.
func join(list string) string {
	quoted := false
	return strings.Map(func(r rune) rune {
		if r == '"' {
			quoted = !quoted
		}
		if r == ' ' && !quoted {
			return '\n'
		}
		return r
	}, list)
}

func TestSubject(t *testing.T) { eachLanguage(t, testSubject) }

func testSubject(t *testing.T, s start) {
	long := strings.Repeat("x", 60)
	for _, tc := range []struct {
		name, format, tag, header, want string
	}{
		{"plain", "", "shop", "From: a\r\nSubject: Hello\r\nTo: b\r\n", "From: a\r\nSubject: [shop] Hello\r\nTo: b\r\n"},
		{"missing", "", "shop", "From: a\r\n", "Subject: [shop]\r\nFrom: a\r\n"},
		{"empty", "", "shop", "Subject:\r\n", "Subject: [shop]\r\n"},
		{"only white space", "", "shop", "Subject:  \r\n", "Subject: [shop]\r\n"},
		{"no space after the colon, other case", "", "shop", "SUBJECT:Hello\r\n", "SUBJECT: [shop] Hello\r\n"},
		{"the first of two", "", "shop", "Subject: a\r\nSubject: b\r\n", "Subject: [shop] a\r\nSubject: b\r\n"},
		{"folding stays", "", "shop", "Subject: Hello\r\n\tworld\r\n", "Subject: [shop] Hello\r\n\tworld\r\n"},
		{"begins with a fold", "", "shop", "Subject:\r\n Hello\r\n", "Subject: [shop]\r\n Hello\r\n"},
		{"encoded words stay", "", "shop", "Subject: =?iso-8859-1?q?h=E9?= =?utf-8?b?w6k=?=\r\n", "Subject: [shop] =?iso-8859-1?q?h=E9?= =?utf-8?b?w6k=?=\r\n"},
		{"unknown charset stays", "", "shop", "Subject: =?x-none?q?h=E9?=\r\n", "Subject: [shop] =?x-none?q?h=E9?=\r\n"},
		{"encoded word too long for the line", "", "shop", "Subject: =?utf-8?q?" + long + "?=\r\n", "Subject: [shop]\r\n =?utf-8?q?" + long + "?=\r\n"},
		{"long plain line stays one", "", "shop", "Subject: " + long + long + "\r\n", "Subject: [shop] " + long + long + "\r\n"},
		{"8-bit stays", "", "shop", "Subject: h\xe9\r\n", "Subject: [shop] h\xe9\r\n"},
		{"marked already", "", "shop", "Subject: [shop] Hello\r\n", "Subject: [shop] Hello\r\n"},
		{"marked already, encoded", "", "shop", "Subject: =?utf-8?q?=5Bshop=5D_h=C3=A9?=\r\n", "Subject: =?utf-8?q?=5Bshop=5D_h=C3=A9?=\r\n"},
		{"a word that begins like the mark", "{tag} ", "shop", "Subject: shopping\r\n", "Subject: shop shopping\r\n"},
		{"marked already, folded", "", "shop", "Subject: [shop]\r\n Hello\r\n", "Subject: [shop]\r\n Hello\r\n"},
		{"marked already, nothing else", "", "shop", "Subject: [shop]\r\n", "Subject: [shop]\r\n"},
		{"tag that cannot be shown", "", "\u200b", "Subject: Hello\r\n", "Subject: Hello\r\n"},
		{"an answer", "", "shop", "Subject: Re: [shop] Hello\r\n", "Subject: [shop] Re: [shop] Hello\r\n"},
		{"another format", "({tag}) ", "shop", "Subject: Hello\r\n", "Subject: (shop) Hello\r\n"},
		{"format without a space", "{tag}:", "shop", "Subject: Hello\r\n", "Subject: shop:Hello\r\n"},
		{"format without a space, encoded word", "{tag}:", "shop", "Subject: =?utf-8?q?h?=\r\n", "Subject: shop: =?utf-8?q?h?=\r\n"},
		{"tag beyond ASCII", "", "büro", "Subject: Hello\r\n", "Subject: =?utf-8?q?[b=C3=BCro]?= Hello\r\n"},
		{"tag beyond ASCII, encoded word", "", "büro", "Subject: =?utf-8?q?h?=\r\n", "Subject: =?utf-8?q?[b=C3=BCro]_?= =?utf-8?q?h?=\r\n"},
		{"tag like an encoded word", "", "=?utf-8?q?x?=", "Subject: Hello\r\n", "Subject: =?utf-8?q?[=3D=3Futf-8=3Fq=3Fx=3F=3D]?= Hello\r\n"},
		{"tag with controls", "", "a\tb\u202ec", "Subject: Hello\r\n", "Subject: [abc] Hello\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := agenttest.Config{}
			if tc.format != "" {
				c.Settings = map[string]any{"tag_format": tc.format}
			}
			got := run(t, s, c, tc.header, agent.Join("alice_"+tc.tag, "example.org"))
			if got.Header != tc.want {
				t.Errorf("header = %q, want %q", got.Header, tc.want)
			}
			if want := []string{"alice@example.org"}; !slices.Equal(got.Recipients, want) {
				t.Errorf("recipients = %q, want %q", got.Recipients, want)
			}
		})
	}
}

func TestSettingsAreRefusedFieldByField(t *testing.T) { eachLanguage(t, testSettings) }

func testSettings(t *testing.T, s start) {
	h := s(t, agenttest.Config{})
	for _, tc := range []struct {
		settings map[string]any
		want     []string
	}{
		{map[string]any{"seperator": "+"}, []string{"seperator: unknown setting; there are domains, leave_alone, separator, tag_format"}},
		{map[string]any{"separator": 5, "domains": "example.org"}, []string{
			"domains: must be a list (each a string), not a string", "separator: must be a string, not the number 5"}},
		{map[string]any{"separator": "", "tag_format": "x", "domains": []string{"a@b"}, "leave_alone": []string{"a@b"}}, []string{
			`separator: must be one or more characters other than @, quote, backslash and space, such as "_" or "+", not ""`,
			`tag_format: must contain {tag}, as in "[{tag}] ", not "x"`,
			`domains: must be names such as "example.org" or "*.example.org", not "a@b"`,
			`leave_alone: must be local parts, without @ and domain, not "a@b"`}},
	} {
		err := h.Configure(agenttest.Config{Settings: tc.settings})
		if err == nil || err.Error() != strings.Join(tc.want, "\n") {
			t.Errorf("Configure(%v) = %v, want %q", tc.settings, err, tc.want)
		}
	}
}

func TestBoundToTheHeadersOnlyAndDeclaredAsRewriting(t *testing.T) { eachLanguage(t, testBound) }

func testBound(t *testing.T, s start) {
	h := s(t, agenttest.Config{})
	if bound, decides := h.Binds(agent.EventEndOfHeaders); !bound || !decides {
		t.Error("not bound to OnEndOfHeaders")
	}
	if bound, _ := h.Binds(agent.EventRcptCommand); bound {
		t.Error("bound to OnRcptCommand")
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"alice_shop", "_", "__", "a_", "_a", "a_b_c", "a b_c", `a"_\`, "", "é_ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, local string) {
		alias, tag, tagged := splitLocal(local, "_")
		if !tagged {
			return
		}
		if alias == "" || tag == "" || strings.Contains(alias, "_") || alias+"_"+tag != local {
			t.Errorf("splitLocal(%q) = %q, %q", local, alias, tag)
		}
		if l, d := agent.Split(agent.Join(alias, "example.org")); l != alias || d != "example.org" {
			t.Errorf("%q does not come back from its address: %q, %q", alias, l, d)
		}
	})
}
