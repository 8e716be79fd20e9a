package agents

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"example.org/relay/relay/agents/confine"
)

// child is one agent process, as go-plugin's runner.Runner. go-plugin sees of its output the
// first line of stdout only, which is the handshake: its own readers stop for ever at a line
// over 64 KiB, and its parser of stderr can be crashed by a line of JSON.
type child struct {
	cmd  *exec.Cmd
	plan *confine.Plan
	// sockets is the directory in which the agent is to listen.
	sockets string
	out     func(stream string) io.WriteCloser // where the lines of stdout and stderr go

	hello  *io.PipeReader // the handshake, then the end
	exited chan struct{}  // closed when the process is reaped and its group killed
	err    error          // after exited: how it ended; nil for exit status 0
	limit  string         // after exited: the limit that ended it, or hindered it; empty: none that is known

	startErr        error    // of a start that failed
	limits, sandbox []string // after the start: what is in force

	mu     sync.Mutex
	cell   *confine.Cell
	id     int  // the process's id; 0: not started
	reaped bool // Invariant: while false, id is ours and may be signalled.
	doomed bool // it was killed, perhaps before it was started
}

// maxHandshake is more than any handshake without a certificate has.
const maxHandshake = 4096

// drainTime is how long output is read after the process ended: a grandchild may hold the pipe.
const drainTime = 200 * time.Millisecond

func newChild(plan *confine.Plan, path, dir, sockets string, out func(string) io.WriteCloser) *child {
	cmd := &exec.Cmd{Path: path, Args: []string{path}, Dir: dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &child{cmd: cmd, plan: plan, sockets: sockets, out: out, exited: make(chan struct{})}
}

// Start starts the process and the readers of its output.
func (c *child) Start(context.Context) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, outR.Close(), outW.Close())
	}
	// Files, not writers: exec.Cmd.Wait would wait for grandchildren that inherited them.
	c.cmd.Stdout, c.cmd.Stderr = outW, errW
	err = c.fork()
	outW.Close()
	errW.Close()
	if err != nil {
		outR.Close()
		errR.Close()
		return err
	}
	hello, helloW := io.Pipe()
	c.hello = hello
	var readers sync.WaitGroup
	readers.Go(func() { c.readStdout(outR, helloW) })
	readers.Go(func() { readLines(errR, c.out("stderr")) })
	go c.reap(&readers, outR, errR)
	return nil
}

func (c *child) fork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doomed {
		return context.Canceled
	}
	cell, err := c.plan.Start(c.cmd)
	if err != nil {
		c.startErr = err
		return err
	}
	c.cell, c.limits, c.sandbox = cell, cell.Limits(), cell.Sandbox()
	c.id = c.cmd.Process.Pid
	return nil
}

// readStdout gives the first line to the handshake and the rest to the log.
func (c *child) readStdout(r io.Reader, hello *io.PipeWriter) {
	buffered := bufio.NewReaderSize(r, maxHandshake)
	line, err := buffered.ReadSlice('\n')
	if err == nil || len(line) > 0 {
		_, _ = hello.Write(line) // fails only when nobody waits for it any more
	}
	hello.Close()
	readLines(buffered, c.out("stdout"))
}

func readLines(r io.Reader, w io.WriteCloser) {
	_, _ = io.Copy(w, r) // ends with the process; nothing to be done about it
	w.Close()
}

// reap waits for the process. Its groups are killed before the process is reaped, while its
// pid, which is the process group's id, cannot be another's yet.
func (c *child) reap(readers *sync.WaitGroup, pipes ...*os.File) {
	for {
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = unix.Kill(-c.cmd.Process.Pid, unix.SIGKILL) // no group left is no fault
	c.cell.Kill()
	c.limit = c.cell.Ended()
	c.mu.Lock()
	c.err = c.cmd.Wait()
	c.reaped = true
	c.mu.Unlock()
	for _, p := range pipes {
		_ = p.SetReadDeadline(time.Now().Add(drainTime))
	}
	readers.Wait()
	for _, p := range pipes {
		p.Close()
	}
	c.cell.Close()
	close(c.exited)
}

// Kill kills the process and all in its group.
func (c *child) Kill(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doomed = true
	if c.reaped || c.id == 0 {
		return nil
	}
	if err := unix.Kill(-c.id, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", c.id, err)
	}
	return nil
}

// Wait waits until the process is reaped.
func (c *child) Wait(context.Context) error {
	<-c.exited
	return c.err
}

// Stdout is the handshake.
func (c *child) Stdout() io.ReadCloser { return c.hello }

// Stderr is empty: go-plugin must not parse it.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(eof{}) }

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Name is the program's path, ID the process's id.
func (c *child) Name() string { return c.cmd.Path }

// ID returns the process's id.
func (c *child) ID() string { return strconv.Itoa(c.pid()) }

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Diagnose adds nothing to go-plugin's error.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost takes the address that the agent says it listens on: a unix socket in the directory it was
// given. Elsewhere it could be anybody who is then shown mail, over the network too, which the agent itself
// may not have.
func (c *child) PluginToHost(network, addr string) (string, string, error) {
	if network != "unix" {
		return "", "", fmt.Errorf("it says that it listens at %.80q of %.20q: must be a unix socket", addr, network)
	}
	real, err := filepath.EvalSymlinks(addr)
	if err != nil {
		return "", "", fmt.Errorf("its socket: %w", err)
	}
	dir, err := filepath.EvalSymlinks(c.sockets)
	if err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(real, dir+"/") {
		return "", "", fmt.Errorf("its socket %.200q is not in %s, the directory it was given for that", addr, plugin.EnvUnixSocketDir)
	}
	return network, real, nil
}

// HostToPlugin translates nothing.
func (c *child) HostToPlugin(network, addr string) (string, string, error) { return network, addr, nil }

// killed reports whether a process ended by SIGKILL, which is ours in nearly every case.
func killed(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}
