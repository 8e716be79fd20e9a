package agents

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A descriptor that the relay was started with was open in every agent.
func TestAgentsGetNoDescriptorThatTheRelayWasGiven(t *testing.T) {
	secret := t.TempDir() + "/secret"
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	given, err := unix.Open(secret, unix.O_RDONLY, 0) // without O_CLOEXEC, as of a shell
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(given)
	r := newRig(t)
	r.enabled(t, "good")
	dir := fmt.Sprintf("/proc/%d/fd", r.pid(t, "good"))
	all, err := os.ReadDir(dir)
	if err != nil || len(all) < 3 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, d := range all {
		if to, _ := os.Readlink(dir + "/" + d.Name()); to == secret {
			t.Errorf("descriptor %s of the agent is %s", d.Name(), to)
		}
	}
}
