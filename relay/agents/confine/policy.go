package confine

import (
	"log/slog"
	"path/filepath"
	"sync"
)

// Policy is what a process, with all that it starts, may use and see.
type Policy struct {
	Name      string // names its control group: letters, digits, dots, dashes, underscores
	Memory    uint64 // octets; 0: no limit
	Processor int    // percent of one processor; 0: no limit
	Processes int    // processes and threads; 0: no limit
	User      *User  // nil: our own
	Network   bool   // it may use the network
	Files     *Files // nil: all that its user may
}

// Files is what a process may use of the file system beside what every program needs of the
// system.
type Files struct {
	Program string   // its folder is read and executed
	Read    []string // files and trees, read and executed
	Write   []string // trees, read and written
}

// Machine is what this kernel, and our rights on it, allow. Safe for concurrent use.
type Machine struct {
	landlock  int          // version of its interface; 0: there is none
	caps      capabilities // ours
	namespace bool         // we may make network namespaces
	filter    bool         // we may filter system calls
	groups    *groups      // where control groups can be made
	protected *protection
	log       *slog.Logger // of what had to be given up
}

// Options say where a Machine keeps what it makes.
type Options struct {
	// ID names what is ours among control groups: the same for the next process that works on
	// the same state, which then finds what a killed one has left.
	ID string
	// Record is a file that remembers where control groups were made.
	Record string
	Log    *slog.Logger
}

// NewMachine finds out what can be done, and removes the control groups that a killed
// predecessor has left.
func NewMachine(o Options) *Machine {
	m := &Machine{landlock: landlockVersion(), caps: ownCapabilities(), filter: canFilter(), log: o.Log, protected: new(protection)}
	m.namespace = m.caps.has(capSysAdmin) && canUnshareNetwork()
	m.groups = findGroups(o)
	m.groups.sweep()
	return m
}

// protection is what no process may read where Policy.Files is set.
type protection struct {
	mu    sync.Mutex
	paths []string // resolved
}

func (p *protection) get() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paths
}

// Protect names the files and trees that no process with Policy.Files that is started from now
// on may read, wherever they are, in the place of those named before.
func (m *Machine) Protect(paths []string) {
	var all []string
	for _, p := range paths {
		all = append(all, resolved(p))
	}
	m.protected.mu.Lock()
	defer m.protected.mu.Unlock()
	m.protected.paths = all
}

// Close removes what was made for all processes. No cell may be open any more.
func (m *Machine) Close() error { return m.groups.close() }

// resolved is the path without symbolic links, as far as it exists.
func resolved(path string) string {
	path = filepath.Clean(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir, name := filepath.Split(path)
	if dir == path || name == "" {
		return path
	}
	return filepath.Join(resolved(dir), name)
}
