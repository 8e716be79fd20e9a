package agents

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"example.org/relay/relay/event"
)

// Registry is the list of installed agents, agents.toml in the state directory. Whoever
// holds one owns the state directory: the running relay, or a command where none runs.
// Not safe for concurrent use.
type Registry struct {
	dir     string
	lock    *os.File
	entries []Entry // by service, then priority
}

// Entry is one installed agent. Its priority is its place among those of its service.
type Entry struct {
	Name         string
	Service      event.Role
	Enabled      bool
	Path         string // absolute
	SHA256       string
	Factory      string
	SettingsPath string // where the settings came from, for the operator; may be empty
	Settings     string // as JSON; empty: none
	Timeout      time.Duration
	OnFailure    string            // tempfail, continue, or empty for the default
	Granted      event.Permissions // never more than Described.Asks
	Described    Described
	// Only narrows what the agent is asked about, further than the agent does itself.
	Only event.Filter
	// Confine is what was set for this agent; what is not set is that of Defaults.
	Confine Confine
	// BypassUntil is when the agent is asked again; until then mail goes on without it. Zero: it is not bypassed.
	BypassUntil time.Time

	// Edition tells apart, while the relay runs, what was made of the agent by changes of its
	// program, settings or permissions. It is not kept.
	Edition uint64
}

// ErrLocked says that another process owns the state directory: a running relay.
var ErrLocked = errors.New("state directory is in use by a running relay or another command")

const (
	registryFile   = "agents.toml"
	registryHead   = "# managed by relay: changed by install-agent, set-agent and the like, not by hand.\n\n"
	registryFormat = 1
	maxRegistry    = 8 << 20 // octets
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// OpenRegistry takes the lock of the state directory, which it makes where there is none,
// and reads the registry. The error is ErrLocked, wrapped, if another process has the lock.
func OpenRegistry(stateDir string) (*Registry, error) {
	dir, err := filepath.Abs(stateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	r := &Registry{dir: dir, lock: lock}
	if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	if err == nil {
		err = r.load()
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return r, nil
}

// Close gives the lock back.
func (r *Registry) Close() error { return r.lock.Close() }

// Dir returns the state directory, absolute.
func (r *Registry) Dir() string { return r.dir }

// Entries returns a copy of the list: by service, then priority.
func (r *Registry) Entries() []Entry { return slices.Clone(r.entries) }

// replace writes the list, durably, and then takes it.
func (r *Registry) replace(entries []Entry) error {
	byService(entries)
	var b bytes.Buffer
	b.WriteString(registryHead)
	file := fileOf(entries)
	if err := toml.NewEncoder(&b).Encode(file); err != nil {
		return fmt.Errorf("%s: %w", registryFile, err)
	}
	if b.Len() > maxRegistry {
		return fmt.Errorf("%s: %d octets with the settings of all agents, at most %d can be kept", registryFile, b.Len(), maxRegistry)
	}
	if err := renameio.WriteFile(filepath.Join(r.dir, registryFile), b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("%s: %w", registryFile, err)
	}
	if err := syncDir(r.dir); err != nil {
		return fmt.Errorf("%s: %w", registryFile, err)
	}
	r.entries = entries
	return nil
}

func byService(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int { return strings.Compare(string(a.Service), string(b.Service)) })
}

// syncDir makes a rename in the directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (r *Registry) load() error {
	path := filepath.Join(r.dir, registryFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() > maxRegistry {
		return fmt.Errorf("%s: larger than any registry of ours", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r.entries, err = decodeRegistry(data)
	if err != nil {
		return fmt.Errorf("%s cannot be read; move it away to begin with no agents, or restore it: %w", path, err)
	}
	return nil
}
