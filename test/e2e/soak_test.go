package e2e

import (
	"context"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"example.org/relay/proto/control/v1"
)

// Everything that may happen to an agent by its operator or by accident, at random, while
// mail flows: no session is lost and no message doubled. RELAY_SOAK says for how long.
func TestSoakAgentsChangeUnderLoad(t *testing.T) {
	lasting := soakTime(t)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)

	f := startFaulty(t, "marker", `timeout = "30s"`)
	ctx := context.Background()
	events := []struct {
		name string
		do   func() error
	}{
		{"kill", func() error { return syscall.Kill(int(f.Agent("fault").Pid), syscall.SIGKILL) }},
		{"stop", func() error { return syscall.Kill(int(f.Agent("fault").Pid), syscall.SIGSTOP) }},
		{"swap", func() error {
			path := copyProgram(t, f.path)
			_, err := f.SetAgent(ctx, &controlv1.SetAgentRequest{Name: "fault", Path: &path})
			return err
		}},
		{"set", func() error {
			timeout := "25s"
			_, err := f.SetAgent(ctx, &controlv1.SetAgentRequest{Name: "fault", Timeout: &timeout})
			return err
		}},
		{"disable and enable", func() error {
			if _, err := f.DisableAgent(ctx, &controlv1.AgentRequest{Name: "fault", Now: random.IntN(2) == 0}); err != nil {
				return err
			}
			f.load.more(20)
			_, err := f.EnableAgent(ctx, &controlv1.AgentRequest{Name: "fault"})
			return err
		}},
		{"reload", func() error { _, err := f.Reload(ctx, &controlv1.ReloadRequest{}); return err }},
	}
	count := map[string]int{}
	for end := time.Now().Add(lasting); time.Now().Before(end); {
		e := events[random.IntN(len(events))]
		count[e.name]++
		if err := e.do(); err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		f.another(t, 0)
		f.load.more(int64(random.IntN(60)))
	}
	f.load.stop("")
	t.Logf("%v", count)
}
