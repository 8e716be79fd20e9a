package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// finding is one line of what testssl.sh found.
type finding struct{ ID, Severity, Finding string }

// testssl runs some checks of testssl.sh and returns what it found.
func testssl(t *testing.T, checks ...string) []finding {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := slices.Concat([]string{"--quiet", "--warnings", "off", "--color", "0", "--nodns", "none", "--jsonfile", report}, checks)
	cmd := exec.CommandContext(ctx, needs.Program(t, "testssl"), args...)
	cmd.WaitDelay = time.Second
	out, _ := cmd.CombinedOutput() // its exit code counts what it does not like
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []finding
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return all
}

// Not all of testssl.sh's checks, which take minutes: the protocols, what may be renegotiated,
// compressed or carried over in tickets, and old ciphers.
func TestTestsslFindsNoWeakness(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	sink := (&smtptest.Sink{}).Start(t)
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	makeCertificate(t, cert, key, "mx.example.org")
	pair := fmt.Sprintf("[[tls.pair]]\ncertificate = %q\nkey = %q\n", cert, key)
	for mode, checks := range map[string][]string{
		"starttls": {"-p", "-S", "-R", "-C", "-T", "-W", "-t", "smtp"},
		"implicit": {"-R"},
	} {
		t.Run(mode, func(t *testing.T) {
			r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), TLS: mode, Extra: pair})
			all := testssl(t, append(checks, r.Addr)...)
			seen := map[string]string{}
			for _, f := range all {
				seen[f.ID] = f.Finding
				// That the certificate is one of our own making is no finding.
				if slices.Contains([]string{"MEDIUM", "HIGH", "CRITICAL", "FATAL"}, f.Severity) && !strings.HasPrefix(f.ID, "cert") {
					t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
				}
			}
			wants := map[string]string{"secure_client_renego": "not vulnerable"}
			if slices.Contains(checks, "-p") {
				wants["TLS1_1"], wants["TLS1_2"], wants["TLS1_3"] = "not offered", "offered", "offered"
			}
			for id, want := range wants {
				if !strings.HasPrefix(seen[id], want) {
					t.Errorf("%s: %q, want %s; of %d findings", id, seen[id], want, len(all))
				}
			}
		})
	}
}
