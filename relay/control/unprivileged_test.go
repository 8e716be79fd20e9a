package control

import (
	"os"
	"os/exec"
	"testing"

	"example.org/relay/test/needs"
)

// An agent can run as the relay's own user: it is told apart by what it cannot take off.
func TestProcessWithoutNewPrivilegesIsKnown(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		needs.Absent(t, "setpriv is not installed")
	}
	if unprivileged(os.Getpid()) {
		t.Skip("SKIPPED: the tests run without new privileges themselves")
	}
	cmd := exec.Command(setpriv, "--no-new-privs", "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // cat runs
		t.Fatal(err)
	}
	if !unprivileged(cmd.Process.Pid) {
		t.Error("not known")
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
