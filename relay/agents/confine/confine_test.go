package confine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/relay/test/needs"
)

func TestNoNewPrivilegesAlways(t *testing.T) {
	got, _ := confined(t, machine(t), Policy{Network: true}, "status=NoNewPrivs")
	expect(t, got, map[string]string{"status=NoNewPrivs": "1"})
}

func TestRootsCapabilitiesAreTaken(t *testing.T) {
	needs.Root(t)
	got, _ := confined(t, machine(t), Policy{Network: true}, "status=CapEff", "status=CapBnd")
	want := fmt.Sprintf("%016x", uint64(kept))
	expect(t, got, map[string]string{"status=CapEff": want, "status=CapBnd": want})
}

func TestNetwork(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	u := must(net.ListenPacket("udp", "127.0.0.1:0"))
	defer u.Close()
	socket := filepath.Join(t.TempDir(), "s")
	s := must(net.Listen("unix", socket))
	defer s.Close()
	tcp, udp, local := "tcp="+l.Addr().String(), "udp="+u.LocalAddr().String(), "unix="+socket
	whole := machine(t)
	for name, c := range map[string]struct {
		change   func(*Machine)
		network  bool
		tcp, udp string
		possible bool
	}{
		"granted":   {change: func(*Machine) {}, network: true, tcp: "ok", udp: "ok", possible: true},
		"namespace": {change: func(*Machine) {}, tcp: "ENETUNREACH", udp: "ENETUNREACH", possible: whole.namespace},
		"filter":    {change: func(m *Machine) { m.namespace = false }, tcp: "EAFNOSUPPORT", udp: "EAFNOSUPPORT", possible: whole.filter},
		"neither":   {change: func(m *Machine) { m.namespace, m.filter = false, false }, tcp: "ok", udp: "ok", possible: true},
	} {
		t.Run(name, func(t *testing.T) {
			if !c.possible {
				needs.Unable(t, "%s cannot be had here", name)
			}
			m := *whole
			c.change(&m)
			got, _ := confined(t, &m, Policy{Network: c.network}, tcp, udp, local)
			expect(t, got, map[string]string{tcp: c.tcp, udp: c.udp, local: "ok"})
			plan := must(m.Plan(Policy{Network: c.network}))
			if says, has := strings.Contains(plan.networkText(), "no network"), c.tcp != "ok"; says != has {
				t.Errorf("it says %q", plan.networkText())
			}
		})
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"state/agents/a", "state/agents/b", "program", "data", "config"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, f := range []string{"state/agents.toml", "state/agents/b/mail", "data/table", "config/config.toml", "config/key.pem", "config/lists"} {
		if err := os.WriteFile(at(f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := machine(t, at("state"), at("config/config.toml"), at("config/key.pem"))
	if m.landlock == 0 {
		if _, err := m.Plan(Policy{Files: &Files{}}); err != ErrNoLandlock {
			t.Errorf("read-only without Landlock: %v", err)
		}
		t.Skip("SKIPPED: no Landlock")
	}
	self := must(os.Executable())
	f := &Files{Program: self, Read: []string{at("data"), at("config")}, Write: []string{at("state/agents/a")}}
	want := map[string]string{
		"read=" + at("state/agents.toml"):                 "EACCES",
		"list=" + at("state"):                             "EACCES",
		"read=" + at("state/agents/b/mail"):               "EACCES",
		"write=" + at("state/agents/b/mail"):              "EACCES",
		"write=" + at("data/table"):                       "EACCES",
		"remove=" + at("data/table"):                      "EACCES",
		"read=" + at("data/table"):                        "ok",
		"read=" + at("config/lists"):                      "ok",
		"read=" + at("config/config.toml"):                "EACCES",
		"read=" + at("config/key.pem"):                    "EACCES",
		"write=" + at("state/agents/a/own"):               "ok",
		"read=" + at("state/agents/a/own"):                "ok",
		"remove=" + at("state/agents/a/own"):              "ok",
		"read=/etc/passwd":                                "ok",
		"read=/etc/shadow":                                "EACCES",
		"list=/root":                                      "EACCES",
		"write=/dev/null":                                 "ok",
		"read=" + self:                                    "ok",
		"write=" + filepath.Dir(self) + "/new":            "EACCES",
		"run=/bin/true":                                   "ok",
		fmt.Sprint("signal=", os.Getpid()):                "EPERM",
		fmt.Sprintf("read=/proc/%d/environ", os.Getpid()): "EACCES",
	}
	if m.scopes() == 0 {
		delete(want, fmt.Sprint("signal=", os.Getpid()))
	}
	var tries []string
	for key := range want {
		if !strings.HasSuffix(key, "/a/own") {
			tries = append(tries, key)
		}
	}
	own := at("state/agents/a/own")
	got, _ := confined(t, m, Policy{Files: f}, append(tries, "write="+own, "read="+own, "remove="+own)...)
	expect(t, got, want)
}

// Rules of Landlock only add rights: a tree that holds something protected is granted in parts.
func TestProtectedPathsAreLeftOut(t *testing.T) {
	dir := must(filepath.EvalSymlinks(t.TempDir()))
	for _, d := range []string{"a/b/secret", "a/b/open", "a/c"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "a/b/secret"), filepath.Join(dir, "a/c/link")); err != nil {
		t.Fatal(err)
	}
	m := &Machine{protected: new(protection)}
	m.Protect([]string{filepath.Join(dir, "a/b/secret")})
	for tree, want := range map[string]string{
		"a": "a/b/open a/c", "a/b": "a/b/open", "a/b/secret": "", "a/c": "a/c", "a/c/link": "", "a/b/open": "a/b/open",
	} {
		var got []string
		for _, r := range m.readable(filepath.Join(dir, tree)) {
			got = append(got, strings.TrimPrefix(r.path, dir+"/"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", tree, got, want)
		}
	}
}

func TestUser(t *testing.T) {
	needs.Root(t)
	m := machine(t)
	nobody, err := m.User("nobody")
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, _ := confined(t, m, Policy{User: nobody}, "ids", "read="+secret, "status=CapEff", "status=NoNewPrivs")
	expect(t, got, map[string]string{
		"ids": fmt.Sprint(nobody.UID, nobody.GID, 0), "read=" + secret: "EACCES", "status=CapEff": "0000000000000000", "status=NoNewPrivs": "1",
	})
	if same, err := m.User(strconv.Itoa(int(nobody.UID))); err != nil || *same != *nobody {
		t.Errorf("by uid: %v, %v", same, err)
	}
}

func TestUserThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name, user string
		caps       capabilities
		want       string
	}{
		{"unknown name", "no-such-user", ^capabilities(0), "there is no such system user"},
		{"unknown uid", "4123456789", ^capabilities(0), "there is no such system user"},
		{"relay without rights", "daemon", 0, "must be started by root"},
	} {
		m := &Machine{caps: c.caps}
		if u, err := m.User(c.user); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", c.name, u, err)
		}
	}
	m := &Machine{}
	if u, err := m.User(strconv.Itoa(os.Geteuid())); u != nil || err != nil {
		t.Errorf("our own: %v, %v", u, err)
	}
}

func TestHandOver(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	tree, victim := filepath.Join(dir, "tree"), filepath.Join(dir, "victim")
	for _, d := range []string{"tree/sub", "victim"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"tree/sub/file", "victim/file"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{victim, victim + "/file"} {
		if err := os.Symlink(to, filepath.Join(tree, "sub", filepath.Base(to)+"-link")); err != nil {
			t.Fatal(err)
		}
	}
	owner := func(path string) uint32 { uid, _, err := Owner(path); return must(uid, err) }
	if err := HandOver(tree, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{
		tree: 65534, tree + "/sub/file": 65534, tree + "/sub/file-link": 65534, victim: 0, victim + "/file": 0,
	} {
		if got := owner(path); got != want {
			t.Errorf("%s is owned by %d, want %d", path, got, want)
		}
	}
	if err := os.Link(victim+"/file", tree+"/sub/second"); err != nil {
		t.Fatal(err)
	}
	if err := HandOver(tree, 1, 1); err == nil || !strings.Contains(err.Error(), "second name") {
		t.Errorf("a hard link: %v", err)
	}
	if got := owner(tree + "/sub/file"); got != 65534 {
		t.Errorf("half handed over: %d", got)
	}
	if err := HandOver(tree+"/sub/victim-link", 1, 1); err == nil {
		t.Error("a link was followed")
	}
}

func TestObstacle(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "closed/in"), 0o700); err != nil {
		t.Fatal(err)
	}
	u := User{Name: "somebody", UID: 4123456789, GID: 4123456789}
	if got := u.Obstacle(filepath.Join(dir, "closed/in")); !strings.Contains(got, "may not pass ") {
		t.Errorf("Obstacle = %q", got)
	}
	if got := u.Obstacle("/bin/sh"); got != "" {
		t.Errorf("Obstacle(/bin/sh) = %q", got)
	}
}

// grouped is a machine with control groups for all three controllers.
func grouped(t *testing.T) *Machine {
	t.Helper()
	m := machine(t)
	for _, c := range controllers {
		if !m.groups.can(c) {
			needs.Unable(t, "no control groups for %s: %s", c, m.groups.why())
		}
	}
	return m
}

func TestMemoryLimitKills(t *testing.T) {
	got, ended := confined(t, grouped(t), Policy{Memory: 64e6}, "allocate=256")
	if got["allocate=256"] != "" || ended != "killed by its memory limit of 64 MB" {
		t.Errorf("%v, %q", got, ended)
	}
}

func TestProcessLimitHoldsAForkBombAndNothingIsLeft(t *testing.T) {
	m := grouped(t)
	got, ended := confined(t, m, Policy{Processes: 40}, "escape", "threads=100")
	if got["threads=100"] != "EAGAIN" || ended != "reached its limit of 40 processes" {
		t.Errorf("%v, %q", got, ended)
	}
	pid, _ := strconv.Atoi(got["escape"])
	if pid == 0 {
		t.Fatal("no process has left the session")
	}
	for deadline := time.Now().Add(5 * time.Second); !zombie(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is left", pid)
		}
		time.Sleep(time.Millisecond)
	}
	entries, _ := os.ReadDir(m.groups.parent(processes))
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("group %s is left", e.Name())
		}
	}
}

func TestProcessorLimitIsSet(t *testing.T) {
	m := grouped(t)
	g := must(m.groups.create("read-back", Policy{Processor: 50}))
	defer g.remove()
	file, want := "cpu.cfs_quota_us", "50000"
	if g.version == 2 {
		file, want = "cpu.max", "50000 100000"
	}
	if got := strings.TrimSpace(string(must(os.ReadFile(filepath.Join(g.dirs[processor], file))))); got != want {
		t.Errorf("%s: %s, want %s", file, got, want)
	}
}

func TestWhatAKilledRelayLeftIsSwept(t *testing.T) {
	m := grouped(t)
	plan := must(m.Plan(Policy{Name: "left", Processes: 20, Memory: 50e6}))
	cmd := exec.Command("/bin/sleep", "100")
	c := must(plan.Start(cmd))
	next := findGroups(Options{ID: m.groups.id, Record: m.groups.record})
	next.sweep()
	if err := cmd.Wait(); err == nil {
		t.Error("the process was left alone")
	}
	for _, dir := range c.group.all() {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
	c.Close()
}

func TestLimitsWithoutGroups(t *testing.T) {
	m := machine(t)
	m.groups = groupsOf("", "", Options{})
	nobody := &User{Name: "nobody", UID: 65534, GID: 65534}
	plan := must(m.Plan(Policy{Memory: 512e6, Processor: 50, Processes: 30}))
	for i, want := range []string{"512 MB of data for each of its processes, by RLIMIT_DATA", "50 percent of one is not enforced", "30 with their threads is not enforced"} {
		if got := plan.Limits()[i]; !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	with := must(m.Plan(Policy{Processes: 30, User: nobody}))
	if got := with.Limits()[0]; !strings.Contains(got, "RLIMIT_NPROC, which counts all of user nobody") {
		t.Error(got)
	}
	plan = must(m.Plan(Policy{Name: "data", Memory: 512e6}))
	cmd := exec.Command("/bin/sleep", "100")
	c := must(plan.Start(cmd))
	limits := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	c.Close()
	if !strings.Contains(strings.Join(strings.Fields(limits), " "), "Max data size 512000000 512000000 bytes") {
		t.Error(limits)
	}
}

// The thread of a process ends with it, and does no more for anybody else.
func TestNoThreadIsLeft(t *testing.T) {
	m := machine(t)
	tasks := func() int { return len(must(os.ReadDir("/proc/self/task"))) }
	run := func() {
		cmd := exec.Command("/bin/true")
		plan := must(m.Plan(Policy{Name: "short", Memory: 100e6}))
		c := must(plan.Start(cmd))
		_ = cmd.Wait()
		c.Kill()
		c.Close()
	}
	run()
	before := tasks()
	for range 50 {
		run()
	}
	deadline := time.Now().Add(5 * time.Second)
	for tasks() > before+4 { // the runtime may have taken some of its own
		if time.Now().After(deadline) {
			t.Fatalf("%d threads, before %d", tasks(), before)
		}
		time.Sleep(time.Millisecond)
	}
	if status := string(must(os.ReadFile("/proc/self/status"))); !strings.Contains(status, "NoNewPrivs:\t0") && os.Geteuid() == 0 {
		t.Error("the main thread was confined")
	}
}
