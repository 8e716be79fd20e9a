package main

import (
	"slices"
	"strings"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

func TestRecipients(t *testing.T) {
	set := func(key string, value any) any { return map[string]any{key: value} }
	for _, tc := range []struct {
		name     string
		settings any
		to, want string // joined with commas
	}{
		{"alias and tag", nil, "alice+shop@example.org", "alice@example.org"},
		{"no separator", nil, "alice@example.org", "alice@example.org"},
		{"separator first", nil, "+shop@example.org", "+shop@example.org"},
		{"empty tag", nil, "alice+@example.org", "alice@example.org"},
		{"the first separator counts", nil, "alice+a+b@example.org", "alice@example.org"},
		{"the case of the parts stays", nil, "Alice+Shop@Example.ORG", "Alice@Example.ORG"},
		{"quoted local part", nil, `"alice b+c d"@example.org`, `"alice b"@example.org`},
		{"quotes fall where not needed", nil, `"alice+b c"@example.org`, `alice@example.org`},
		{"quoted at sign", nil, `"a@x+y"@example.org`, `"a@x"@example.org`},
		{"beyond ASCII", nil, `ålice+shöp@example.org`, `ålice@example.org`},
		{"postmaster without a domain", nil, "postmaster", "postmaster"},
		{"foreign domain", nil, "alice+shop@example.net", "alice+shop@example.net"},
		{"sub-domain pattern", nil, "alice+shop@sub.example.com", "alice@sub.example.com"},
		{"pattern is not the domain itself", nil, "alice+shop@example.com", "alice+shop@example.com"},
		{"own domains only", set("domains", []string{"other.example"}), "a+b@example.org,a+b@other.example", "a+b@example.org,a@other.example"},
		{"a domain that is not accepted", set("domains", []string{"example.net"}), "a+b@example.net", "a+b@example.net"},
		{"several separators", set("separators", []string{"+", "--"}), "a--b+c@example.org,d+e--f@example.org,g-h@example.org",
			"a@example.org,d@example.org,g-h@example.org"},
		{"hyphen", set("separators", []string{"-"}), "alice-shop@example.org", "alice@example.org"},
		{"names that have a hyphen", set("separators", []string{"-", "+"}),
			"MAILER-DAEMON@example.org,owner-list@example.org,list-request@example.org,list-owner@example.org",
			"MAILER-DAEMON@example.org,owner-list@example.org,list-request@example.org,list-owner@example.org"},
		{"left alone", set("leave_alone", []string{"Sales+EU"}), "sales+eu@example.org,sales+us@example.org", "sales+eu@example.org,sales@example.org"},
		{"left alone in one domain", set("leave_alone", []string{"sales+eu@Example.org"}), "sales+eu@example.org,sales+eu@other.example",
			"sales+eu@example.org,sales@other.example"},
		{"left alone, whatever follows", set("leave_alone", []string{"bounce+*"}), "BOUNCE+a=b@example.org,bounces+a@example.org,bounce+@example.org",
			"BOUNCE+a=b@example.org,bounces@example.org,bounce+@example.org"},
		{"two tags of one alias are one copy", nil, "a+b@example.org,a+c@Example.org", "a@example.org"},
		{"alias is a recipient already", nil, "a@example.org,a+b@example.org", "a@example.org"},
		{"case tells aliases apart", nil, "a+b@example.org,A+b@example.org", "a@example.org,A@example.org"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := agenttest.Config{Settings: tc.settings, AcceptedDomains: []string{"example.org", "*.example.com", "other.example"}}
			m := agenttest.Start(t, factory(), c).Connect("192.0.2.1").Mail("sender@example.com")
			for to := range strings.SplitSeq(tc.to, ",") {
				if v := m.Rcpt(to); v != (agenttest.Verdict{Action: "continue"}) {
					t.Errorf("verdict = %+v", v)
				}
			}
			got := m.EndOfHeaders("Subject: Hello\r\n")
			if want := strings.Split(tc.want, ","); !slices.Equal(got.Recipients, want) {
				t.Errorf("recipients = %q, want %q", got.Recipients, want)
			}
			if got.Header != "Subject: Hello\r\n" {
				t.Errorf("header = %q", got.Header)
			}
		})
	}
}

// Who asks for notifications of its own keeps its recipient: they would be lost with it.
func TestARecipientWithNotificationsIsNotDropped(t *testing.T) {
	m := agenttest.Start(t, factory(), agenttest.Config{}).Connect("192.0.2.1").Mail("sender@example.com")
	m.Rcpt("a+b@example.org")
	m.Rcpt("a+c@example.org", "NOTIFY=SUCCESS", "ORCPT=rfc822;a+2Bc@example.org")
	m.Rcpt("a+d@example.org")
	if got, want := m.EndOfHeaders("").Recipients, []string{"a@example.org", "a@example.org"}; !slices.Equal(got, want) {
		t.Errorf("recipients = %q, want %q", got, want)
	}
}

func TestOriginalHeader(t *testing.T) {
	const header = "X-Original-To: older@example.net\r\nSubject: Hello\r\n"
	c := agenttest.Config{Settings: map[string]any{"original_header": "X-Original-To"}}
	for _, tc := range []struct{ name, to, want string }{
		{"one recipient", "a+b@example.org", "X-Original-To: a+b@example.org\r\n" + header},
		{"not rewritten", "a@example.org", header},
		{"several recipients do not learn of each other", "a+b@example.org,c+d@example.org", header},
		{"quoted", `"a b+c"@example.org`, "X-Original-To: \"a b+c\"@example.org\r\n" + header},
	} {
		m := agenttest.Start(t, factory(), c).Connect("192.0.2.1").Mail("")
		for to := range strings.SplitSeq(tc.to, ",") {
			m.Rcpt(to)
		}
		if got := m.EndOfHeaders(header).Header; got != tc.want {
			t.Errorf("%s: header = %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestBoundToRcptOnlyUnlessAFieldIsWanted(t *testing.T) {
	h := agenttest.Start(t, factory(), agenttest.Config{})
	if bound, decides := h.Binds(agent.EventRcptCommand); !bound || !decides {
		t.Error("not bound to OnRcptCommand")
	}
	if bound, _ := h.Binds(agent.EventEndOfHeaders); bound {
		t.Error("bound to OnEndOfHeaders without need")
	}
	if err := h.Configure(agenttest.Config{Settings: map[string]any{"original_header": "X-Original-To"}}); err != nil {
		t.Fatal(err)
	}
	if names := h.HeaderNames(agent.EventEndOfHeaders); !slices.Equal(names, []string{"X-Original-To"}) {
		t.Errorf("is shown %q", names)
	}
}

func TestSettingsAreRefusedFieldByField(t *testing.T) {
	h := agenttest.Start(t, factory(), agenttest.Config{})
	for _, tc := range []struct {
		settings map[string]any
		want     []string
	}{
		{map[string]any{"separator": "+"}, []string{"separator: unknown setting; there are domains, leave_alone, original_header, separators"}},
		{map[string]any{"separators": "+", "original_header": 1}, []string{
			"original_header: must be a string, not the number 1", "separators: must be a list (each a string), not a string"}},
		{map[string]any{"separators": []string{}}, []string{`separators: must have at least one, such as "+"`}},
		{map[string]any{"separators": []string{"+", " "}, "domains": []string{"a@b"}, "leave_alone": []string{"x", "", "a@"}, "original_header": "X To"}, []string{
			`separators[1]: must be one or more characters other than @, quote, backslash and space, such as "+" or "-", not " "`,
			`domains[0]: must be a name such as "example.org" or "*.example.org", not "a@b"`,
			`leave_alone[1]: must be a local part or an address, such as "bounce+*" or "sales+eu@example.org", not ""`,
			`leave_alone[2]: must be a local part or an address, such as "bounce+*" or "sales+eu@example.org", not "a@"`,
			`original_header: must be the name of a header field, such as "X-Original-To", not "X To"`}},
		{map[string]any{"original_header": "received"}, []string{
			"original_header: Received is the trace of the servers (RFC 5321 §4.4) and none of an agent's"}},
	} {
		err := h.Configure(agenttest.Config{Settings: tc.settings})
		if err == nil || err.Error() != strings.Join(tc.want, "\n") {
			t.Errorf("Configure(%v) = %v, want %q", tc.settings, err, tc.want)
		}
	}
}

func TestAFieldNeedsItsPermission(t *testing.T) {
	h := agenttest.Start(t, factory(), agenttest.Config{Grant: []agent.Permission{agent.ChangeRecipients}})
	err := h.Configure(agenttest.Config{Grant: []agent.Permission{agent.ChangeRecipients}, Settings: map[string]any{"original_header": "X-To"}})
	if want := "original_header: needs the permission change-headers, which was not granted"; err == nil || err.Error() != want {
		t.Errorf("Configure = %v, want %s", err, want)
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"alice+shop", "+", "--", "a+", "+a", "a--b+c", "a b-c", `a"+\`, "", "é+ü", "owner-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, local string) {
		separators := []string{"+", "--", "-"}
		alias, tagged := splitLocal(local, separators)
		if !tagged {
			return
		}
		if alias == "" || strings.ContainsAny(alias, "+-") || !strings.HasPrefix(local, alias) || len(alias) == len(local) {
			t.Errorf("splitLocal(%q) = %q", local, alias)
		}
		if l, d := agent.Split(agent.Join(alias, "example.org")); l != alias || d != "example.org" {
			t.Errorf("%q does not come back from its address: %q, %q", alias, l, d)
		}
	})
}
