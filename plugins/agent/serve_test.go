package agent_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// TestMain makes the test binary an agent's program where a test starts it as one.
func TestMain(m *testing.M) {
	switch os.Getenv("SERVE") {
	case "tagger":
		agent.Serve(agent.New("tagger", tagger{}))
	case "mistyped":
		agent.Serve(agent.New("mistyped", mistyped{}))
	}
	verifyNoLeaks(m)
}

// program starts the test binary as an agent, with a relay's environment or without.
func program(t *testing.T, serve string, env ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append([]string{"SERVE=" + serve, "PLUGIN_UNIX_SOCKET_DIR=" + t.TempDir()}, env...)
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	return cmd, stderr
}

func TestServeRefusesAMistypedHandlerWithASentence(t *testing.T) {
	cmd, stderr := program(t, "mistyped", agentv1.MagicCookieKey+"="+agentv1.MagicCookieValue)
	err := cmd.Run()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit code 1", err)
	}
	if want := "OnEndOfHeader fits no event: did you mean OnEndOfHeaders("; !strings.Contains(stderr.String(), want) {
		t.Errorf("stderr = %q, want %q", stderr, want)
	}
}

func TestServeTellsAUserWhatItIs(t *testing.T) {
	cmd, stderr := program(t, "tagger")
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "relay install-agent") {
		t.Errorf("%v, stderr = %q", err, stderr)
	}
}

func TestTheProcessStaysOnSignalsWhileItIsWatchedAndEndsOnShutdown(t *testing.T) {
	cmd, stderr := program(t, "tagger", agentv1.MagicCookieKey+"="+agentv1.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("no handshake: %v, stderr %q", err, stderr)
	}
	part := strings.Split(strings.TrimSpace(line), "|")
	if len(part) < 5 || part[0] != "1" || part[1] != "1" || part[2] != "unix" || part[4] != "grpc" {
		t.Fatalf("handshake %q", line)
	}
	conn, err := grpc.NewClient("unix:"+part[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := agentv1.NewAgentServiceClient(conn)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch, err := client.Watch(ctx, &agentv1.WatchRequest{HeartbeatMs: 5})
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if s, err := watch.Recv(); err != nil || s.State != agentv1.AgentStatus_STATE_READY {
			t.Fatalf("after the signals: %v, %v", s, err)
		}
	}
	if d, err := client.Describe(ctx, &agentv1.DescribeRequest{}); err != nil || d.Factories[0].Name != "tagger" {
		t.Errorf("Describe = %v, %v", d, err)
	}
	err = conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &agentv1.SessionEnded{}, &agentv1.SessionEnded{})
	t.Logf("Shutdown: %v", err)
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v, stderr %q", err, stderr)
	}
}
