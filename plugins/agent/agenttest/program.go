package agenttest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Program is an agent's program, in any language, as the relay runs it: in a process of its
// own that has shaken hands. It ends with the test.
type Program struct {
	Conn   *grpc.ClientConn
	PID    int
	Socket string        // where it listens
	Exited chan struct{} // closed when the process has ended

	cmd    *exec.Cmd
	stdout *notes // what came after the handshake
	stderr *notes
}

const handshakeTime = 10 * time.Second

// Launch starts the program at path with the environment the relay gives it, and env. It ends
// the test where the program does not start as an agent.
func Launch(t testing.TB, path string, env ...string) *Program {
	t.Helper()
	dir, err := os.MkdirTemp("", "agenttest-") // t.TempDir's names are too long for a socket's path
	if err != nil {
		t.Fatalf("agenttest: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Program{cmd: exec.Command(path), Exited: make(chan struct{}), stdout: &notes{}, stderr: &notes{}}
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{
		agentv1.MagicCookieKey + "=" + agentv1.MagicCookieValue, fmt.Sprint("PLUGIN_PROTOCOL_VERSIONS=", agentv1.ProtocolVersion),
		"PLUGIN_UNIX_SOCKET_DIR=" + dir, "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8",
	}, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = p.stderr
	hello := make(chan string, 1)
	p.cmd.Stdout = &firstLine{line: hello, rest: p.stdout}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("agenttest: %v", err)
	}
	p.PID = p.cmd.Process.Pid
	go func() {
		_ = p.cmd.Wait()
		close(p.Exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.PID, syscall.SIGKILL)
		<-p.Exited
		if t.Failed() {
			t.Logf("%s on standard error: %s", filepath.Base(path), p.Stderr())
		}
	})
	select {
	case line := <-hello:
		p.dial(t, line)
	case <-p.Exited:
		t.Fatalf("agenttest: %s ended (%v) before the handshake: %s", path, p.cmd.ProcessState, p.Stderr())
	case <-time.After(handshakeTime):
		t.Fatalf("agenttest: %s: no handshake within %v: %s", path, handshakeTime, p.Stderr())
	}
	return p
}

// dial takes the handshake apart: core version, contract's version, network, address, protocol.
func (p *Program) dial(t testing.TB, line string) {
	t.Helper()
	parts := strings.Split(strings.TrimSuffix(line, "\n"), "|")
	if len(parts) < 5 || parts[0] != "1" || parts[1] != fmt.Sprint(agentv1.ProtocolVersion) || parts[2] != "unix" || parts[4] != "grpc" {
		t.Fatalf("agenttest: the handshake %q", line)
	}
	p.Socket = parts[3]
	conn, err := grpc.NewClient("unix:"+p.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("agenttest: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.Conn = conn
}

// Host plays the relay for the program: as Start does, once more for each test.
func (p *Program) Host(t testing.TB, c Config) *Host {
	t.Helper()
	return connect(t, p.Conn, c)
}

// Signal sends a signal to the process alone.
func (p *Program) Signal(s syscall.Signal) error { return syscall.Kill(p.PID, s) }

// Stdout returns what the program has written to standard output after its handshake.
func (p *Program) Stdout() string { return p.stdout.String() }

// Stderr returns what it has written to standard error.
func (p *Program) Stderr() string { return p.stderr.String() }

// notes keeps what is written. Safe for concurrent use.
type notes struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all.Write(b)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all.String()
}

// firstLine sends the first line away and the rest on.
type firstLine struct {
	line chan<- string // nil once it is sent
	text bytes.Buffer
	rest *notes
}

func (f *firstLine) Write(b []byte) (int, error) {
	if f.line == nil {
		return f.rest.Write(b)
	}
	f.text.Write(b)
	if bytes.IndexByte(f.text.Bytes(), '\n') >= 0 {
		r := bufio.NewReader(&f.text)
		first, _ := r.ReadString('\n')
		f.line <- first
		f.line = nil
		_, _ = r.WriteTo(f.rest)
	}
	return len(b), nil
}
