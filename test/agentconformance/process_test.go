package agentconformance

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.org/relay/plugins/agent/agenttest"
	agentv1 "example.org/relay/proto/agent/v1"
)

// says waits until the agent has written the text to standard error.
func says(t *testing.T, p *agenttest.Program, text string) {
	t.Helper()
	eventually(t, "it says: "+text, func() bool { return strings.Contains(p.Stderr(), text) })
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// watch holds a Watch, as the relay does, and returns it after the first status.
func watch(t *testing.T, p *agenttest.Program) (grpc.ServerStreamingClient[agentv1.AgentStatus], context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := agentv1.NewAgentServiceClient(p.Conn).Watch(ctx, &agentv1.WatchRequest{HeartbeatMs: 20})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the first at once, then one each heartbeat
		if s, err := stream.Recv(); err != nil || s.State != agentv1.AgentStatus_STATE_READY {
			t.Fatalf("Watch says %v, %v", s, err)
		}
	}
	return stream, cancel
}

// TestProcess is how the process lives with the one that started it.
func TestProcess(t *testing.T) {
	each(t, func(t *testing.T, path string) {
		t.Run("health, signals, a polite end", func(t *testing.T) {
			p := agenttest.Launch(t, path)
			configure(t, p, "", false)
			stream, _ := watch(t, p)
			health, err := grpc_health_v1.NewHealthClient(p.Conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
			if err != nil || health.Status != grpc_health_v1.HealthCheckResponse_SERVING {
				t.Errorf("health = %v, %v", health, err)
			}
			w := open(t, p)
			w.start("one", false)
			for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
				if err := p.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			for range 10 {
				if _, err := stream.Recv(); err != nil {
					t.Fatalf("after SIGINT and SIGTERM: %v", err)
				}
			}
			w.events(mail(1, "a@example.com"))
			w.verdict(1)
			begin := time.Now()
			if err := p.Conn.Invoke(t.Context(), "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{}); err != nil && status.Code(err) != codes.Unavailable { // it may be gone before it answers
				t.Errorf("Shutdown: %v", err)
			}
			gone(t, p)
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %v to end, with a session open; the relay kills after 2 s", took)
			}
			if _, err := os.Stat(p.Socket); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("its socket is still there: %v", err)
			}
		})
		t.Run("SIGTERM ends one that nobody watches", func(t *testing.T) {
			p := agenttest.Launch(t, path)
			if err := p.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			gone(t, p)
		})
		t.Run("a relay that is gone ends it", func(t *testing.T) {
			if testing.Short() {
				t.Skip("takes ten seconds of real time")
			}
			p := agenttest.Launch(t, path)
			configure(t, p, "", false)
			_, cancel := watch(t, p)
			cancel()
			_, cancel = watch(t, p) // another one in time: it stays
			cancel()
			select {
			case <-p.Exited:
				t.Error("it ended at once")
			case <-time.After(5 * time.Second):
			}
			gone(t, p)
		})
		t.Run("started by hand", func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), path)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("ended with %v, want exit code 1", err)
			}
			if stdout.Len() > 0 || !strings.Contains(stderr.String(), "relay install-agent NAME --path ") {
				t.Errorf("stdout %q, stderr %q: want a sentence what to do", &stdout, &stderr)
			}
		})
	})
}

func gone(t *testing.T, p *agenttest.Program) {
	t.Helper()
	select {
	case <-p.Exited:
	case <-time.After(15 * time.Second):
		t.Fatal("the process does not end")
	}
}
