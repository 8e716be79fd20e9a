package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

const list = `# who is who
alice@example.org        alice@mail.example.org
Sales@example.org        ann@example.org bob@example.org   # two
ann@example.org          ann@example.org
@other.example           rest@example.org
away@example.org         away@example.net
`

func start(t *testing.T, text string, settings map[string]any) (*agenttest.Host, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "directory")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	settings["file"] = path
	return agenttest.Start(t, factory(), agenttest.Config{Settings: settings, AcceptedDomains: []string{"example.org", "*.example.org", "other.example"}}), path
}

func TestRecipients(t *testing.T) {
	for _, unknown := range []string{"reject", "pass"} {
		h, path := start(t, list, map[string]any{"unknown": unknown})
		for to, want := range map[string]string{
			"Alice@example.org": "alice@mail.example.org", "sales@example.org": "ann@example.org bob@example.org", "ann@example.org": "ann@example.org",
			"x@other.example": "rest@example.org", "away@example.org": "away@example.net", "postmaster": "postmaster", "Postmaster@example.org": "Postmaster@example.org",
			"somebody@example.com": "somebody@example.com", "nobody@example.org": "",
		} {
			m := h.Connect("192.0.2.1").Mail("a@example.net")
			v := m.Rcpt(to)
			refused := agenttest.Verdict{Action: "reject", Code: 550, Enhanced: "5.1.1", Text: "no such user here", Reason: "not in " + path}
			if want == "" && unknown == "pass" {
				want = to
			}
			if (want == "") != (v == refused) || want != "" && v != (agenttest.Verdict{Action: "continue"}) {
				t.Errorf("%s, unknown are to %s: %+v", to, unknown, v)
			}
			if got := m.EndOfHeaders("").Recipients; !slices.Equal(got, strings.Fields(want)) {
				t.Errorf("%s: %q, want %q", to, got, want)
			}
		}
	}
}

func TestSettingsAndListsAreRefused(t *testing.T) {
	h, path := start(t, "a@example.org b@example.org\n", map[string]any{})
	for _, tc := range []struct {
		settings map[string]any
		list     string
		grant    []agent.Permission
		want     string
	}{
		{map[string]any{"file": "list", "unknown": "drop"}, "", nil, "file: must be a path that begins with /, not \"list\"\nunknown: must be \"reject\" or \"pass\", not \"drop\""},
		{map[string]any{"file": path + ".none"}, "", nil, "file: open " + path + ".none: no such file or directory"},
		{map[string]any{"file": path}, "a@example.org\nb  c@example.org\n\nd@example.org e@\nD@example.org x@example.org\nd@example.org y@example.org\n", nil,
			"file: " + path + ": line 1: a@example.org stands for nobody: addresses must follow it\n" +
				"line 2: \"b\" is no address: must be as user@example.org, or @example.org for the rest of a domain\n" +
				"line 4: \"e@\" is no address\nline 6: d@example.org is there already"},
		{map[string]any{"file": path}, "a@example.org b@example.net\n", []agent.Permission{agent.ChangeRecipients, agent.RejectMail},
			"file: " + path + ": line 1: b@example.net is not in an accepted domain, and the permission relay was not granted"},
	} {
		if err := os.WriteFile(path, []byte(tc.list), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.Configure(agenttest.Config{Settings: tc.settings, Grant: tc.grant}); err == nil || err.Error() != tc.want {
			t.Errorf("Configure(%v) =\n%v\nwant\n%s", tc.settings, err, tc.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{list, "@a b@c", "a@b c", `"x"@y z@z`, "a@b <c@d>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := read(strings.NewReader(text), func(string) bool { return true })
		if err != nil {
			return
		}
		for from, to := range table {
			for _, address := range to {
				if local, domain := agent.Split(address); local == "" || domain == "" || agent.Join(local, domain) != address {
					t.Errorf("%q: %q stands for %q, which is no address", text, from, address)
				}
			}
		}
	})
}
