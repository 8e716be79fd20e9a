package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.org/relay/proto/control/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// operator answers what the test says; what it does not say panics.
type operator struct {
	Operator
	status func(context.Context) (*controlv1.StatusResponse, error)
}

func (o *operator) Status(ctx context.Context, _ *controlv1.StatusRequest) (*controlv1.StatusResponse, error) {
	return o.status(ctx)
}

func (o *operator) EnableAgent(_ context.Context, r *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return &controlv1.AgentChange{Agent: &controlv1.Agent{Name: r.Name, Enabled: true}, Notes: []string{"in force"}}, nil
}

// run serves o in dir until the test ends; stop ends it before.
func run(t *testing.T, dir string, o Operator, may func(uint32) bool) (stop func()) {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, &guarded{l, may, log}, o, log) }()
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func dial(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// deep is a directory whose socket has a path too long for sun_path.
func deep(t *testing.T) string {
	return filepath.Join(t.TempDir(), strings.Repeat("long", 30), "state")
}

func TestCommandsReachTheRelay(t *testing.T) {
	for _, tt := range []struct{ name, dir string }{
		{"short path", filepath.Join(t.TempDir(), "state")},
		{"path too long for a socket address", deep(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &operator{status: func(ctx context.Context) (*controlv1.StatusResponse, error) {
				if _, ok := ctx.Deadline(); !ok {
					return nil, errors.New("no deadline")
				}
				return &controlv1.StatusResponse{Version: "1"}, nil
			}}
			stop := run(t, tt.dir, o, ownOrRoot)
			c := dial(t, tt.dir)
			if r, err := c.Status(t.Context(), &controlv1.StatusRequest{}); err != nil || r.Version != "1" {
				t.Errorf("Status = %v, %v", r, err)
			}
			if r, err := c.EnableAgent(t.Context(), &controlv1.AgentRequest{Name: "a"}); err != nil || r.Agent.Name != "a" || !r.Agent.Enabled {
				t.Errorf("EnableAgent = %v, %v", r, err)
			}
			info, err := os.Stat(filepath.Join(tt.dir, SocketName))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("socket %v, %v, want mode 0600", info.Mode(), err)
			}
			if info, err := os.Stat(tt.dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("directory %v, %v, want mode 0700", info.Mode(), err)
			}
			stop()
			left, err := os.ReadDir(tt.dir)
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if _, err := Dial(tt.dir); !errors.Is(err, ErrNotRunning) {
				t.Errorf("Dial = %v, want ErrNotRunning", err)
			}
			var e *Error
			if _, err := c.Status(t.Context(), &controlv1.StatusRequest{}); !errors.As(err, &e) || !strings.Contains(err.Error(), "connection to the relay was lost") {
				t.Errorf("Status of a relay that is gone = %v", err)
			}
		})
	}
}

func TestErrorsComeAsTheOperatorsSentences(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		code codes.Code
		want string
	}{
		{"plain", errors.New("agent \u201ccatchall\u201d is not installed:\nknown: none"), codes.FailedPrecondition, "agent \u201ccatchall\u201d is not installed:\nknown: none"},
		{"with a code", status.Error(codes.NotFound, "no agent a"), codes.NotFound, "no agent a"},
		{"deadline", fmt.Errorf("agent a did not start: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "agent a did not start: context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			run(t, dir, &operator{status: func(context.Context) (*controlv1.StatusResponse, error) { return nil, tt.err }}, ownOrRoot)
			_, err := dial(t, dir).Status(t.Context(), &controlv1.StatusRequest{})
			var e *Error
			if !errors.As(err, &e) || e.Code != tt.code || err.Error() != tt.want {
				t.Errorf("error %#v, want %s %q", err, tt.code, tt.want)
			}
		})
	}
}

func TestPanicInACallLeavesTheRelayUp(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, &operator{status: func(context.Context) (*controlv1.StatusResponse, error) { panic("oh") }}, ownOrRoot)
	c := dial(t, dir)
	if _, err := c.Status(t.Context(), &controlv1.StatusRequest{}); err == nil || !strings.HasPrefix(err.Error(), "internal error") {
		t.Errorf("Status = %v, want internal error", err)
	}
	if _, err := c.EnableAgent(t.Context(), &controlv1.AgentRequest{}); err != nil {
		t.Errorf("EnableAgent = %v after a panic", err)
	}
}

func TestInterruptedCallSaysSo(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	run(t, dir, &operator{status: func(ctx context.Context) (*controlv1.StatusResponse, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}}, ownOrRoot)
	if _, err := dial(t, dir).Status(ctx, &controlv1.StatusRequest{}); err == nil || err.Error() != "interrupted before the relay answered" {
		t.Errorf("Status = %v", err)
	}
}

func TestStrangersAreNotLetIn(t *testing.T) {
	dir := t.TempDir()
	o := &operator{status: func(context.Context) (*controlv1.StatusResponse, error) { return &controlv1.StatusResponse{}, nil }}
	var seen []uint32
	stop := run(t, dir, o, func(uid uint32) bool { seen = append(seen, uid); return false })
	if _, err := dial(t, dir).Status(t.Context(), &controlv1.StatusRequest{}); err == nil {
		t.Error("a user who may not ask was answered")
	}
	stop()
	if len(seen) == 0 || int(seen[0]) != os.Geteuid() {
		t.Errorf("uids %v, want %d", seen, os.Geteuid())
	}
}

func TestOnlyOwnUserAndRootMayAsk(t *testing.T) {
	own := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{0: true, own: true, own + 1: false} {
		if got := ownOrRoot(uid); got != want {
			t.Errorf("ownOrRoot(%d) = %t, want %t", uid, got, want)
		}
	}
}

func TestStaleSocketIsReplacedALiveOneIsNot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Dial of a stale socket = %v, want ErrNotRunning", err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatalf("Listen over a stale socket: %v", err)
	}
	if _, err := Listen(dir); err == nil || !strings.Contains(err.Error(), "running already") {
		t.Errorf("Listen beside a live relay = %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("Listen over a file = %v", err)
	}
}

func TestCloseLeavesAnothersSocket(t *testing.T) {
	dir := t.TempDir()
	old, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, SocketName)
	if err := os.Rename(path, path+".aside"); err != nil {
		t.Fatal(err)
	}
	now, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	old.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of the relay that runs was removed: %v", err)
	}
}

func TestDialWithoutAStateDirectory(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "none"), deep(t)} {
		if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("Dial(%s) = %v, want ErrNotRunning", dir, err)
		}
	}
}

func TestUnusedClientLeavesNoConnection(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, &operator{}, ownOrRoot)
	if err := dial(t, dir).Close(); err != nil {
		t.Error(err)
	}
}
