// Package agentpeers finds the agents in other languages than Go for tests, where what they
// need is installed.
package agentpeers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.org/relay/test/needs"
)

func missing(t testing.TB, what string) {
	t.Helper()
	needs.Absent(t, "%s is not there (make peers)", what)
}

// Python returns a copy of the folder of the agents in Python, as an operator has it. They need
// Debian's python3-grpcio and python3-protobuf.
func Python(t testing.TB) string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import grpc.aio, google.protobuf.message_factory").Run(); err != nil {
		missing(t, "python3-grpcio or python3-protobuf of /usr/bin/python3")
	}
	return folder(t, "python")
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
	dir := folder(t, "node")
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

// folder copies the examples of a language.
func folder(t testing.TB, language string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, sources(filepath.Join(Root(t), "plugins/examples", language))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Add copies a file, with its rights, into such a folder and returns its path there.
func Add(t testing.TB, dir, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// Go builds a package of the repository, given by its path there, and returns the program.
func Go(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	build := exec.Command("go", "build", "-o", path, "./"+pkg)
	build.Dir = Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// Root returns the folder of the repository.
func Root(t testing.TB) string {
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
	return dir
}
