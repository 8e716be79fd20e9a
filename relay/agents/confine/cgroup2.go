package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// innerGroup is where we go ourselves in version 2: a group with processes in it cannot have
// groups with controllers below it.
const innerGroup = "relay"

// delegate makes base a group that can have such groups.
func (g *groups) delegate(base string) error {
	if g.vacate {
		inner := filepath.Join(base, innerGroup)
		if err := os.Mkdir(inner, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := put(inner, "cgroup.procs", os.Getpid()); err != nil {
			return err
		}
	}
	return g.enable(base)
}

// enable gives the groups below dir the controllers.
func (g *groups) enable(dir string) error {
	var all []string
	for _, c := range controllers {
		if g.can(c) {
			all = append(all, "+"+string(c))
		}
	}
	return put(dir, "cgroup.subtree_control", strings.Join(all, " "))
}

func (g *group) limit2(c controller, p *Policy) error {
	dir := g.dirs[c]
	switch c {
	case memory:
		if err := put(dir, "memory.max", p.Memory); err != nil {
			return err
		}
		_ = put(dir, "memory.swap.max", 0)  // not there without swap accounting
		_ = put(dir, "memory.oom.group", 1) // all or none: half an agent is of no use; since Linux 4.19
		return nil
	case processes:
		return put(dir, "pids.max", p.Processes)
	}
	return put(dir, "cpu.max", fmt.Sprint(quota(p.Processor), " ", period))
}

func (g *group) enter2(attr *syscall.SysProcAttr) (leave func(), err error) {
	fd, err := unix.Open(g.all()[0], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	attr.UseCgroupFD, attr.CgroupFD = true, fd
	return func() {
		attr.UseCgroupFD, attr.CgroupFD = false, 0
		unix.Close(fd)
	}, nil
}

// refused reports whether a start failed because the kernel could not start a process in
// the group.
func (g *group) refused(err error) bool {
	return g != nil && g.version == 2 && (errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EOPNOTSUPP))
}

// delegated reports whether the group was given to us to make others in: systemd's Delegate=yes
// marks it so.
func delegated(dir string) bool {
	value := make([]byte, 8)
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(dir, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// alone reports whether no process but ours is in the group.
func alone(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	return err == nil && strings.TrimSpace(string(data)) == strconv.Itoa(os.Getpid())
}

// baseOf2 finds where we may make groups of version 2. own is the group we are in, root that of
// the mount.
func baseOf2(own, root string) (base string, vacate bool, reason string) {
	if _, err := os.Stat(filepath.Join(own, "cgroup.type")); errors.Is(err, fs.ErrNotExist) && own == root {
		return own, false, "" // the machine's root, which alone can have both
	}
	switch above := filepath.Dir(own); {
	case delegated(own):
		return own, true, ""
	case own != root && delegated(above):
		return above, false, "" // systemd's DelegateSubgroup=
	case own == root && alone(own):
		return own, true, "" // a container's
	}
	return "", false, "the control group of the relay is not given to it; under systemd, Delegate=yes does that"
}
