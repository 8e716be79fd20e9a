package corpus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// own loads testdata/corpus.
func own(t testing.TB) (dir string, messages []Message) {
	t.Helper()
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	messages, err = Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, messages
}

func TestEveryFileIsInTheManifest(t *testing.T) {
	dir, messages := own(t)
	listed := map[string]bool{}
	for _, m := range messages {
		if listed[m.File] {
			t.Errorf("%s is in the manifest twice", m.File)
		}
		listed[m.File] = true
	}
	files, err := filepath.Glob(filepath.Join(dir, "messages", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		if !listed[filepath.ToSlash(rel)] {
			t.Errorf("%s is not in the manifest", rel)
		}
	}
}

func TestEverySetHasALicence(t *testing.T) {
	dir, messages := own(t)
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range messages {
		if seen[m.Set] {
			continue
		}
		seen[m.Set] = true
		if licence, err := os.ReadFile(filepath.Join(dir, "LICENSES", m.Set+".txt")); err != nil || len(licence) == 0 {
			t.Errorf("set %s: no licence: %v", m.Set, err)
		}
		if !strings.Contains(string(readme), "| "+m.Set+" |") {
			t.Errorf("set %s: README.md does not tell its origin", m.Set)
		}
	}
}

func TestMadeMessagesAreDescribed(t *testing.T) {
	dir, messages := own(t)
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		name := strings.TrimSuffix(filepath.Base(m.File), ".eml")
		if m.Set == "made" && !strings.Contains(string(readme), "| `"+name+"` |") {
			t.Errorf("README.md does not say what %s is for", m.File)
		}
	}
}

func TestCorpusStaysSmallAndWhole(t *testing.T) {
	_, messages := own(t)
	count, total := map[bool]int{}, 0
	for _, m := range messages {
		count[m.Set == "made"]++
		total += len(m.Raw)
		// The header section of 213 KB is the one reason for a larger file.
		if len(m.Raw) > 40_000 && m.File != "messages/flanker/long-header.eml" {
			t.Errorf("%s has %d octets, want at most 40000", m.File, len(m.Raw))
		}
	}
	if total > 1_500_000 {
		t.Errorf("corpus has %d octets, want at most 1500000", total)
	}
	if count[false] < 240 || count[true] < 60 {
		t.Errorf("%d messages of others and %d made, want 240 and 60 at least", count[false], count[true])
	}
}

func TestEveryFeatureOccurs(t *testing.T) {
	_, messages := own(t)
	count := map[string]int{}
	for _, m := range messages {
		for _, feature := range m.Features {
			count[feature]++
		}
	}
	for _, feature := range []string{
		"eol=lf", "eol=crlf", "eol=cr", "eol=none", "eol=crlf+lf", "eol=crlf+cr", "eol=lf+cr",
		"8bit-header", "8bit-body", "nul", "longline", "mbox-from", "dotline", "dkim", "arc", "no-final-eol",
	} {
		if count[feature] == 0 {
			t.Errorf("no message has the feature %s", feature)
		}
	}
}

// TestRefusalsOfTheCorpus is the whole list of what the relay may refuse here. A change of the list is a change of what
// the project holds for relayable, not of a golden file.
func TestRefusalsOfTheCorpus(t *testing.T) {
	_, messages := own(t)
	got := map[string][]Kind{}
	for _, m := range messages {
		for _, d := range Scan(m.Wire()) {
			got[strings.TrimPrefix(m.File, "messages/")] = append(got[strings.TrimPrefix(m.File, "messages/")], d.Kind)
		}
	}
	want := map[string][]Kind{
		"made/bare-cr-dot.eml":     {BareCR},
		"made/bare-cr-in-body.eml": {BareCR},
		"made/ends-with-cr.eml":    {BareCR},
		"made/lf-and-stray-cr.eml": {BareCR},
		"made/lf-cr.eml":           {BareCR},
		"made/nul-in-body.eml":     {NUL},
		"made/nul-in-header.eml":   {NUL},
		"made/received-101.eml":    {ManyHops},
		"made/subject-bare-cr.eml": {BareCR},

		"sisimai-bounces/bsd__lhost-dragonfly-01.eml": {BareCR},
		"sisimai-bounces/bsd__lhost-x2-04.eml":        {NUL},
		"spamscope-mail-parser/mail_malformed_3.eml":  {NUL},
		"stalwart-mail-parser/thirdparty__005.eml":    {NUL},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

// TestWireHasOnlySMTPLineEnds also runs over the corpus that RELAY_CORPUS names.
func TestWireHasOnlySMTPLineEnds(t *testing.T) {
	_, messages := own(t)
	if dir := Foreign(); dir != "" {
		foreign, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d messages of %s", len(foreign), ForeignEnv)
		messages = append(messages, foreign...)
	}
	for _, m := range append(messages, Generated()...) {
		wire := m.Wire()
		if len(wire) > 0 && !strings.HasSuffix(string(wire), "\r\n") {
			t.Errorf("%s does not end with CRLF", m.File)
		}
		for _, d := range Scan(wire) {
			if d.Kind == BareLF {
				t.Errorf("%s: %s", m.File, d.Text)
			}
		}
		header, rest := Split(wire)
		if string(header)+string(rest) != string(wire) {
			t.Errorf("%s: header and rest together are not the message", m.File)
		}
	}
}

func TestLoadNamesEveryProblem(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, test := range []struct {
		name     string
		manifest string
		want     []string
	}{
		{"no header line", "messages/s/a\t0\t" + empty + "\teol=none\n", []string{"does not begin with"}},
		{"missing columns", manifestHeader + "\nmessages/s/a\n", []string{"line 2: 1 columns"}},
		{"outside", manifestHeader + "\nmessages/../a\t0\t" + empty + "\t\n", []string{"want messages/<set>/<name>"}},
		{"two at once", manifestHeader + "\nmessages/s/a\t1\t" + empty + "\t\nmessages/s/b\t0\t" + empty + "\t\n",
			[]string{"line 2: messages/s/a: 0 octets, manifest says 1", "line 3: open"}},
		{"another sum", manifestHeader + "\nmessages/s/a\t0\t00\t\n", []string{"manifest says 00"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "messages", "s"), 0o700); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"MANIFEST.tsv": test.manifest, "messages/s/a": ""} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(dir)
			if err == nil {
				t.Fatal("Load accepted the corpus")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Load: %v, want %q in it", err, want)
				}
			}
		})
	}
}
