package main

import (
	"slices"
	"strings"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

type table = map[string]any

func rules(all ...table) agenttest.Config {
	return agenttest.Config{Settings: table{"rules": all}, AcceptedDomains: []string{"example.org", "*.example.com"}}
}

func start(t *testing.T, c agenttest.Config) *agenttest.Host {
	t.Helper()
	return agenttest.Start(t, factory(), c)
}

const header = "Received: from a\r\n\tby b\r\nX-Spam: yes\r\nSubject : =?utf-8?q?h=C3=A9llo?=\r\nx-spam: no\r\nX-Spam-Level: \xff*\r\nno field\r\nTo: b@example.org\r\n"

func TestEdits(t *testing.T) {
	without := func(parts ...string) string {
		h := header
		for _, p := range parts {
			h = strings.Replace(h, p, "", 1)
		}
		return h
	}
	for _, tc := range []struct {
		name  string
		rules []table
		want  string
	}{
		{"add at the top", []table{{"add": []table{{"name": "X-A", "value": "b c"}}}}, "X-A: b c\r\n" + header},
		{"add at the bottom", []table{{"add": []table{{"name": "X-A", "value": "b", "at": "bottom"}}}}, header + "X-A: b\r\n"},
		{"add keeps those that are there", []table{{"add": []table{{"name": "X-Spam", "value": "maybe"}}}}, "X-Spam: maybe\r\n" + header},
		{"set replaces in its place", []table{{"set": []table{{"name": "TO", "value": "c"}}}}, without("To: b@example.org\r\n") + "To: c\r\n"},
		{"set keeps one of several", []table{{"set": []table{{"name": "X-Spam", "value": "maybe"}}}}, "X-Spam: maybe\r\n" + without("X-Spam: yes\r\n", "x-spam: no\r\n")},
		{"set adds", []table{{"set": []table{{"name": "X-New", "value": "a"}}}}, "X-New: a\r\n" + header},
		{"set without anything to say removes", []table{{"set": []table{{"name": "X-Spam", "value": "{auth_user}"}}}}, without("X-Spam: yes\r\n", "x-spam: no\r\n")},
		{"add without anything to say adds nothing", []table{{"add": []table{{"name": "X-User", "value": "user={auth_user}"}}}}, header},
		{"remove by name", []table{{"remove": []string{"x-SPAM"}}}, without("X-Spam: yes\r\n", "x-spam: no\r\n")},
		{"remove with a space before the colon", []table{{"remove": []string{"Subject"}}}, without("Subject : =?utf-8?q?h=C3=A9llo?=\r\n")},
		{"remove by pattern", []table{{"remove": []string{"X-Spam-*"}}}, without("X-Spam-Level: \xff*\r\n")},
		{"the trace and what is no field stay", []table{{"remove": []string{"*"}}}, "Received: from a\r\n\tby b\r\nno field\r\n"},
		{"rename keeps the value's bytes", []table{{"rename": []table{{"from": "x-spam-level", "to": "X-Old-Level"}}}}, strings.Replace(header, "X-Spam-Level:", "X-Old-Level:", 1)},
		{"rename all", []table{{"rename": []table{{"from": "X-Spam", "to": "X-Old"}}}}, strings.NewReplacer("X-Spam:", "X-Old:", "x-spam:", "X-Old:").Replace(header)},
		{"rename what is not there", []table{{"rename": []table{{"from": "X-None", "to": "X-Old"}}}}, header},
		{"rename, then set anew", []table{{"rename": []table{{"from": "To", "to": "X-To"}}, "set": []table{{"name": "To", "value": "c"}}}},
			"To: c\r\n" + strings.Replace(header, "To:", "X-To:", 1)},
		{"tag", []table{{"tag_subject": "[EXTERNAL] "}}, strings.Replace(header, "=?", "[EXTERNAL] =?", 1)},
		{"beyond ASCII", []table{{"add": []table{{"name": "X-A", "value": "grün"}}}}, "X-A: =?utf-8?q?gr=C3=BCn?=\r\n" + header},
		{"later rules see what earlier ones did", []table{
			{"set": []table{{"name": "X-Step", "value": "1"}}},
			{"matches": table{"X-Step": "^1$"}, "set": []table{{"name": "X-Step", "value": "2"}}},
		}, "X-Step: 2\r\n" + header},
		{"stop", []table{{"stop": true}, {"remove": []string{"To"}}}, header},
		{"stop of a rule that does not match", []table{{"has": []string{"X-None"}, "stop": true}, {"remove": []string{"To"}}}, without("To: b@example.org\r\n")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := start(t, rules(tc.rules...)).Connect("192.0.2.1").Mail("a@example.net")
			m.Rcpt("b@example.org")
			got := m.EndOfHeaders(header)
			if got.Verdict != (agenttest.Verdict{Action: "continue"}) || got.Header != tc.want {
				t.Errorf("header = %q, want %q (%+v)", got.Header, tc.want, got.Verdict)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	for _, tc := range []struct {
		condition table
		yes, no   func(h *agenttest.Host) *agenttest.Message
	}{
		{table{"direction": "inbound"}, from("192.0.2.1", false, "", "a@x.example", "b@example.org"), from("192.0.2.1", true, "", "a@x.example", "b@example.org")},
		{table{"direction": "internal"}, from("192.0.2.1", true, "", "a@x.example", "b@example.org"), from("192.0.2.1", false, "", "a@x.example", "b@example.org")},
		{table{"authenticated": true}, from("192.0.2.1", false, "u", "a@x.example", "b@example.org"), from("192.0.2.1", true, "", "a@x.example", "b@example.org")},
		{table{"authenticated": false}, from("192.0.2.1", false, "", "a@x.example", "b@example.org"), from("192.0.2.1", true, "u", "a@x.example", "b@example.org")},
		{table{"sender_domains": []string{"X.example"}}, from("192.0.2.1", false, "", "a@x.EXAMPLE", "b@example.org"), from("192.0.2.1", false, "", "a@y.x.example", "b@example.org")},
		{table{"sender_domains": []string{"*.x.example"}}, from("192.0.2.1", false, "", "a@y.x.EXAMPLE", "b@example.org"), from("192.0.2.1", false, "", "", "b@example.org")},
		{table{"sender_domains": []string{"<>"}}, from("192.0.2.1", false, "", "", "b@example.org"), from("192.0.2.1", false, "", "a@x.example", "b@example.org")},
		{table{"recipient_domains": []string{"example.org"}}, from("192.0.2.1", false, "", "", "a@b.example.com,b@example.org"), from("192.0.2.1", false, "", "", "a@b.example.com")},
		{table{"has": []string{"Subject", "X-SPAM"}}, from("192.0.2.1", false, "", "", "b@example.org"), nil},
		{table{"has": []string{"Subject", "List-Id"}}, nil, from("192.0.2.1", false, "", "", "b@example.org")},
		{table{"lacks": []string{"List-Id"}}, from("192.0.2.1", false, "", "", "b@example.org"), nil},
		{table{"lacks": []string{"List-Id", "Subject"}}, nil, from("192.0.2.1", false, "", "", "b@example.org")},
		{table{"matches": table{"subject": "^héllo$", "X-Spam": "no"}}, from("192.0.2.1", false, "", "", "b@example.org"), nil},
		{table{"matches": table{"subject": "^héllo$", "X-Spam": "maybe"}}, nil, from("192.0.2.1", false, "", "", "b@example.org")},
		{table{"listeners": []string{"127.0.0.1:25"}}, from("192.0.2.1", false, "", "", "b@example.org"), nil},
		{table{"listeners": []string{"127.0.0.1:587"}}, nil, from("192.0.2.1", false, "", "", "b@example.org")},
		{table{"direction": "inbound", "authenticated": false, "sender_domains": []string{"x.example"}, "has": []string{"To"}},
			from("192.0.2.1", false, "", "a@x.example", "b@example.org"), from("192.0.2.1", false, "u", "a@x.example", "b@example.org")},
	} {
		tc.condition["add"] = []table{{"name": "X-Matched", "value": "yes"}}
		h := start(t, rules(tc.condition))
		for want, message := range map[bool]func(h *agenttest.Host) *agenttest.Message{true: tc.yes, false: tc.no} {
			if message == nil {
				continue
			}
			if got := message(h).EndOfHeaders(header).Header; strings.HasPrefix(got, "X-Matched: yes\r\n") != want {
				t.Errorf("%v: %q, matches: want %v", tc.condition, got, want)
			}
		}
	}
}

func from(ip string, internal bool, user, sender, recipients string) func(h *agenttest.Host) *agenttest.Message {
	return func(h *agenttest.Host) *agenttest.Message {
		c := h.ConnectFrom(agenttest.Client{Address: ip, Internal: internal})
		c.Ehlo("client.example.net")
		if user != "" {
			c.EndOfAuthentication("PLAIN", user, true)
		}
		m := c.Mail(sender)
		for r := range strings.SplitSeq(recipients, ",") {
			m.Rcpt(r)
		}
		return m
	}
}

func TestPlaceholders(t *testing.T) {
	for _, tc := range []struct{ value, hello, sender, want string }{
		{"ip={client_ip}; helo={hello}; from={from}", "mail.example.net", "a+b=c@example.net", "ip=2001:db8::1; helo=mail.example.net; from=a+b=c@example.net"},
		{"helo={hello}", "x; spf=pass", "", `helo="x; spf=pass"`},
		{"helo={hello}", `x" (`, "", `helo="x\" ("`},
		{"from={from}", "x", `"a b\"c"@example.net`, `from="\"a b\\\"c\"@example.net"`},
		{"{hello}", "=?utf-8?q?forged?=", "", "=?utf-8?q?=3D=3Futf-8=3Fq=3Fforged=3F=3D?="},
		{"{hello} {hostname} {listener}", "x", "", "x mx.example.org 127.0.0.1:25"},
		{"{message_id}", "x", "", "1@example.net"},
		{"{{hello}} {hello}", "x", "", "{hello} x"},
		{"{auth_user}{client_name}{tls}", "x", "", ""},
		{"[{hello}]", strings.Repeat("é", 400), "", "long"},
	} {
		h := start(t, rules(table{"set": []table{{"name": "X-A", "value": tc.value}}}))
		c := h.Connect("2001:db8::1")
		c.Ehlo(tc.hello)
		got := c.Mail(tc.sender).EndOfHeaders("Message-ID: <1@example.net>\r\nX-A: forged\r\n").Header
		want := "Message-ID: <1@example.net>\r\n"
		if tc.want != "" {
			want += "X-A: " + tc.want + "\r\n"
		}
		if tc.want == "long" {
			if len(got) < 500 || len(got) > 1000 {
				t.Errorf("%d octets: what the client says is not bounded", len(got))
			}
			continue
		}
		if got != want {
			t.Errorf("%s: %q, want %q", tc.value, got, want)
		}
	}
}

func TestShownOnlyTheFieldsOfTheRules(t *testing.T) {
	for _, tc := range []struct {
		rule table
		want []string // nil: all
	}{
		{table{"tag_subject": "[x] ", "direction": "inbound"}, []string{"Subject"}},
		{table{"has": []string{"List-Id"}, "lacks": []string{"X-B"}, "matches": table{"From": "x"}, "rename": []table{{"from": "X-C", "to": "X-D"}},
			"set": []table{{"name": "X-E", "value": "{message_id}"}}, "add": []table{{"name": "X-F", "value": "a"}}, "remove": []string{"x-b"}},
			[]string{"From", "List-Id", "Message-ID", "X-B", "X-C", "X-D", "X-E", "X-F"}},
		{table{"remove": []string{"X-*"}}, nil},
		{table{"add": []table{{"name": "X-A", "value": "b", "at": "bottom"}}}, nil},
	} {
		if got := start(t, rules(tc.rule)).HeaderNames(agent.EventEndOfHeaders); !slices.Equal(got, tc.want) {
			t.Errorf("%v is shown %q, want %q", tc.rule, got, tc.want)
		}
	}
}

// One edit removes all fields of a name: a client that sends thousands cannot make the verdict
// larger than the relay takes.
func TestThousandsOfFields(t *testing.T) {
	many := strings.Repeat("X-A: b\r\n", 5000)
	h := start(t, rules(table{"remove": []string{"X-*"}}, table{"set": []table{{"name": "x-a", "value": "c"}}}))
	if got := h.Connect("192.0.2.1").Mail("").EndOfHeaders(many + "Subject: s\r\n"); got.Header != "x-a: c\r\nSubject: s\r\n" {
		t.Errorf("header = %.200q (%+v)", got.Header, got.Verdict)
	}
}

func TestSettingsAreRefusedFieldByField(t *testing.T) {
	h := start(t, rules(table{"stop": true}))
	const trace = "Received is the trace of the servers, which only they write and nobody may change (RFC 5321 §4.4)"
	name := func(given string) string {
		return `must be the name of a header field, without the colon, of at most 70 characters, not "` + given + `"`
	}
	one := func(r table) table { return table{"rules": []table{r}} }
	for _, tc := range []struct {
		settings table
		want     []string
	}{
		{nil, []string{"rules: must have at least one: without rules there is nothing to do"}},
		{table{"rule": 1}, []string{"rule: unknown setting; there are rules"}},
		{table{"rules": []any{table{"stop": true}, table{"tag": "x", "authenticated": "yes", "add": table{}, "matches": table{"a": 1}}}}, []string{
			"rules[1].add: must be a list (each a table), not a table",
			"rules[1].authenticated: must be true or false, not a string",
			"rules[1].matches: must be a table (each value a string), not a table",
			"rules[1].tag: unknown setting; there are add, authenticated, direction, has, lacks, listeners, matches, recipient_domains, remove, rename, sender_domains, set, stop, tag_subject"}},
		{one(table{"direction": "outbound"}), []string{
			`rules[0].direction: must be "inbound" or "internal", not "outbound"`,
			"rules[0].add: the rule does nothing: it needs one of add, set, remove, rename, tag_subject, stop"}},
		{one(table{"stop": true, "sender_domains": []string{"<>", "a@b"}, "recipient_domains": []string{"<>"}, "has": []string{"To:"}, "lacks": []string{""}, "matches": table{"a b": "x", "c": "("}}), []string{
			`rules[0].sender_domains[1]: must be a name such as "example.org" or "*.example.org", not "a@b"`,
			`rules[0].recipient_domains[0]: must be a name such as "example.org" or "*.example.org", not "<>"`,
			"rules[0].has[0]: " + name("To:"), "rules[0].lacks[0]: " + name(""), "rules[0].matches: " + name("a b"),
			"rules[0].matches.c: must be a regular expression: error parsing regexp: missing closing ): `(`"}},
		{one(table{"remove": []string{"received", "X *"}, "rename": []table{{"from": "Received", "to": "X-Y"}, {"from": "X-Y", "to": "RECEIVED"}},
			"set": []table{{"name": "Received", "value": "a"}}, "add": []table{{"name": "Received", "value": "b"}}}), []string{
			"rules[0].remove[0]: " + trace, "rules[0].remove[1]: " + name("X *"), "rules[0].rename[0].from: " + trace, "rules[0].rename[1].to: " + trace,
			"rules[0].set[0].name: " + trace, "rules[0].add[0].name: " + trace}},
		{one(table{"tag_subject": "\u200b ", "set": []table{{"name": "A", "value": "x", "at": "top"}, {"name": "B", "value": " "}},
			"add": []table{{"name": "C", "value": "a\nb"}, {"name": "D", "value": "{ip}", "at": "middle"}, {"name": "E", "value": "a}"}}}), []string{
			"rules[0].set[0].at: is for add: set changes a field in its place, and adds it at the top where there is none",
			"rules[0].set[1].value: must not be empty; to take a field away, remove it",
			"rules[0].add[0].value: must not contain line breaks and other control characters: a long value is folded by itself",
			"rules[0].add[1].value: there is no placeholder {ip}; there are {auth_user}, {client_ip}, {client_name}, {from}, {hello}, {hostname}, {id}, {listener}, {message_id}, {tls}",
			`rules[0].add[1].at: must be "top" or "bottom", not "middle"`,
			`rules[0].add[2].value: "}" has a brace without its other half: {{ and }} are braces that are meant`,
			`rules[0].tag_subject: must have something to show, as in "[EXTERNAL] ", not "` + "\\u200b" + ` "`}},
	} {
		err := h.Configure(agenttest.Config{Settings: tc.settings})
		if err == nil || err.Error() != strings.Join(tc.want, "\n") {
			t.Errorf("Configure(%v) =\n%v\nwant\n%s", tc.settings, err, strings.Join(tc.want, "\n"))
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "a", "{hello}", "{{}}", "{", "}", "{}", "{{{hello}}}", "a{from}b{id}", "{hello"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		parsed, err := parseTemplate(value)
		if err != nil {
			return
		}
		var again strings.Builder
		for i, part := range parsed {
			if i%2 == 1 {
				again.WriteString("{" + part + "}")
			} else {
				again.WriteString(strings.NewReplacer("{", "{{", "}", "}}").Replace(part))
			}
		}
		if again.String() != value {
			t.Errorf("%q is read as %q", value, again.String())
		}
	})
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "a b", `"`, `\`, "a\r\nb", "\xff", "x; y=z", "(", strings.Repeat("ü", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, fact string) {
		got := quote(fact)
		if strings.ContainsAny(got, "\r\n\x00") || len(got) > 2*longestFact+2 {
			t.Errorf("quote(%q) = %q", fact, got)
		}
		inside, open := strings.CutPrefix(got, `"`)
		if !open {
			if strings.ContainsAny(got, " ;,()<>\"\\") {
				t.Errorf("quote(%q) = %q stands open", fact, got)
			}
			return
		}
		for i := 0; i < len(inside); i++ {
			if inside[i] == '\\' {
				i++
			} else if inside[i] == '"' && i != len(inside)-1 {
				t.Errorf("quote(%q) = %q ends early", fact, got)
			}
		}
	})
}
