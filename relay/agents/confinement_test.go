package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.org/relay/relay/event"
	"example.org/relay/test/needs"
)

// look does what the lines of the file "look" in the agent's home say and writes what came of
// each into the file "looked".
func look() {
	todo, err := os.ReadFile("look")
	if err != nil {
		panic(err)
	}
	var all strings.Builder
	for line := range strings.Lines(string(todo)) {
		what, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch what {
		case "read":
			_, err = os.ReadFile(path)
		case "write":
			err = os.WriteFile(path, []byte("x"), 0o600)
		case "tcp", "udp":
			var c net.Conn
			if c, err = net.Dial(what, path); err == nil {
				_, err = c.Write([]byte("x"))
			}
		case "uid":
			err = fmt.Errorf("%d", os.Getuid())
		}
		var errno syscall.Errno
		if errors.As(err, &errno) {
			err = errors.New(unix.ErrnoName(errno))
		}
		if err == nil {
			err = errors.New("ok")
		}
		fmt.Fprintf(&all, "%s = %v\n", strings.TrimSpace(line), err)
	}
	if err := os.WriteFile("looked", []byte(all.String()), 0o600); err != nil {
		panic(err)
	}
}

// looks lets the agent look, and compares what it saw.
func (r *rig) looks(t *testing.T, a *Agent, want map[string]string) {
	t.Helper()
	home := r.shop.home(a.entry.Load())
	var todo strings.Builder
	for line := range want {
		todo.WriteString(line + "\n")
	}
	if err := os.WriteFile(filepath.Join(home, "look"), []byte(todo.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	c := a.Open("s-" + fmt.Sprint(time.Now().UnixNano()))
	defer c.End(nil, newState("end"), event.DisconnectQuit)
	if _, err := mailFrom(t, c, newState("look"), 1, "look", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	looked, err := os.ReadFile(filepath.Join(home, "looked"))
	if err != nil {
		t.Fatal(err)
	}
	for line, result := range want {
		if !strings.Contains(string(looked), line+" = "+result+"\n") {
			t.Errorf("want %s = %s, have\n%s", line, result, looked)
		}
	}
}

func (r *rig) confine(c Confine) {
	d := *r.defaults.Load()
	d.Confine = c
	r.setDefaults(d)
}

// openDir is a directory that every user can pass, with the test program as "good" in it.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "good"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (r *rig) enabledFrom(t *testing.T, name, path string) *Agent {
	t.Helper()
	if _, _, err := r.Install(t.Context(), InstallRequest{Name: name, Service: "FrontEnd", Path: path}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: name}); err != nil {
		t.Fatal(err)
	}
	all := r.Enabled(event.FrontEnd)
	return all[len(all)-1]
}

func TestAgentKilledByItsMemoryLimitIsReplacedAndSaysSo(t *testing.T) {
	r := newRig(t)
	limit := uint64(100e6)
	r.confine(Confine{Memory: &limit})
	a := r.enabled(t, "good")
	infos, _ := r.Get("good", "")
	if limits := infos[0].Limits; len(limits) != 1 || !strings.Contains(limits[0], "Memory: 100 MB") {
		t.Fatalf("limits: %q", limits)
	} else if !strings.Contains(limits[0], "control group") {
		needs.Unable(t, "%s", limits[0])
	}
	c := a.Open("hog")
	_, err := mailFrom(t, c, newState("hog"), 1, "hog", 20*time.Second)
	if !errors.Is(err, event.ErrPoison) {
		t.Errorf("the message that needs too much: %v, want ErrPoison", err)
	}
	c.End(nil, newState("end"), event.DisconnectQuit)
	c = a.Open("next")
	if _, err := mailFrom(t, c, newState("next"), 1, "alice", 10*time.Second); err != nil {
		t.Errorf("the next message: %v", err)
	}
	c.End(nil, newState("end"), event.DisconnectQuit)
	const want = "killed by its memory limit of 100 MB"
	eventually(t, "get-agent says it", func() bool {
		infos, _ := r.Get("good", "")
		return strings.Contains(infos[0].Problem, want) && infos[0].State == stateRunning
	})
	if !strings.Contains(r.log.String(), "agent "+want) {
		t.Error("the log does not say it")
	}
}

func TestAgentsOfOtherUsers(t *testing.T) {
	needs.Root(t)
	dir := openDir(t)
	r := newRigIn(t, filepath.Join(dir, "state"))
	nobody, daemon := "nobody", "daemon"
	r.confine(Confine{User: &nobody})
	one := r.enabledFrom(t, "one", filepath.Join(dir, "good"))
	if err := os.WriteFile(filepath.Join(r.shop.home(one.entry.Load()), "mail"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.confine(Confine{User: &daemon})
	two := r.enabledFrom(t, "two", filepath.Join(dir, "good"))
	state := r.registry.Dir()
	r.looks(t, two, map[string]string{
		"uid":                            "1",
		"read " + state + "/agents.toml": "EACCES",
		"write " + state + "/lock":       "EACCES",
		"write " + state + "/new":        "EACCES",
		"read " + filepath.Join(r.shop.home(one.entry.Load()), "mail"): "EACCES",
		"write " + filepath.Join(r.shop.home(two.entry.Load()), "own"): "ok",
		"tcp 127.0.0.1:9": "ENETUNREACH",
		fmt.Sprintf("read /proc/%d/environ", os.Getpid()):     "EACCES",
		"read " + filepath.Join(state, "sockets"):             "EACCES",
		"read " + filepath.Join(state, "agents"):              "EACCES",
		"read " + filepath.Dir(r.shop.home(one.entry.Load())): "EACCES",
	})
	infos, _ := r.Get("two", "")
	if infos[0].Isolation != "runs as user daemon (uid 1)" {
		t.Errorf("isolation %q", infos[0].Isolation)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("state directory: %v, %v", info.Mode(), err)
	}
}

// The files go with the agent when its user changes, forth and back; a try changes nothing.
func TestUserOfAnAgentChanges(t *testing.T) {
	needs.Root(t)
	dir := openDir(t)
	r := newRigIn(t, filepath.Join(dir, "state"))
	a := r.enabledFrom(t, "good", filepath.Join(dir, "good"))
	home := r.shop.home(a.entry.Load())
	kept := filepath.Join(home, "kept")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		user string
		uid  uint32
	}{{"nobody", 65534}, {"daemon", 1}, {"", 0}} {
		d := *r.defaults.Load()
		d.Confine.User = &step.user
		s := r.spec(*a.entry.Load())
		s.confine.User = &step.user
		before := ownerOf(t, kept)
		if err := r.shop.probe(t.Context(), s, r.Host.log, asGranted); err != nil {
			t.Fatal(err)
		}
		if now := ownerOf(t, kept); now != before {
			t.Errorf("a try for %q has made the files those of %d", step.user, now)
		}
		if err := r.Update(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if uid := ownerOf(t, kept); uid != step.uid {
			t.Errorf("user %q: the files are those of %d", step.user, uid)
		}
		r.looks(t, a, map[string]string{"uid": fmt.Sprint(step.uid), "read " + kept: "ok"})
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

// Where the new process does not start, the old one has its files again.
func TestUserThatCannotRunTheProgramLeavesTheOldOne(t *testing.T) {
	needs.Root(t)
	dir := openDir(t)
	r := newRigIn(t, filepath.Join(dir, "state"))
	a := r.enabledFrom(t, "good", filepath.Join(dir, "good"))
	if err := os.Chmod(filepath.Join(dir, "good"), 0o700); err != nil {
		t.Fatal(err)
	}
	pid := r.pid(t, "good")
	nobody := "nobody"
	d := *r.defaults.Load()
	d.Confine.User = &nobody
	err := r.Update(t.Context(), d)
	if want := "user nobody may not pass " + filepath.Join(dir, "good"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if now := r.pid(t, "good"); now != pid {
		t.Errorf("process %d, before %d", now, pid)
	}
	r.looks(t, a, map[string]string{"uid": "0"})
	infos, _ := r.Get("good", "")
	if i := infos[0]; i.Isolation != Isolation || !strings.Contains(i.Problem, "not confined anew") {
		t.Errorf("of a process of root get-agent says %q, problem %q", i.Isolation, i.Problem)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no process that is not confined", func() bool {
		infos, _ := r.Get("good", "")
		return infos[0].PID == 0 && strings.Contains(infos[0].Problem, "may not pass")
	})
}

// A reload has said "in force now", and the agent ran on as it was.
func TestNewConfinementThatAnAgentCannotTakeIsFoundBeforeAnythingChanges(t *testing.T) {
	needs.Root(t)
	dir := openDir(t)
	r := newRigIn(t, filepath.Join(dir, "state"))
	r.enabledFrom(t, "good", filepath.Join(dir, "good"))
	nobody := "nobody"
	d := *r.defaults.Load()
	d.Confine.User = &nobody
	if err := r.Check(t.Context(), d); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(filepath.Join(dir, "good"), 0o700); err != nil {
		t.Fatal(err)
	}
	pid := r.pid(t, "good")
	err := r.Check(t.Context(), d)
	if want := "user nobody may not pass " + filepath.Join(dir, "good"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if now := r.pid(t, "good"); now != pid {
		t.Errorf("process %d, before %d", now, pid)
	}
}

func TestReadOnlyAgent(t *testing.T) {
	r := newRig(t)
	yes := true
	r.confine(Confine{ReadOnly: &yes})
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.registry.Dir(), "agents/FrontEnd/other"), 0o755); err != nil {
		t.Fatal(err)
	}
	neighbour := filepath.Join(r.registry.Dir(), "agents/FrontEnd/other/mail")
	if err := os.WriteFile(neighbour, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Install(t.Context(), InstallRequest{Name: "good", Service: "FrontEnd", Path: program(t, "good"), WhatIf: true})
	if err != nil && strings.Contains(err.Error(), "needs Landlock") {
		t.Skip("SKIPPED: ", err)
	}
	a := r.enabled(t, "good")
	r.looks(t, a, map[string]string{
		"read " + r.registry.Dir() + "/agents.toml":                  "EACCES",
		"write " + r.registry.Dir() + "/agents.toml":                 "EACCES",
		"read " + neighbour:                                          "EACCES",
		"read " + other:                                              "EACCES",
		"write " + other:                                             "EACCES",
		"write " + filepath.Join(r.shop.home(a.entry.Load()), "own"): "ok",
		"write " + filepath.Join(os.TempDir(), "stray"):              "EACCES",
		"read /etc/hosts":                                            "ok",
	})
}

func TestNetworkIsForThoseThatAreGrantedIt(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := r.enabled(t, "good")
	infos, _ := r.Get("good", "")
	var refused string
	switch text := strings.Join(infos[0].Sandbox, " "); {
	case strings.Contains(text, "network namespace"):
		refused = "ENETUNREACH"
	case strings.Contains(text, "seccomp refuses"):
		refused = "EAFNOSUPPORT"
	default:
		needs.Unable(t, "%s", text)
	}
	addr := l.Addr().String()
	r.looks(t, a, map[string]string{"tcp " + addr: refused, "udp " + addr: refused})
	s := r.spec(*a.entry.Load())
	s.Granted = s.Granted.With(event.MayNetwork)
	s.Entry.Granted = s.Granted
	if err := a.sup.Load().swap(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	r.looks(t, a, map[string]string{"tcp " + addr: "ok"})
}

func TestConfinementThatCannotBeIsRefused(t *testing.T) {
	r := newRig(t)
	user, minus := "no-such-user", -1
	for name, c := range map[string]struct {
		confine Confine
		want    string
	}{
		"user":     {Confine{User: &user}, `agent a: user "no-such-user": there is no such system user`},
		"relative": {Confine{ReadPaths: []string{"lists"}}, "agent a: read path lists: must be absolute"},
		"missing":  {Confine{ReadPaths: []string{"/no/such/list"}}, "agent a: read path: stat /no/such/list"},
		"negative": {Confine{Processes: &minus}, "agent a: processes -1: must be 0, no limit, or more"},
	} {
		r.confine(c.confine)
		_, _, err := r.Install(t.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: program(t, "good")})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: install: %v, want %q", name, err, c.want)
		}
	}
	r.confine(Confine{})
	r.enabled(t, "good")
	d := *r.defaults.Load()
	d.Confine.User = &user
	if err := r.Check(context.Background(), d); err == nil || !strings.Contains(err.Error(), "there is no such system user") {
		t.Errorf("reload: %v", err)
	}
	if infos, _ := r.Get("good", ""); infos[0].State != stateRunning {
		t.Errorf("state %s", infos[0].State)
	}
}

func TestSessionsOfConfine(t *testing.T) {
	two, none := 2, 0
	for _, c := range []struct {
		limit     *int
		own, want int
	}{{nil, 0, 0}, {nil, 5, 5}, {&none, 5, 5}, {&two, 0, 2}, {&two, 5, 2}, {&two, 1, 1}} {
		s := &spec{confine: Confine{Sessions: c.limit}}
		if got := s.sessions(c.own); got != c.want {
			t.Errorf("limit %v, own %d: %d, want %d", value(c.limit), c.own, got, c.want)
		}
	}
}

func TestFiftyProcessesLeaveNoThread(t *testing.T) {
	r := newRig(t)
	limit := uint64(200e6)
	r.confine(Confine{Memory: &limit})
	a := r.enabled(t, "good")
	threads := func() int {
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	var before int
	for n := range 50 {
		if err := a.sup.Load().swap(t.Context(), r.spec(*a.entry.Load())); err != nil {
			t.Fatal(err)
		}
		if n == 9 {
			before = threads()
		}
	}
	eventually(t, "the threads of ended processes are gone", func() bool { return threads() <= before+4 })
}
