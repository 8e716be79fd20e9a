package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/agents/confine"
)

// Times of a start and an end.
const (
	handshakeTime = 10 * time.Second
	configureTime = 5 * time.Second
	politeTime    = 2 * time.Second // from the request to end to SIGKILL
)

// workshop is what all processes of a host share: what they can be kept from and the
// directories they live in.
type workshop struct {
	machine  *confine.Machine
	log      *slog.Logger
	stateDir string // absolute
	sockets  string // directory of the processes' own directories; mode 0700
	serial   atomic.Uint64

	mu      sync.Mutex
	over    bool           // Invariant: nothing is added to running any more.
	running sync.WaitGroup // processes that are not wholly gone
}

// enter counts a process that is about to be started; it reports false where it is too late.
func (w *workshop) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.running.Add(1)
	}
	return !w.over
}

// maxSocketPath is less than sun_path takes (108 with its NUL).
const maxSocketPath = 100

// newWorkshop makes the directory of sockets, in the state directory if paths there are
// short enough for unix sockets. What another host has left there is removed: the lock on
// the state directory says that it is not running.
func newWorkshop(stateDir string, log *slog.Logger) (*workshop, error) {
	keepDescriptors()
	w := &workshop{log: log, stateDir: stateDir, sockets: filepath.Join(stateDir, "sockets")}
	const inside = "/1234567/plugin1234567890"
	if len(w.sockets)+len(inside) > maxSocketPath {
		base := os.Getenv("XDG_RUNTIME_DIR")
		if base == "" || len(base)+len("/relay-1234567890abcdef")+len(inside) > maxSocketPath {
			base = os.TempDir()
		}
		dir, err := elsewhere(base, stateDir)
		if err != nil {
			return nil, fmt.Errorf("directory for agents' sockets: %w", err)
		}
		w.sockets = dir
	} else if err := errors.Join(os.RemoveAll(w.sockets), os.MkdirAll(w.sockets, 0o700)); err != nil {
		return nil, fmt.Errorf("directory for agents' sockets: %w", err)
	}
	w.machine = newMachine(stateDir, log)
	return w, nil
}

// keepDescriptors keeps from agents what the relay itself was started with beside its standard
// streams: all that it opens by itself is kept from them already. A kernel before 5.11 does not
// know the call, and then they stay.
func keepDescriptors() { _ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) }

// elsewhere makes a directory in base that has its name from the state directory, so that the
// next host finds what a killed one has left. Where the name is somebody else's, who may
// write to base too, it gets another.
func elsewhere(base, stateDir string) (string, error) {
	dir := filepath.Join(base, stateName(stateDir))
	if errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) == nil {
		return dir, nil
	}
	return os.MkdirTemp(base, "relay-")
}

// close waits until all processes are gone and removes what they lived in.
func (w *workshop) close() error {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.running.Wait()
	return errors.Join(w.machine.Close(), os.RemoveAll(w.sockets))
}

// process is one running agent program and the connection to it.
type process struct {
	agentv1.AgentServiceClient
	child  *child // set before the program is started
	words  lastWords
	client *plugin.Client
	dir    string // its own: socket, scratch, TMPDIR
	home   string
	user   *confine.User // nil: our own

	readOnly bool
	ended    func() // releases dir and the workshop
	once     sync.Once
}

// start runs the program as the user and does the handshake. An empty home is one that goes
// with the process. Each start needs a plugin.Client of its own: one that was started or has
// failed cannot be used again.
func (w *workshop) start(ctx context.Context, s *spec, u *confine.User, home string, log *slog.Logger) (*process, error) {
	if !w.enter() {
		return nil, errors.New("the relay is going down")
	}
	name, path := s.Name, s.Path
	dir := filepath.Join(w.sockets, strconv.FormatUint(w.serial.Add(1), 10))
	p := &process{dir: dir, home: home, user: u, readOnly: value(s.confine.ReadOnly)}
	own := []string{dir, p.scratch()}
	if home == "" {
		p.home = filepath.Join(dir, "home")
		own = append(own, p.home)
	}
	plan, err := w.plan(s, u, p.home, dir)
	if err == nil {
		if err = w.furnish(u, own...); err != nil {
			err = fmt.Errorf("agent %s: %w", name, err)
		}
	}
	if err != nil {
		w.running.Done()
		return nil, err
	}
	p.ended = func() {
		if err := os.RemoveAll(dir); err != nil {
			w.log.Warn("directory of an ended agent stays", "agent", name, "error", err)
		}
		w.running.Done()
	}
	out := func(stream string) io.WriteCloser { return newLineLog(log.With("stream", stream)) }
	p.child = newChild(plan, path, p.home, dir, func(stream string) io.WriteCloser {
		if stream == "stderr" {
			return tee{out(stream), &p.words}
		}
		return out(stream)
	})
	p.client = plugin.NewClient(clientConfig(p, s, out))
	defer context.AfterFunc(ctx, p.kill)() // go-plugin's start knows no context
	if err := p.dispense(); err != nil {
		p.end(0)
		return nil, fmt.Errorf("agent %s: %s did not start as an agent: %w", name, path, p.explain(err))
	}
	p.words.forget()
	return p, nil
}

func (p *process) scratch() string { return filepath.Join(p.dir, "tmp") }

func clientConfig(p *process, s *spec, out func(string) io.WriteCloser) *plugin.ClientConfig {
	// Off on the logger that Named returns is the only thing that keeps go-plugin from
	// parsing; ours gives it no lines either.
	quiet := hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	return &plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  agentv1.ProtocolVersion,
			MagicCookieKey:   agentv1.MagicCookieKey,
			MagicCookieValue: agentv1.MagicCookieValue,
		},
		Plugins:          plugin.PluginSet{agentv1.PluginName: dispenser{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     handshakeTime,
		SkipHostEnv:      true,
		Logger:           quiet,
		SyncStdout:       out("stdout"),
		SyncStderr:       out("stderr"),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: p.dir},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			p.child.cmd.Env = append(spec.Env, environment(s, p)...)
			return p.child, nil
		},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(agentv1.MaxFrameBytes), grpc.ForceCodecV2(codec)),
			grpc.WithStaticStreamWindowSize(1 << 20),
			grpc.WithStaticConnWindowSize(4 << 20),
			grpc.WithReadBufferSize(64 << 10),
			grpc.WithWriteBufferSize(64 << 10),
			grpc.WithDisableServiceConfig(),
			grpc.WithDisableRetry(), // what is to be shown again decides the conversation
		},
	}
}

// environment is all that an agent gets beside go-plugin's handshake: nothing of the host's
// own environment, which may hold secrets. Later entries win.
func environment(s *spec, p *process) []string {
	all := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"HOME=" + p.home,
		"TMPDIR=" + p.scratch(),
		"LANG=C.UTF-8",
		plugin.EnvUnixSocketDir + "=" + p.dir,
	}
	if limit := value(s.confine.Memory); limit > 0 {
		// A Go program collects its garbage in time then; others do not mind.
		all = append(all, "GOMEMLIMIT="+strconv.FormatUint(limit/10*9, 10))
	}
	return all
}

// dispenser makes the client of our service of go-plugin's connection.
type dispenser struct{ plugin.NetRPCUnsupportedPlugin }

func (dispenser) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the host serves no agent")
}

func (dispenser) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return agentv1.NewAgentServiceClient(conn), nil
}

func (p *process) dispense() error {
	protocol, err := p.client.Client()
	if err != nil {
		return err
	}
	service, err := protocol.Dispense(agentv1.PluginName)
	if err != nil {
		return err
	}
	p.AgentServiceClient = service.(agentv1.AgentServiceClient)
	return nil
}

// explain makes go-plugin's error one line, with how the process ended where it did and what
// it wrote to standard error.
func (p *process) explain(err error) error {
	text := handshakeProblem(err)
	timer := time.NewTimer(time.Second) // go-plugin has killed it: it ends in moments
	defer timer.Stop()
	select {
	case <-p.exited():
		if s := p.child.cmd.ProcessState; s != nil && !killed(s) {
			text += " (" + s.String() + ")"
		}
		if p.child.limit != "" {
			text += " (" + p.child.limit + ")"
		}
	case <-timer.C:
	}
	if why := p.obstacle(); why != "" {
		text += "; " + why
	}
	if words := p.words.String(); words != "" {
		text += "; on standard error: " + words
	}
	return errors.New(text)
}

// handshakeProblem is go-plugin's error in words for an author.
func handshakeProblem(err error) string {
	const (
		nothing = "it wrote no handshake to its standard output"
		message = "Unrecognized remote plugin message: "
	)
	text, more, _ := strings.Cut(err.Error(), "\n")
	switch printed, other := strings.CutPrefix(text, message); {
	case other && printed == "" && more != "", text == "plugin exited before we could connect":
		return nothing
	case other:
		return fmt.Sprintf("it printed %q before the handshake: nothing may be printed to standard output before agent.Serve", oneLine(printed, 200))
	case text == "timeout while waiting for plugin to start":
		return fmt.Sprintf("%s within %s", nothing, handshakeTime)
	}
	return oneLine(text, 300)
}

// tee writes to both; its writers never fail.
type tee [2]io.WriteCloser

func (t tee) Write(p []byte) (int, error) {
	_, _ = t[0].Write(p)
	return t[1].Write(p)
}

func (t tee) Close() error { return errors.Join(t[0].Close(), t[1].Close()) }

// end ends the process: politely where it is given time for that, else by SIGKILL to its
// group. It returns at once or after grace; what is left to do goes on by itself, and Kill
// of go-plugin, which has no deadline, comes to its end when the process does. It is called
// also for a process that has died, to free go-plugin's goroutines.
func (p *process) end(grace time.Duration) {
	p.once.Do(func() {
		freed := make(chan struct{})
		if grace == 0 {
			p.kill()
		}
		go func() {
			p.client.Kill()
			close(freed)
		}()
		if grace > 0 {
			timer := time.NewTimer(grace)
			defer timer.Stop()
			select {
			case <-p.exited():
			case <-timer.C:
				p.kill()
			}
		}
		go func() {
			<-freed
			<-p.exited()
			p.ended()
		}()
	})
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// exited is closed when the process is gone; at once where none was started.
func (p *process) exited() <-chan struct{} {
	if p.child.pid() == 0 {
		return closedChan
	}
	return p.child.exited
}

func (p *process) kill() {
	_ = p.child.Kill(context.Background()) // ESRCH aside there is nothing that could fail
}
