// Package agentpeers finds the agents in other languages than Go for tests, where what they
// need is installed.
package agentpeers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// missing skips the test; with RELAY_REQUIRE_PEERS set it fails it.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("RELAY_REQUIRE_PEERS") != "" {
		t.Fatalf("%s is not there", what)
	}
	t.Skipf("SKIPPED: %s is not there (make peers)", what)
}

// Python returns the folder of the agents in Python. They need Debian's python3-grpcio and
// python3-protobuf.
func Python(t testing.TB) string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import grpc.aio, google.protobuf.message_factory").Run(); err != nil {
		missing(t, "python3-grpcio or python3-protobuf of /usr/bin/python3")
	}
	return examples(t, "python")
}

// Node returns a copy of the folder of the agents in JavaScript, with the packages they need:
// as an operator has it after npm ci.
func Node(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node")
	}
	peers := os.Getenv("RELAY_PEERS")
	if peers == "" {
		peers = "/var/cache/relay-peers"
	}
	modules := filepath.Join(peers, "npm-agent/node_modules")
	if _, err := os.Stat(filepath.Join(modules, "@grpc/grpc-js")); err != nil {
		missing(t, modules)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, sources(examples(t, "node"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Program returns the path of a program in such a folder.
func Program(dir, name string) string {
	for _, ending := range []string{".py", ".js"} {
		if path := filepath.Join(dir, name+ending); exists(path) {
			return path
		}
	}
	return filepath.Join(dir, name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func examples(t testing.TB, language string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; !exists(filepath.Join(dir, "go.mod")) || !exists(filepath.Join(dir, "plugins")); dir = filepath.Dir(dir) {
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run inside the repository")
		}
	}
	return filepath.Join(dir, "plugins/examples", language)
}
