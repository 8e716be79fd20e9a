package agents

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketsOfAKilledHostWithALongPathAreRemoved(t *testing.T) {
	runtime := filepath.Join(os.TempDir(), filepath.Base(t.TempDir())+"-run") // short
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtime) })
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	state := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
	killed, err := newWorkshop(state, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(killed.sockets, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := newWorkshop(state, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(next.sockets); len(left) != 0 || next.sockets != killed.sockets {
		t.Errorf("%s then %s, with %v in it", killed.sockets, next.sockets, left)
	}
	if err := next.close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(runtime); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestSocketDirectoryIsNeverOneThatSomebodyElseHasMade(t *testing.T) {
	base := t.TempDir()
	first, err := elsewhere(base, "/state")
	if err != nil {
		t.Fatal(err)
	}
	target := t.TempDir()
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, first); err != nil {
		t.Fatal(err)
	}
	second, err := elsewhere(base, "/state")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(second)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("what the link led to: %v", err)
	}
}

func TestStartErrorHasTheProgramsOwnWords(t *testing.T) {
	r := newRig(t)
	for behaviour, want := range map[string]string{
		"mistyped": "did not start as an agent: it wrote no handshake to its standard output (exit status 1); on standard error: one | two [2J? | OnEndOfHeader fits no event; the nearest is OnEndOfHeaders",
		"panics":   "(exit status 2); on standard error: panic: no such table",
		"babble":   `it printed "hello, I am no agent" before the handshake: nothing may be printed to standard output before agent.Serve`,
		"blank":    `it printed "" before the handshake`,
	} {
		_, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: program(t, behaviour)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", behaviour, err, want)
		}
	}
}

// Who listens elsewhere than in its directory is not connected to: it would be shown mail through the relay.
func TestAgentIsReachedInItsOwnDirectoryOnly(t *testing.T) {
	r := newRig(t)
	for behaviour, want := range map[string]string{
		"remote": "must be a unix socket",
		"astray": "is not in PLUGIN_UNIX_SOCKET_DIR",
		"linked": "is not in PLUGIN_UNIX_SOCKET_DIR",
	} {
		_, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: program(t, behaviour)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", behaviour, err, want)
		}
	}
}
