package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// controller is one of control groups, by the kernel's name.
type controller string

const (
	memory    controller = "memory"
	processor controller = "cpu"
	processes controller = "pids"
)

var controllers = []controller{memory, processor, processes}

// groups is where control groups can be made: below the one that we are in, so that the limits
// that hold for us hold for what we start too. Safe for concurrent use.
type groups struct {
	version int                   // 1 or 2; 0: none can be made
	base    map[controller]string // directories of the group we are in; in version 2 one for all
	vacate  bool                  // version 2: we must leave base before it can have groups with controllers
	reason  string                // why a controller is not in base
	id      string
	record  string

	mu   sync.Mutex
	made map[string]bool // parents of ours that exist
}

// String is what enforces the limits.
func (g *groups) String() string { return fmt.Sprintf("a control group (version %d)", g.version) }

func (g *groups) why() string { return g.reason }

func (g *groups) can(c controller) bool { return g.base[c] != "" }

// parent is our directory in a controller's hierarchy.
func (g *groups) parent(c controller) string { return filepath.Join(g.base[c], g.id) }

// group is the control group of one process. All methods do nothing for nil.
type group struct {
	version int
	dirs    map[controller]string // of the controllers that have a limit
	home    map[controller]string // version 1: where our thread goes back to
}

// create makes a control group with the limits; nil where there are none.
func (g *groups) create(name string, p Policy) (*group, error) {
	limited := p.limited()
	if len(limited) == 0 {
		return nil, nil
	}
	made := &group{version: g.version, dirs: make(map[controller]string), home: g.base}
	for _, c := range limited {
		if err := g.prepare(c); err != nil {
			made.remove()
			return nil, err
		}
		dir := filepath.Join(g.parent(c), name)
		if !slices.Contains(made.all(), dir) {
			if err := os.Mkdir(dir, 0o755); err != nil {
				made.remove()
				return nil, err
			}
		}
		made.dirs[c] = dir
		if err := made.limit(c, &p); err != nil {
			made.remove()
			return nil, err
		}
	}
	return made, nil
}

// prepare makes the parent of our groups.
func (g *groups) prepare(c controller) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	parent := g.parent(c)
	if g.made[parent] {
		return nil
	}
	if g.version == 2 {
		if err := g.delegate(g.base[c]); err != nil {
			return err
		}
	}
	if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if g.version == 2 {
		if err := g.enable(parent); err != nil {
			return err
		}
	}
	g.made[parent] = true
	return g.remember()
}

// remember writes down where our groups are: a relay that is killed may be started in another
// group the next time.
func (g *groups) remember() error {
	var all []string
	for dir := range g.made {
		all = append(all, dir)
	}
	slices.Sort(all)
	return os.WriteFile(g.record, []byte(strings.Join(all, "\n")+"\n"), 0o600)
}

// limit writes a limit.
func (g *group) limit(c controller, p *Policy) error {
	if g.version == 2 {
		return g.limit2(c, p)
	}
	return g.limit1(c, p)
}

func (g *group) limit1(c controller, p *Policy) error {
	dir := g.dirs[c]
	switch c {
	case memory:
		if err := put(dir, "memory.limit_in_bytes", p.Memory); err != nil {
			return err
		}
		_ = put(dir, "memory.memsw.limit_in_bytes", p.Memory) // no swap; not there without swap accounting
		return nil
	case processes:
		return put(dir, "pids.max", p.Processes)
	}
	return errors.Join(put(dir, "cpu.cfs_period_us", period), put(dir, "cpu.cfs_quota_us", quota(p.Processor)))
}

// period is the time, in µs, over which processor time is counted: the kernel's default.
const period = 100_000

// quota is what of a period can be used; 1 ms is the least that the kernel takes.
func quota(percent int) int { return percent * period / 100 }

// put writes a value into a file of a control group.
func put(dir, file string, value any) error {
	return os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, value), 0o644)
}

func (g *group) all() []string {
	if g == nil {
		return nil
	}
	var all []string
	for _, c := range controllers {
		if dir := g.dirs[c]; dir != "" && !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	return all
}

// enter sees to it that what this thread starts with attr is born in the group. leave is called
// when it has been; this thread may then be one that cannot open files any more.
func (g *group) enter(attr *syscall.SysProcAttr) (leave func(), err error) {
	switch {
	case g == nil:
		return func() {}, nil
	case g.version == 2:
		return g.enter2(attr)
	}
	thread := []byte(strconv.Itoa(unix.Gettid()))
	var back []*os.File
	leave = func() {
		for _, f := range back {
			_, _ = f.Write(thread) // a thread that stays counts as one process, and ends with the group's
			f.Close()
		}
	}
	for c, dir := range g.dirs {
		f, err := os.OpenFile(filepath.Join(g.home[c], "tasks"), os.O_WRONLY, 0)
		if err != nil {
			leave()
			return nil, err
		}
		back = append(back, f)
		if err := os.WriteFile(filepath.Join(dir, "tasks"), thread, 0o644); err != nil {
			leave()
			return nil, err
		}
	}
	return leave, nil
}

// events counts the processes that were killed for memory, and those that could not be started.
func (g *group) events() (killed, refused uint64) {
	if g == nil {
		return 0, 0
	}
	file := "memory.events"
	if g.version == 1 {
		file = "memory.oom_control"
	}
	if dir := g.dirs[memory]; dir != "" {
		killed = count(filepath.Join(dir, file), "oom_kill")
	}
	if dir := g.dirs[processes]; dir != "" {
		refused = count(filepath.Join(dir, "pids.events"), "max")
	}
	return killed, refused
}

// count reads a number from a file of lines "key number"; 0 where there is none.
func count(path, key string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+" "); ok {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}
