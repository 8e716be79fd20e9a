// Package needs is for tests that need more than Go: each says what it does not find here. With
// RELAY_REQUIRE_PEERS set, as in CI, a test that would be skipped for that fails.
package needs

import (
	"os"
	"path/filepath"
	"testing"
)

func required() bool { return os.Getenv("RELAY_REQUIRE_PEERS") != "" }

// Absent skips the test, which needs what the text speaks of; with RELAY_REQUIRE_PEERS set it
// fails it.
func Absent(t testing.TB, format string, args ...any) {
	t.Helper()
	if required() {
		t.Fatalf("needed here: "+format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// Unable is Absent for what only root can be sure to have: for an ordinary user the test is
// skipped in any case.
func Unable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Geteuid() == 0 {
		Absent(t, format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// Root skips the test for an ordinary user.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
}

// Program returns the path of a program, given by its name or its path. Mail servers' programs
// are often not in PATH.
func Program(t testing.TB, program string) string {
	t.Helper()
	if filepath.IsAbs(program) {
		if _, err := os.Stat(program); err == nil {
			return program
		}
	}
	for _, path := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if info, err := os.Stat(filepath.Join(path, program)); err == nil && !info.IsDir() {
			return filepath.Join(path, program)
		}
	}
	Absent(t, "%s is not installed (Debian: make peers)", program)
	return ""
}
