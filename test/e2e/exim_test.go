package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
)

// exim is Debian's Exim, unpacked, with a folder of its own.
type exim struct {
	program, dir, config string
}

// newExim prepares an Exim with this configuration, which follows the usual main options.
func newExim(t *testing.T, config string) *exim {
	t.Helper()
	program := peer(t, "exim/usr/sbin/exim4")
	needs.Root(t)
	dir := folder(t, "spool", "log", "mail")
	if out, err := exec.Command("chown", "-R", "Debian-exim:", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	e := &exim{program, dir, filepath.Join(dir, "exim.conf")}
	// The program has no set-uid bit: what it starts again goes on as the user it is then.
	write(t, e.config, fmt.Sprintf(`primary_hostname = exim.example.org
exim_user = Debian-exim
exim_group = Debian-exim
exim_path = %[1]s
spool_directory = %[2]s/spool
log_file_path = %[2]s/log/%%slog
deliver_drop_privilege
never_users =
disable_ipv6
host_lookup =
rfc1413_query_timeout = 0s
local_interfaces = 127.0.0.1
keep_environment =
%[3]s`, program, dir, config))
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"mainlog", "rejectlog", "paniclog"} {
				if log, err := os.ReadFile(filepath.Join(dir, "log", name)); err == nil {
					t.Logf("Exim's %s:\n%s", name, log)
				}
			}
		}
	})
	return e
}

// start runs it as a server in the foreground until the test ends.
func (e *exim) start(t *testing.T, addr string) {
	t.Helper()
	cmd := exec.Command(e.program, "-C", e.config, "-bdf", "-q10s")
	out := &relaytest.Log{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, cmd, out) })
	listens(t, "Exim", addr)
}

// stop ends a program that a test started.
func stop(t *testing.T, cmd *exec.Cmd, out *relaytest.Log) {
	_ = cmd.Process.Signal(os.Interrupt)
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Errorf("%s had to be killed", cmd.Path)
		_ = cmd.Process.Kill()
		<-ended
	}
	if t.Failed() {
		t.Logf("%s said:\n%s", cmd.Path, out)
	}
}
