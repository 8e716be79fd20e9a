package e2e

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
)

// peer returns the path of what .ci/peers.sh keeps in its folder, and skips the test where it
// is not there; with RELAY_REQUIRE_PEERS set it fails it.
func peer(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("RELAY_PEERS")
	if dir == "" {
		dir = "/var/cache/relay-peers"
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	needs.Absent(t, "%s is not there (make peers)", path)
	return ""
}

// folder is one that every user may enter, with further ones in it.
func folder(t *testing.T, inside ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay-peer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range inside {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// feed runs a program with this on its standard input, two minutes at most. It returns what the program
// printed and whether it was content.
func feed(t *testing.T, input []byte, env []string, program string, args ...string) (string, bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// local is a message as programs on this machine take and keep it, with LF alone.
func local(message []byte) []byte { return bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")) }

// trace splits the topmost field, which must be a Received, from the rest of a message.
func trace(t *testing.T, content []byte) (field string, rest []byte) {
	t.Helper()
	if !bytes.HasPrefix(content, []byte("Received: ")) {
		t.Fatalf("does not begin with a Received field: %.200q", content)
	}
	for end := 0; ; {
		n := bytes.Index(content[end:], []byte("\r\n"))
		if n < 0 {
			t.Fatalf("the Received field has no end: %.200q", content)
		}
		if end += n + 2; end == len(content) || !strings.ContainsRune(" \t", rune(content[end])) {
			return string(content[:end]), content[end:]
		}
	}
}

// listens waits until a server takes connections.
func listens(t *testing.T, name, addr string) {
	t.Helper()
	relaytest.Eventually(t, name+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}
