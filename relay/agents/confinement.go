package agents

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"example.org/relay/relay/agents/confine"
	"example.org/relay/relay/event"
)

// Isolation is what get-agent says of how an agent is kept from the relay's own data where
// nothing keeps it.
const Isolation = "not isolated: runs with the relay's own uid"

// newMachine finds out what agents can be kept from.
func newMachine(stateDir string, log *slog.Logger) *confine.Machine {
	return confine.NewMachine(confine.Options{ID: stateName(stateDir), Record: filepath.Join(stateDir, "cgroups"), Log: log})
}

// stateName is a name that belongs to a state directory.
func stateName(stateDir string) string {
	return fmt.Sprintf("relay-%.8x", sha256.Sum256([]byte(stateDir)))
}

// user is the one that processes of the spec run as; nil is our own.
func (w *workshop) user(s *spec) (*confine.User, error) {
	name := value(s.confine.User)
	if name == "" {
		return nil, nil
	}
	u, err := w.machine.User(name)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Name, err)
	}
	return u, nil
}

// plan is how a process of the spec is confined. dir is its own directory.
func (w *workshop) plan(s *spec, u *confine.User, home, dir string) (*confine.Plan, error) {
	c := &s.confine
	p := confine.Policy{
		Name: string(s.Service) + "-" + s.Name, User: u, Network: s.Granted.Has(event.MayNetwork),
		Memory: value(c.Memory), Processor: value(c.Processor), Processes: value(c.Processes),
	}
	if value(c.ReadOnly) {
		p.Files = &confine.Files{Program: s.Path, Read: c.ReadPaths, Write: []string{home, dir}}
	}
	plan, err := w.machine.Plan(p)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Name, err)
	}
	return plan, nil
}

// value is what p points to, or nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// same reports whether two agents are confined alike.
func (c Confine) same(d Confine) bool {
	return value(c.Sessions) == value(d.Sessions) && value(c.Memory) == value(d.Memory) &&
		value(c.Processor) == value(d.Processor) && value(c.Processes) == value(d.Processes) &&
		value(c.User) == value(d.User) && value(c.ReadOnly) == value(d.ReadOnly) && slices.Equal(c.ReadPaths, d.ReadPaths)
}

// sessions is how many an instance takes at the same time, where the agent says own; 0: any
// number.
func (s *spec) sessions(own int) int {
	if limit := value(s.confine.Sessions); own == 0 || limit > 0 && limit < own {
		return limit
	}
	return own
}

// check says why the spec's agent cannot be confined as it is to be, before anything is started.
func (w *workshop) check(s *spec) error {
	c := &s.confine
	for name, n := range map[string]int{"sessions": value(c.Sessions), "processor": value(c.Processor), "processes": value(c.Processes)} {
		if n < 0 {
			return fmt.Errorf("agent %s: %s %d: must be 0, no limit, or more", s.Name, name, n)
		}
	}
	for _, path := range c.ReadPaths {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("agent %s: read path %s: must be absolute", s.Name, path)
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("agent %s: read path: %w", s.Name, err)
		}
	}
	u, err := w.user(s)
	if err != nil {
		return err
	}
	_, err = w.plan(s, u, w.home(&s.Entry), w.sockets)
	return err
}

// settle makes the agent's home, or hands it over to the user that its processes now run as.
// back undoes that, for when the process does not start: one of the old user may still be
// running.
func (w *workshop) settle(home string, u *confine.User) (back func(), err error) {
	if err := w.makeHome(home, u); err != nil {
		return nil, err
	}
	uid, gid, err := confine.Owner(home)
	if err != nil {
		return nil, err
	}
	wantUID, wantGID := owner(u)
	if uid == wantUID {
		return func() {}, nil
	}
	if err := confine.HandOver(home, wantUID, wantGID); err != nil {
		return nil, fmt.Errorf("hand over %s: %w", home, err)
	}
	return func() {
		if err := confine.HandOver(home, uid, gid); err != nil {
			w.log.Error("directory of an agent cannot be given back", "path", home, "uid", uid, "error", err)
		}
	}, nil
}

func owner(u *confine.User) (uid, gid uint32) {
	if u == nil {
		return uint32(os.Geteuid()), uint32(os.Getegid())
	}
	return u.UID, u.GID
}

// makeHome makes the directory and, for another user, lets everybody pass to it.
func (w *workshop) makeHome(home string, u *confine.User) error {
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return err
	}
	if u != nil {
		for dir := filepath.Dir(home); ; dir = filepath.Dir(dir) {
			if err := confine.Passable(dir); err != nil {
				return err
			}
			if dir == w.stateDir || dir == "/" {
				break
			}
		}
	}
	err := os.Mkdir(home, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil && u != nil {
		err = os.Lchown(home, int(u.UID), int(u.GID))
	}
	return err
}

// lodge returns the home that a process may have which is only to be tried: its own, or
// nothing where that belongs to another user, whose process may be running.
func (w *workshop) lodge(home string, u *confine.User) (string, error) {
	if err := w.makeHome(home, u); err != nil {
		return "", err
	}
	uid, _, err := confine.Owner(home)
	if want, _ := owner(u); err == nil && uid != want {
		return "", nil
	}
	return home, err
}

// furnish makes the directories that the process alone has.
func (w *workshop) furnish(u *confine.User, dirs ...string) error {
	if u != nil {
		if err := confine.Passable(w.sockets); err != nil {
			return err
		}
	}
	for _, d := range dirs {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
		if u == nil {
			continue
		}
		if err := os.Lchown(d, int(u.UID), int(u.GID)); err != nil {
			return err
		}
	}
	return nil
}

// obstacle explains why a program could not be executed; empty where nothing is known.
func (p *process) obstacle() string {
	if !errors.Is(p.child.startErr, syscall.EACCES) {
		return ""
	}
	if u := p.user; u != nil {
		for _, path := range []string{p.child.cmd.Path, p.child.cmd.Dir, p.dir} {
			if text := u.Obstacle(path); text != "" {
				return text
			}
		}
	}
	if p.readOnly {
		return "it is read-only: what it is run by must be in the system, its own folder or a read path"
	}
	return ""
}

// confinement fills in what the agent may use and see, and how that is kept: as it is for the
// process, or where none runs, as it would be.
func (i *Info) confinement(w *workshop, s *spec, p *process) {
	i.Confine = s.confine
	if n := value(s.confine.Sessions); n > 0 {
		i.Limits = append(i.Limits, fmt.Sprintf("Sessions: %d at the same time, by the relay; more wait, within their time.", n))
	}
	u, err := w.user(s)
	var plan *confine.Plan
	if err == nil {
		plan, err = w.plan(s, u, "", "")
	}
	if err != nil {
		i.Isolation = "cannot be started: " + err.Error()
		i.Problem = cmp.Or(i.Problem, err.Error())
		return
	}
	readOnly := value(s.confine.ReadOnly)
	if p != nil { // which may be older than what is to be
		u, readOnly = p.user, p.readOnly
	}
	switch {
	case u != nil:
		i.Isolation = "runs as user " + u.String()
	case readOnly:
		i.Isolation = "runs with the relay's own uid, kept from the relay's files by Landlock"
	default:
		i.Isolation = Isolation
	}
	if p != nil {
		i.Limits, i.Sandbox = append(i.Limits, p.child.limits...), p.child.sandbox
		if n := p.child.cell.Refused(); n > 0 {
			i.Problem = cmp.Or(i.Problem, fmt.Sprintf("reached its limit of %d processes; %d more could not be started", value(s.confine.Processes), n))
		}
		return
	}
	i.Limits, i.Sandbox = append(i.Limits, plan.Limits()...), plan.Sandbox()
}

// metLimit notes that a process that has ended met one of its limits.
func (s *stats) metLimit(log *slog.Logger, p *process) {
	if p.child.limit == "" {
		return
	}
	log.Error("agent "+p.child.limit, "pid", p.child.pid())
	text := fmt.Sprintf("%s (pid %d, %s)", p.child.limit, p.child.pid(), time.Now().Format(time.DateTime))
	s.limit.Store(&text)
}
