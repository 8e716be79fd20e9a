package confine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// limitProcess sets what a process of a plan without a control group is limited by. It counts
// RLIMIT_DATA, which Go and Node survive; they reserve far more address space than
// RLIMIT_AS could allow them.
func limitProcess(pid int, memory uint64, processes int) error {
	var problems []error
	for _, l := range []struct {
		resource int
		value    uint64
	}{{unix.RLIMIT_DATA, memory}, {unix.RLIMIT_NPROC, uint64(processes)}} {
		if l.value == 0 {
			continue
		}
		limit := unix.Rlimit{Cur: l.value, Max: l.value}
		// ESRCH: it has ended meanwhile.
		if err := unix.Prlimit(pid, l.resource, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			problems = append(problems, fmt.Errorf("limit process %d: %w", pid, err))
		}
	}
	return errors.Join(problems...)
}
