package confine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.org/relay/test/needs"
)

// tree makes files in a directory that stands for a mount of control groups.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestWhereGroupsOfVersion2CanBeMade(t *testing.T) {
	const all = "cpuset cpu io memory pids\n"
	us := strconv.Itoa(os.Getpid()) + "\n"
	for _, c := range []struct {
		name     string
		own      string
		files    map[string]string
		delegate string // the group that is marked
		base     string // "": none
		vacate   bool
		reason   string
	}{
		{name: "the machine's root", own: "/", files: map[string]string{"cgroup.controllers": all, "cgroup.procs": "1\n" + us}, base: "."},
		{name: "a container's root with us alone", own: "/", files: map[string]string{"cgroup.controllers": all, "cgroup.procs": us, "cgroup.type": "domain\n"}, base: ".", vacate: true},
		{name: "a container's root with others", own: "/", files: map[string]string{"cgroup.controllers": all, "cgroup.procs": us + "7\n", "cgroup.type": "domain\n"}, reason: "Delegate=yes"},
		{name: "a service", own: "/relay.service", files: map[string]string{"relay.service/cgroup.controllers": all, "relay.service/cgroup.procs": us, "relay.service/cgroup.type": "domain\n"}, reason: "Delegate=yes"},
		{name: "a service with Delegate", own: "/relay.service", files: map[string]string{"relay.service/cgroup.controllers": all, "relay.service/cgroup.type": "domain\n"}, delegate: "relay.service", base: "relay.service", vacate: true},
		{name: "a service with DelegateSubgroup", own: "/relay.service/main", files: map[string]string{"relay.service/cgroup.controllers": all, "relay.service/main/cgroup.type": "domain\n"}, delegate: "relay.service", base: "relay.service"},
		{name: "no controllers", own: "/", files: map[string]string{"cgroup.controllers": "\n"}, reason: "no controllers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(t, c.files)
			if c.delegate != "" {
				if err := unix.Setxattr(filepath.Join(root, c.delegate), "user.delegate", []byte("1"), 0); err != nil {
					needs.Unable(t, "the file system keeps no attributes: %v", err)
				}
			}
			g := groupsOf("0::"+c.own+"\n", "30 25 0:26 / "+root+" rw,nosuid - cgroup2 cgroup2 rw\n", Options{ID: "relay-test", Record: filepath.Join(root, "record")})
			if c.base == "" {
				if g.version != 0 || g.can(memory) || !strings.Contains(g.why(), c.reason) {
					t.Errorf("version %d, %v, %q", g.version, g.base, g.why())
				}
				return
			}
			want := filepath.Join(root, c.base)
			if g.version != 2 || g.base[memory] != want || g.base[processes] != want || g.base[processor] != want || g.vacate != c.vacate {
				t.Errorf("version %d, %v, vacate %t, %q", g.version, g.base, g.vacate, g.why())
			}
		})
	}
}

// On files only: the kernel's part is not in this test.
func TestGroupOfVersion2(t *testing.T) {
	root := tree(t, map[string]string{"cgroup.controllers": "cpu memory pids\n", "cgroup.procs": strconv.Itoa(os.Getpid()), "cgroup.type": "domain\n"})
	g := groupsOf("0::/\n", "30 25 0:26 / "+root+" rw - cgroup2 cgroup2 rw\n", Options{ID: "relay-test", Record: filepath.Join(root, "record")})
	made, err := g.create("FrontEnd-a-1", Policy{Memory: 64e6, Processor: 150, Processes: 30})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "relay-test/FrontEnd-a-1")
	want := map[string]string{
		"relay/cgroup.procs":                      strconv.Itoa(os.Getpid()), // nobody may be in a group that has groups
		"cgroup.subtree_control":                  "+memory +cpu +pids",
		"relay-test/cgroup.subtree_control":       "+memory +cpu +pids",
		"relay-test/FrontEnd-a-1/memory.max":      "64000000",
		"relay-test/FrontEnd-a-1/memory.swap.max": "0",
		"relay-test/FrontEnd-a-1/pids.max":        "30",
		"relay-test/FrontEnd-a-1/cpu.max":         "150000 100000",
		"record":                                  filepath.Join(root, "relay-test") + "\n",
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v, want %q", name, got, err, text)
		}
	}
	var attr syscall.SysProcAttr
	leave, err := made.enter(&attr)
	if err != nil || !attr.UseCgroupFD {
		t.Fatalf("%+v, %v", attr, err)
	}
	if at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", attr.CgroupFD)); err != nil || at != must(filepath.EvalSymlinks(dir)) {
		t.Errorf("the process would be born in %s, %v", at, err)
	}
	leave()
	for name, text := range map[string]string{"memory.events": "low 0\noom 2\noom_kill 1\n", "pids.events": "max 7\n", "cgroup.kill": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if killed, refused := made.events(); killed != 1 || refused != 7 {
		t.Errorf("events %d, %d", killed, refused)
	}
	made.kill()
	if got := must(os.ReadFile(filepath.Join(dir, "cgroup.kill"))); string(got) != "1" {
		t.Errorf("cgroup.kill: %q", got)
	}
}

func TestGroupsOfVersion1(t *testing.T) {
	root := tree(t, map[string]string{"memory/svc/x": "", "cpu/svc/x": "", "pids/x": ""})
	own := "9:name=systemd:/svc\n4:memory:/docker/1/svc\n3:pids:/\n2:cpu,cpuacct:/svc\n0::/\n"
	mounts := strings.ReplaceAll(`31 25 0:27 /docker/1 ROOT/memory rw - cgroup cgroup rw,memory
32 25 0:28 / ROOT/cpu rw shared:3 - cgroup cgroup rw,cpu,cpuacct
33 25 0:29 / ROOT/pids rw - cgroup cgroup rw,pids
34 25 0:30 / ROOT/none rw - tmpfs tmpfs rw
`, "ROOT", root)
	g := groupsOf(own, mounts, Options{ID: "relay-test"})
	for c, want := range map[controller]string{memory: "memory/svc", processor: "cpu/svc", processes: "pids"} {
		if g.version != 1 || g.base[c] != filepath.Join(root, want) {
			t.Errorf("%s: version %d, %s, want %s", c, g.version, g.base[c], want)
		}
	}
	if g := groupsOf(own, strings.ReplaceAll(mounts, root, "/no/such"), Options{}); g.can(memory) || !strings.Contains(g.why(), "/no/such/") {
		t.Errorf("not there: %v, %q", g.base, g.why())
	}
}

func FuzzGroupsOf(f *testing.F) {
	f.Add("0::/\n", "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	f.Add("4:memory:/a:b\n", "31 25 0:27 / /x\\040y rw shared:1 - cgroup cgroup rw,memory\n")
	f.Add(":::", " - ")
	f.Fuzz(func(t *testing.T, own, mounts string) {
		paths, mounted := ownGroups(own), groupMounts(mounts)
		for c, m := range mounted {
			if dir := m.dir(paths[c]); strings.HasPrefix(m.point, "/") && !filepath.IsAbs(dir) {
				t.Errorf("%q", dir)
			}
		}
	})
}
