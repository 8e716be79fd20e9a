package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// capabilities is a set of them, a bit each (capabilities(7)).
type capabilities uint64

// The capabilities that matter to us.
const (
	capSysAdmin = unix.CAP_SYS_ADMIN
	lastCap     = unix.CAP_LAST_CAP
)

// kept are those that a process of root keeps: they go no further than its files. Without the
// others it cannot leave its network namespace, read the memory of other processes, load code
// into the kernel or become somebody else.
const kept = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH |
	1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_NET_BIND_SERVICE

// forUsers are those that are needed to start a process as another user, to end it, and to
// reach what it owns.
const forUsers = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_CHOWN | 1<<unix.CAP_KILL | 1<<unix.CAP_DAC_OVERRIDE

func (c capabilities) has(n int) bool { return c&(1<<n) != 0 }

func ownCapabilities() capabilities {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return 0
	}
	return capabilities(data[1].Effective)<<32 | capabilities(data[0].Effective)
}

// drop takes from what this thread starts all but those that are kept.
func (c capabilities) drop() error {
	if !c.drops() {
		return nil
	}
	for n := range lastCap + 1 {
		if kept&(1<<n) != 0 {
			continue
		}
		// EINVAL: the kernel has no such capability.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("drop capability %d: %w", n, err)
		}
	}
	return nil
}

// noNewPrivileges keeps what this thread starts from gaining rights by set-uid programs and
// file capabilities.
func noNewPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return nil
}

// drops reports whether drop can do anything.
func (c capabilities) drops() bool { return c.has(unix.CAP_SETPCAP) }
