package confine

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cell is one confined process with all that it has started. Its methods are called one after
// the other.
type Cell struct {
	plan    *Plan
	group   *group // nil: no control group
	release chan struct{}
	ended   chan struct{} // the thread's work is over
}

var serial atomic.Uint64

// Start starts the command. Its SysProcAttr is completed; it gets SIGKILL when we end. The cell
// must be closed when the process has been waited for. Where no control group can be made, the
// process is started with what limits there are without one, and the log says why.
func (p *Plan) Start(cmd *exec.Cmd) (*Cell, error) {
	g, err := p.machine.groups.create(p.policy.Name+"-"+strconv.FormatUint(serial.Add(1), 10), p.groupPolicy())
	if err == nil {
		c, startErr := p.start(cmd, g)
		if startErr == nil || g == nil || !errors.As(startErr, new(groupError)) {
			return c, startErr
		}
		err = startErr
	}
	p.machine.log.Warn("control group cannot be used", "agent", p.policy.Name, "error", err)
	return p.withoutGroups().start(cmd, nil)
}

// groupError is a failure of a control group, not of the program.
type groupError struct{ error }

func (e groupError) Unwrap() error { return e.error }

func (p *Plan) start(cmd *exec.Cmd, g *group) (*Cell, error) {
	c := &Cell{plan: p, group: g, release: make(chan struct{}), ended: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// Sent when the thread that forked ends: it waits for release.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if u := p.policy.User; u != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID}
	}
	started := make(chan error)
	onThread(func() {
		defer close(c.ended)
		err := c.fork(cmd)
		started <- err
		if err == nil {
			<-c.release
		}
	})
	if err := <-started; err != nil {
		<-c.ended
		c.group.remove()
		return nil, err
	}
	memory, processes := p.rlimits()
	if err := limitProcess(cmd.Process.Pid, memory, processes); err != nil {
		p.machine.log.Warn("limit is not in force", "agent", p.policy.Name, "error", err)
	}
	return c, nil
}

// fork confines the thread it is called on and starts the process from there.
func (c *Cell) fork(cmd *exec.Cmd) error {
	m, policy := c.plan.machine, &c.plan.policy
	domain, err := c.plan.domain()
	if err != nil {
		return err
	}
	if domain >= 0 {
		defer unix.Close(domain)
	}
	leave, err := c.group.enter(cmd.SysProcAttr)
	if err != nil {
		return groupError{err}
	}
	defer leave()
	filter := false
	if !policy.Network {
		filter = m.filter
		if m.namespace {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				m.log.Warn("network namespace cannot be made", "agent", policy.Name, "error", err)
			} else {
				filter = false
			}
		}
	}
	if err := m.caps.drop(); err != nil {
		return err
	}
	if err := noNewPrivileges(); err != nil {
		return err
	}
	if domain >= 0 {
		if err := enterLandlock(domain); err != nil {
			return err
		}
	}
	if filter {
		if err := denySockets(); err != nil {
			return err
		}
	}
	if err = cmd.Start(); c.group.refused(err) {
		err = groupError{err}
	}
	return err
}

// domain is the one of Landlock that the process is to be in, as a descriptor; -1: none.
func (p *Plan) domain() (int, error) {
	switch {
	case p.policy.Files != nil:
		return p.machine.ruleset(p.machine.rules(p.policy.Files))
	case p.machine.scopes() != 0:
		return p.machine.ruleset(nil)
	}
	return -1, nil
}

// Limits and Sandbox say what is in force for the process, as those of Plan do.
func (c *Cell) Limits() []string { return c.plan.Limits() }

// Sandbox says what keeps the process from what is not its own.
func (c *Cell) Sandbox() []string { return c.plan.Sandbox() }

// Kill kills all that is left of the processes in the control group, also those that have left
// the process group. It is called before the process is waited for.
func (c *Cell) Kill() { c.group.kill() }

// Ended says which limit ended the process, or hindered it, as the second half of a sentence;
// empty: none that is known. It is called before Close.
func (c *Cell) Ended() string {
	oom, refused := c.group.events()
	switch p := &c.plan.policy; {
	case oom > 0:
		return "killed by its memory limit of " + octets(p.Memory)
	case refused > 0:
		return fmt.Sprintf("reached its limit of %d processes", p.Processes)
	}
	return ""
}

// Refused counts how often the process could start no other because of its limit.
func (c *Cell) Refused() uint64 {
	_, refused := c.group.events()
	return refused
}

// Close frees the thread and removes the control group.
func (c *Cell) Close() {
	close(c.release)
	<-c.ended
	c.group.remove()
}
