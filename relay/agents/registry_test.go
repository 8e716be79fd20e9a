package agents

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/relay/relay/event"
)

func sample() []Entry {
	return []Entry{
		{
			Name: "catchall", Service: event.FrontEnd, Enabled: true, Path: "/opt/agents/catchall", SHA256: "ab12", Factory: "catchall",
			SettingsPath: "/etc/relay/catchall.toml", Settings: `{"separator":"_","note":"a\nb \"c\" '''"}`, Timeout: 3 * time.Second, OnFailure: "continue",
			Granted: event.Permissions(0).With(event.ChangeHeaders).With(event.MayNetwork),
			Described: Described{
				Version: "1.2", Description: "one line", Asks: event.Permissions(0).With(event.ChangeHeaders),
				Subscriptions: []event.Subscription{
					{Kind: event.RcptCommand, Notify: true, Filter: event.Filter{
						Listeners: []string{":25"}, RecipientDomains: []string{"example.org"}, SenderDomains: []string{"*.example.net"},
						Direction: event.Inbound, Login: event.Anonymous, MaxSize: 10,
					}},
					{Kind: event.EndOfHeaders},
				},
				ChangesRecipientsAt: event.EndOfHeaders,
			},
		},
		{Name: "a.b", Service: event.FrontEnd, Path: "/x", SHA256: "cd"},
		{Name: "catchall", Service: event.Hub, Path: "/y", SHA256: "ef"},
	}
}

func openRegistry(t *testing.T, dir string) *Registry {
	t.Helper()
	r, err := OpenRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRegistryKeepsAllItIsGiven(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "state")
	r := openRegistry(t, dir)
	if got := r.Entries(); len(got) != 0 {
		t.Errorf("a new registry has %v", got)
	}
	if err := r.replace(sample()); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if d := cmp.Diff(sample(), openRegistry(t, dir).Entries()); d != "" {
		t.Error(d)
	}
	data, err := os.ReadFile(filepath.Join(dir, registryFile))
	if err != nil || !strings.HasPrefix(string(data), "# managed by relay: ") {
		t.Errorf("file begins %.40q, %v", data, err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 2 {
		t.Errorf("files left: %v", files)
	}
}

func TestRegistryThatCannotBeWrittenStaysAsItWas(t *testing.T) {
	r := openRegistry(t, t.TempDir())
	if err := r.replace(sample()[:1]); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.dir, registryFile)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := r.dir
	r.dir = filepath.Join(dir, "away")
	if err := r.replace(sample()); err == nil {
		t.Error("no error without a directory")
	}
	after, err := os.ReadFile(file)
	if err != nil || string(after) != string(before) || len(r.entries) != 1 {
		t.Errorf("changed: %d entries, %v", len(r.entries), err)
	}
}

func TestStateDirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	r := openRegistry(t, dir)
	if _, err := OpenRegistry(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v, want locked", err)
	}
	r.Close()
	openRegistry(t, dir)
}

func TestDamagedRegistryIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no TOML":         "format = 1\n[[agent]\n",
		"unknown key":     "format = 1\nfuture = true\n",
		"unknown key (2)": "format = 1\n[[agent]]\nname='a'\nservice='Hub'\ncolour='red'\n",
		"format":          "format = 2\n",
		"twice":           "format = 1\n[[agent]]\nname='a'\nservice='Hub'\n[[agent]]\nname='A'\nservice='Hub'\n",
		"name":            "format = 1\n[[agent]]\nname='../a'\nservice='Hub'\n",
		"service":         "format = 1\n[[agent]]\nname='a'\nservice='Huub'\n",
		"event":           "format = 1\n[[agent]]\nname='a'\nservice='Hub'\n[agent.described]\ndecides=['OnTuesday']\n",
		"permission":      "format = 1\n[[agent]]\nname='a'\nservice='Hub'\ngranted=['fly']\n",
		"policy":          "format = 1\n[[agent]]\nname='a'\nservice='Hub'\non_failure='panic'\n",
		"settings":        "format = 1\n[[agent]]\nname='a'\nservice='Hub'\nsettings='{'\n",
		"timeout":         "format = 1\n[[agent]]\nname='a'\nservice='Hub'\ntimeout='5'\n",
		"timeout (2)":     "format = 1\n[[agent]]\nname='a'\nservice='Hub'\ntimeout='-5s'\n",
		"timeout (3)":     "format = 1\n[[agent]]\nname='a'\nservice='Hub'\ntimeout='1h'\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, registryFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := OpenRegistry(dir); err == nil {
				t.Errorf("read as %v", r.Entries())
			}
			// The lock is free again for whoever mends it.
			if err := os.Remove(filepath.Join(dir, registryFile)); err != nil {
				t.Fatal(err)
			}
			openRegistry(t, dir)
		})
	}
}

func TestRegistryOrderedByHandIsByService(t *testing.T) {
	text := "format = 1\n"
	for _, a := range []string{"name='h1'\nservice='Hub'", "name='f1'\nservice='FrontEnd'", "name='h2'\nservice='Hub'", "name='f2'\nservice='FrontEnd'"} {
		text += "[[agent]]\n" + a + "\n"
	}
	entries, err := decodeRegistry([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, e := range entries {
		got += e.Name + " "
	}
	if got != "f1 f2 h1 h2 " {
		t.Errorf("order %s", got)
	}
}

func TestRegistryTooLargeToBeReadIsNotWritten(t *testing.T) {
	r := openRegistry(t, t.TempDir())
	entries := sample()
	entries[0].Settings = `"` + strings.Repeat("x", maxRegistry) + `"`
	if err := r.replace(entries); err == nil || len(r.entries) != 0 {
		t.Errorf("%d entries, %v", len(r.entries), err)
	}
	if err := r.load(); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeRegistry(f *testing.F) {
	f.Add([]byte("format = 1\n[[agent]]\nname='a'\nservice='Hub'\n[agent.described]\ndecides=['OnRcptToCommand']\n"))
	f.Add([]byte("format = 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if entries, err := decodeRegistry(data); err == nil {
			r := openRegistry(t, t.TempDir())
			if err := r.replace(entries); err != nil {
				t.Fatal(err)
			}
			if err := r.load(); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
		}
	})
}

func TestMove(t *testing.T) {
	list := []Entry{{Name: "e", Service: event.Edge}, {Name: "a", Service: event.FrontEnd}, {Name: "b", Service: event.FrontEnd}, {Name: "c", Service: event.FrontEnd}, {Name: "h", Service: event.Hub}}
	for _, tt := range []struct {
		at, to int
		want   string
		notes  int
	}{
		{1, 1, "eabch", 0}, {1, 2, "ebach", 0}, {1, 3, "ebcah", 0}, {3, 1, "ecabh", 0}, {2, 0, "ebach", 1}, {1, 9, "ebcah", 1}, {4, 2, "eabch", 1},
	} {
		got, notes := move(append([]Entry(nil), list...), tt.at, &tt.to)
		s := ""
		for _, e := range got {
			s += e.Name
		}
		if s != tt.want || len(notes) != tt.notes {
			t.Errorf("move(%d, %d) = %s, %q, want %s, %d notes", tt.at, tt.to, s, notes, tt.want, tt.notes)
		}
	}
}
