package confine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of killing the processes of a group one by one, and of removing a group whose last
// process is just ending.
const (
	tries = 50
	pause = 10 * time.Millisecond
)

// kill kills all processes in the group.
func (g *group) kill() {
	for _, dir := range g.all() {
		killAll(dir)
	}
}

// killAll kills all processes in a group: at once, or where the kernel cannot (version 1, and
// version 2 before Linux 5.14) one by one. They can start no others meanwhile where that can be
// prevented.
func killAll(dir string) {
	if existing(dir, "cgroup.kill", "1") == nil {
		return
	}
	_ = existing(dir, "pids.max", "0") // not there without that controller
	for range tries {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return
		}
		left := false
		for _, field := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil || pid <= 1 || pid == os.Getpid() { // 0: of another process namespace
				continue
			}
			left = left || unix.Kill(pid, unix.SIGKILL) == nil && !zombie(pid)
		}
		if !left {
			return
		}
		time.Sleep(pause)
	}
}

// existing writes into a file that must be there.
func existing(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// zombie reports whether a process has ended and was not waited for yet.
func zombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// remove removes the group.
func (g *group) remove() {
	for _, dir := range g.all() {
		removeGroup(dir)
	}
}

func removeGroup(dir string) {
	for range tries {
		if err := os.Remove(dir); !errors.Is(err, unix.EBUSY) {
			return
		}
		killAll(dir)
		time.Sleep(pause)
	}
}

// sweep kills and removes what a killed predecessor has left.
func (g *groups) sweep() {
	data, err := os.ReadFile(g.record)
	if err != nil {
		return
	}
	for parent := range strings.Lines(string(data)) {
		parent = strings.TrimSuffix(parent, "\n")
		if filepath.Base(parent) == g.id && filepath.IsAbs(parent) {
			sweepBelow(parent)
		}
	}
	_ = os.Remove(g.record) // it is written anew
}

// sweepBelow removes the groups in parent, and parent.
func sweepBelow(parent string) {
	if _, err := os.Stat(filepath.Join(parent, "cgroup.procs")); err != nil {
		return // no control group
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			killAll(filepath.Join(parent, e.Name()))
			removeGroup(filepath.Join(parent, e.Name()))
		}
	}
	removeGroup(parent)
}

// close removes the parents of our groups.
func (g *groups) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var problems []error
	for parent := range g.made {
		if err := os.Remove(parent); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	clear(g.made)
	if len(problems) == 0 {
		_ = os.Remove(g.record) // not there where none was made
	}
	return errors.Join(problems...)
}
