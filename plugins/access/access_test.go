package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

type table = map[string]any

func start(t *testing.T, settings any) *agenttest.Host {
	t.Helper()
	return agenttest.Start(t, factory(), agenttest.Config{Settings: settings})
}

func list(entries ...string) []string { return entries }

var passed = agenttest.Verdict{Action: "continue"}

// dialogue is a session up to the first refusal; what was decided, and where.
func dialogue(h *agenttest.Host, ip, hello, from, to string) (at string, v agenttest.Verdict) {
	c := h.Connect(ip)
	if v := c.Greeting; v != passed && v.Action != "detach" {
		return "connect", v
	}
	if v := c.Ehlo(hello); v != passed {
		return "hello", v
	}
	m := c.Mail(from)
	if m.Verdict != passed {
		return "mail", m.Verdict
	}
	if v := m.Rcpt(to); v != passed {
		return "rcpt", v
	}
	return "", passed
}

func TestRules(t *testing.T) {
	type who struct{ ip, hello, from, to, at, action string }
	for _, tc := range []struct {
		name     string
		settings table
		sessions []who
	}{
		{"client", table{"rules": []table{{"action": "reject", "client": list("192.0.2.0/24", "2001:db8::/32", "::ffff:198.51.100.0/120", "203.0.113.7")}}}, []who{
			{"192.0.2.200", "x", "a@b.example", "c@example.org", "connect", "reject"},
			{"::ffff:192.0.2.1", "x", "a@b.example", "c@example.org", "connect", "reject"},
			{"198.51.100.9", "x", "a@b.example", "c@example.org", "connect", "reject"},
			{"203.0.113.7", "x", "a@b.example", "c@example.org", "connect", "reject"},
			{"203.0.113.8", "x", "a@b.example", "c@example.org", "", ""},
			{"2001:db8:1::1", "x", "a@b.example", "c@example.org", "connect", "reject"},
			{"2001:db9::1", "x", "a@b.example", "c@example.org", "", ""},
		}},
		{"hello", table{"rules": []table{{"action": "tempfail", "hello": list("localhost", "*.dyn.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "münchen.example")}}}, []who{
			{"192.0.2.1", "LOCALHOST", "a@b.example", "c@example.org", "hello", "tempfail"},
			{"192.0.2.1", "localhost.", "a@b.example", "c@example.org", "hello", "tempfail"},
			{"192.0.2.1", "a.b.Dyn.example", "a@b.example", "c@example.org", "hello", "tempfail"},
			{"192.0.2.1", "dyn.example", "a@b.example", "c@example.org", "", ""},
			{"192.0.2.1", "notdyn.example", "a@b.example", "c@example.org", "", ""},
			{"192.0.2.1", "[192.0.2.1]", "a@b.example", "c@example.org", "hello", "tempfail"},
			{"192.0.2.1", "[IPv6:::ffff:192.0.2.1]", "a@b.example", "c@example.org", "hello", "tempfail"},
			{"192.0.2.1", "[ipv6:2001:DB8:0::1]", "a@b.example", "c@example.org", "hello", "tempfail"},
			{"192.0.2.1", "[192.0.2.2]", "a@b.example", "c@example.org", "", ""},
			{"192.0.2.1", "xn--mnchen-3ya.example", "a@b.example", "c@example.org", "hello", "tempfail"},
		}},
		{"sender", table{"rules": []table{{"action": "reject", "sender": list("bad@b.example", "spam.example", "*.spam.example", "noreply@", "<>", `"a b"@c.example`, "x@[192.0.2.1]", "ü@münchen.example")}}}, []who{
			{"192.0.2.1", "x", "BAD@B.example", "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", `"bad"@b.example`, "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", "good@b.example", "c@example.org", "", ""},
			{"192.0.2.1", "x", "any@spam.example", "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", "any@a.b.spam.example", "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", "any@nospam.example", "c@example.org", "", ""},
			{"192.0.2.1", "x", `"x@spam.example"@b.example`, "c@example.org", "", ""},
			{"192.0.2.1", "x", "noreply@d.example", "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", "", "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", `"A B"@c.example`, "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", "x@[IPv6:::ffff:192.0.2.1]", "c@example.org", "mail", "reject"},
			{"192.0.2.1", "x", "Ü@xn--mnchen-3ya.example", "c@example.org", "mail", "reject"},
		}},
		{"recipient", table{"rules": []table{{"action": "reject", "recipient": list("old@example.org", "postmaster@")}}}, []who{
			{"192.0.2.1", "x", "", "OLD@example.org", "rcpt", "reject"},
			{"192.0.2.1", "x", "", "postmaster", "rcpt", "reject"},
			{"192.0.2.1", "x", "", "new@example.org", "", ""},
		}},
		{"the first that matches counts", table{"rules": []table{
			{"action": "allow", "client": list("192.0.2.1")}, {"action": "tempfail", "client": list("192.0.2.0/25")}, {"action": "disconnect", "client": list("192.0.2.0/24")}}}, []who{
			{"192.0.2.1", "x", "", "c@example.org", "", ""},
			{"192.0.2.2", "x", "", "c@example.org", "connect", "tempfail"},
			{"192.0.2.129", "x", "", "c@example.org", "connect", "disconnect"},
		}},
		{"an exception by a later fact", table{"rules": []table{
			{"action": "allow", "recipient": list("postmaster@")}, {"action": "reject", "client": list("192.0.2.0/24")}}}, []who{
			{"192.0.2.1", "x", "a@b.example", "postmaster@example.org", "", ""},
			{"192.0.2.1", "x", "a@b.example", "c@example.org", "rcpt", "reject"},
			{"198.51.100.1", "x", "a@b.example", "c@example.org", "", ""},
		}},
		{"all conditions of a rule", table{"rules": []table{
			{"action": "reject", "client": list("192.0.2.0/24"), "hello": list("x"), "sender": list("b.example"), "recipient": list("c@example.org")}}}, []who{
			{"192.0.2.1", "x", "a@b.example", "c@example.org", "rcpt", "reject"},
			{"192.0.2.1", "x", "a@b.example", "d@example.org", "", ""},
			{"192.0.2.1", "y", "a@b.example", "c@example.org", "", ""},
			{"198.51.100.1", "x", "a@b.example", "c@example.org", "", ""},
		}},
		{"an exception that cannot come any more", table{"rules": []table{
			{"action": "allow", "client": list("198.51.100.1"), "sender": list("b.example")}, {"action": "reject", "hello": list("x")}}}, []who{
			{"192.0.2.1", "x", "a@b.example", "c@example.org", "hello", "reject"},
			{"198.51.100.1", "x", "a@b.example", "c@example.org", "", ""},
			{"198.51.100.1", "x", "a@c.example", "c@example.org", "mail", "reject"},
		}},
		{"default", table{"default": "reject", "rules": []table{{"action": "allow", "client": list("192.0.2.0/24")}, {"action": "allow", "sender": list("b.example")}}}, []who{
			{"192.0.2.1", "x", "a@x.example", "c@example.org", "", ""},
			{"198.51.100.1", "x", "a@b.example", "c@example.org", "", ""},
			{"198.51.100.1", "x", "a@x.example", "c@example.org", "mail", "reject"},
		}},
		{"a default of its own words", table{"rules": []table{{"action": "allow", "client": list("192.0.2.1")}, {"action": "disconnect"}}}, []who{
			{"192.0.2.1", "x", "a@x.example", "c@example.org", "", ""},
			{"192.0.2.2", "x", "a@x.example", "c@example.org", "connect", "disconnect"},
		}},
		{"discard waits for a message", table{"rules": []table{{"action": "discard", "client": list("192.0.2.1")}, {"action": "discard", "recipient": list("trap@example.org")}}}, []who{
			{"192.0.2.1", "x", "a@x.example", "c@example.org", "mail", "discard"},
			{"192.0.2.2", "x", "a@x.example", "c@example.org", "", ""},
			{"192.0.2.2", "x", "a@x.example", "trap@example.org", "rcpt", "discard"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := start(t, tc.settings)
			for _, w := range tc.sessions {
				at, v := dialogue(h, w.ip, w.hello, w.from, w.to)
				if at != w.at || at != "" && v.Action != w.action {
					t.Errorf("%+v: %s at %q", w, v.Action, at)
				}
				if at != "" && !strings.HasPrefix(v.Reason, "rules[") && v.Reason != "default" {
					t.Errorf("%+v: reason %q", w, v.Reason)
				}
			}
		})
	}
}

func TestReplies(t *testing.T) {
	for _, tc := range []struct {
		rule   table
		at     string
		reply  string // code, enhanced, text
		reason string
	}{
		{table{"action": "reject", "client": list("192.0.2.0/24")}, "connect", "0  ", "rules[0]: client 192.0.2.1 is 192.0.2.0/24"},
		{table{"action": "reject", "client": list("192.0.2.1"), "text": "not you"}, "connect", "554 5.7.1 not you", "rules[0]: client 192.0.2.1 is 192.0.2.1/32"},
		{table{"action": "tempfail", "client": list("192.0.2.1"), "text": "not now"}, "connect", "421 4.7.1 not now", "rules[0]: client 192.0.2.1 is 192.0.2.1/32"},
		{table{"action": "tempfail", "hello": list("*.example.net"), "text": "not now"}, "hello", "451 4.7.1 not now", "rules[0]: hello <mx.example.net> is *.example.net"},
		{table{"action": "disconnect", "hello": list("mx.example.net"), "code": 554, "text": "one\ntwo\n"}, "hello", "554 5.7.0 one\ntwo", "rules[0]: hello <mx.example.net> is mx.example.net"},
		{table{"action": "reject", "sender": list("a@"), "code": 553, "enhanced": "5.1.8"}, "mail", "553 5.1.8 ", "rules[0]: sender <a@b.example> is a@"},
		{table{"action": "reject", "sender": list("b.example"), "recipient": list("C@example.org"), "text": "no"}, "rcpt", "550 5.7.1 no",
			"rules[0]: sender <a@b.example> is b.example: recipient <c@example.org> is c@example.org"},
	} {
		at, v := dialogue(start(t, table{"rules": []table{tc.rule}}), "192.0.2.1", "mx.example.net", "a@b.example", "c@example.org")
		if reply := fmt.Sprintf("%d %s %s", v.Code, v.Enhanced, v.Text); at != tc.at || reply != tc.reply || v.Reason != tc.reason {
			t.Errorf("%v: %q at %s because %q, want %q because %q", tc.rule, reply, at, v.Reason, tc.reply, tc.reason)
		}
	}
}

func TestARecipientIsJudgedAsItWasGivenToo(t *testing.T) {
	s, err := readSet(recipient)(strings.NewReader("old@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	r := rule{Action: reject, conditions: []condition{{kind: recipient, set: s}}}
	if result, why := r.match(&facts{stage: atRcpt, recipients: []string{"new@example.org", "old@example.org"}}); result != yes || why != ": recipient <old@example.org> is old@example.org" {
		t.Errorf("match = %v %q", result, why)
	}
}

func TestBoundOnlyWhereARuleCanRefuse(t *testing.T) {
	events := []agent.Event{agent.EventConnect, agent.EventHeloCommand, agent.EventEhloCommand, agent.EventMailCommand, agent.EventRcptCommand}
	for _, tc := range []struct {
		settings table
		want     string
	}{
		{table{"rules": []table{{"action": "reject", "client": list("192.0.2.1")}}}, "OnConnect"},
		{table{"rules": []table{{"action": "reject", "recipient": list("a@")}, {"action": "allow", "sender": list("b@")}}}, "OnRcptCommand"},
		{table{"rules": []table{{"action": "allow", "hello": list("x")}, {"action": "reject", "client": list("192.0.2.1")}}}, "OnConnect OnHeloCommand OnEhloCommand"},
		{table{"default": "reject", "rules": []table{{"action": "allow", "recipient": list("a@")}}}, "OnConnect OnRcptCommand"},
		{table{"rules": []table{{"action": "discard", "client": list("192.0.2.1")}}}, "OnMailCommand"},
	} {
		h := start(t, tc.settings)
		var got []string
		for _, e := range events {
			if bound, _ := h.Binds(e); bound {
				got = append(got, e.String())
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%v is bound to %v, want %s", tc.settings, got, tc.want)
		}
	}
}

// Where the client's address settles it, nothing more of the session is asked about.
func TestAnAllowedClientIsLeftAlone(t *testing.T) {
	h := start(t, table{"rules": []table{{"action": "allow", "client": list("192.0.2.1")}, {"action": "reject", "sender": list("b.example")}, {"action": "reject", "client": list("192.0.2.9")}}})
	for ip, want := range map[string]string{"192.0.2.1": "detach", "192.0.2.2": "continue", "192.0.2.9": "continue"} {
		if v := h.Connect(ip).Greeting; v.Action != want {
			t.Errorf("%s: %s, want %s", ip, v.Action, want)
		}
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "clients")
	synctest.Test(t, func(t *testing.T) {
		put := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		put("# bad clients\n192.0.2.1\n\n198.51.100.0/24 # a whole network\n")
		s := settings{Rules: []rule{{Action: reject, Client: list("203.0.113.1"), ClientFiles: list(path)}}}
		if err := s.prepare(agent.Setup{Granted: []agent.Permission{agent.RejectMail}, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		refused := func(ip, want string) {
			t.Helper()
			match, why := s.Rules[0].match(&facts{stage: atConnect, client: netip.MustParseAddr(ip)})
			if (match == yes) != (want != "") || why != want {
				t.Errorf("%s: %v %q, want %q", ip, match, why, want)
			}
		}
		refused("203.0.113.1", ": client 203.0.113.1 is 203.0.113.1/32")
		refused("192.0.2.1", ": client 192.0.2.1 is 192.0.2.1/32 ("+path+":2)")
		refused("198.51.100.7", ": client 198.51.100.7 is 198.51.100.0/24 ("+path+":4)")
		put("192.0.2.2\n")
		refused("192.0.2.1", "")
		refused("192.0.2.2", ": client 192.0.2.2 is 192.0.2.2/32 ("+path+":1)")
		put("192.0.2.3\nnonsense\n")
		refused("192.0.2.3", "")
		refused("192.0.2.2", ": client 192.0.2.2 is 192.0.2.2/32 ("+path+":1)")
	})
}

func TestSettingsAreRefusedFieldByField(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("good@example.org\n\n@example.org\n*.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, table{"default": "reject"})
	one := func(r table) table { return table{"rules": []table{r}} }
	address := func(given string) string {
		return `"` + given + `" is no address: must be as user@example.org, user@ for any domain, example.org or *.example.org`
	}
	domain := func(given string) string {
		return `"` + given + `" is no domain: must be as example.org, *.example.org or [192.0.2.1]`
	}
	network := func(given string) string {
		return `"` + given + `" is no network: must be as 192.0.2.0/24, 192.0.2.1, 2001:db8::/32`
	}
	for _, tc := range []struct {
		settings table
		grant    []agent.Permission
		want     []string
	}{
		{nil, nil, []string{"rules: none of them refuses anything, and neither does the default: there is nothing to do"}},
		{table{"default": "deny", "rules": []table{{"action": "ban"}}}, nil, []string{
			`default: must be one of allow, reject, tempfail, disconnect, discard, not "deny"`,
			`rules[0].action: must be one of allow, reject, tempfail, disconnect, discard, not "ban"`}},
		{table{"rules": []table{{"action": "reject", "clients": list("a")}}}, nil, []string{
			"rules[0].clients: unknown setting; there are action, client, client_files, code, enhanced, hello, hello_files, recipient, recipient_files, sender, sender_files, text"}},
		{one(table{"action": "reject", "client": list("192.0.2.1/24", "a", "fe80::1%eth0", "192.0.2.0/33"), "hello": list("a b", "*"), "sender": list("@x", "a@b@", `"`, "a..b", "x@*.y"), "recipient": list("<>", "")}), nil, []string{
			`rules[0].client[0]: "192.0.2.1/24" has an address behind its prefix: the network is 192.0.2.0/24`,
			"rules[0].client[1]: " + network("a"), "rules[0].client[2]: " + network("fe80::1%eth0"), "rules[0].client[3]: " + network("192.0.2.0/33"),
			"rules[0].hello[0]: " + domain("a b"), "rules[0].hello[1]: " + domain("*"),
			"rules[0].sender[0]: " + address("@x"), "rules[0].sender[2]: " + domain(`\"`), "rules[0].sender[3]: " + domain("a..b"), "rules[0].sender[4]: " + address("x@*.y"),
			"rules[0].recipient[0]: " + domain("<>"), "rules[0].recipient[1]: " + domain("")}},
		{one(table{"action": "reject", "sender_files": list(bad, "relative", filepath.Join(dir, "none"))}), nil, []string{
			"rules[0].sender_files[0]: " + bad + ": line 3: " + address("@example.org"), "line 4: " + domain(""),
			`rules[0].sender_files[1]: must be a path that begins with /, not "relative"`,
			"rules[0].sender_files[2]: open " + dir + "/none: no such file or directory"}},
		{table{"rules": []table{
			{"action": "reject", "client": list("192.0.2.1"), "code": 450}, {"action": "tempfail", "client": list("192.0.2.1"), "code": 461},
			{"action": "disconnect", "client": list("192.0.2.1"), "code": 250}, {"action": "reject", "client": list("192.0.2.1"), "enhanced": "4.7.1", "text": "ü"},
			{"action": "reject", "client": list("192.0.2.1"), "enhanced": "5.07.1"}, {"action": "discard", "client": list("192.0.2.1"), "text": "x"}, {"action": "reject"}, {"action": "allow"}}}, nil, []string{
			"rules[0].code: must have three digits and begin with 5 for reject, not 450",
			"rules[1].code: must have three digits and begin with 4 for tempfail, not 461",
			"rules[2].code: must have three digits and begin with 4 or 5 for disconnect, not 250",
			`rules[3].enhanced: must be as 5.7.1, its first digit that of the code, not "4.7.1"`,
			`rules[3].text: must be printable ASCII, at most 400 characters a line, not "ü"`,
			`rules[4].enhanced: must be as 5.7.1, its first digit that of the code, not "5.07.1"`,
			"rules[5].text: discard has no reply: text, code and enhanced are for reject, tempfail and disconnect",
			"rules[6]: has no condition, so that no rule after it would ever count: it must be the last"}},
		{table{"default": "discard", "rules": []table{{"action": "tempfail", "hello": list("x")}}}, []agent.Permission{}, []string{
			"default: discard needs the permission discard, which was not granted",
			"rules[0].action: tempfail needs the permission reject, which was not granted"}},
	} {
		err := h.Configure(agenttest.Config{Settings: tc.settings, Grant: tc.grant})
		if err == nil || err.Error() != strings.Join(tc.want, "\n") {
			t.Errorf("Configure(%v) =\n%v\nwant\n%s", tc.settings, err, strings.Join(tc.want, "\n"))
		}
	}
}
