package confine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// findGroups finds out where control groups can be made.
func findGroups(o Options) *groups {
	own, err := os.ReadFile("/proc/self/cgroup")
	mounts, err2 := os.ReadFile("/proc/self/mountinfo")
	if err != nil || err2 != nil {
		own, mounts = nil, nil
	}
	return groupsOf(string(own), string(mounts), o)
}

// groupsOf finds it in the texts of /proc/self/cgroup and /proc/self/mountinfo.
func groupsOf(own, mounts string, o Options) *groups {
	g := &groups{base: make(map[controller]string), id: o.ID, record: o.Record, made: make(map[string]bool)}
	g.reason = "no controllers of control groups are mounted"
	paths, mounted := ownGroups(own), groupMounts(mounts)
	if at, ok := mounted[""]; ok && g.find2(at.dir(paths[""]), at.point) {
		return g
	}
	for _, c := range controllers {
		at, ok := mounted[c]
		if !ok {
			continue
		}
		dir := at.dir(paths[c])
		if err := unix.Access(dir, unix.W_OK); err != nil {
			g.reason = fmt.Sprintf("control groups cannot be made in %s: %v", dir, err)
			continue
		}
		g.version, g.base[c] = 1, dir
	}
	return g
}

// find2 reports whether version 2 has controllers, which are then not in version 1.
func (g *groups) find2(own, root string) bool {
	base, vacate, reason := baseOf2(own, root)
	at := base
	if at == "" {
		at = own
	}
	data, err := os.ReadFile(filepath.Join(at, "cgroup.controllers"))
	if err != nil {
		return false
	}
	var has []controller
	for _, c := range controllers {
		if slices.Contains(strings.Fields(string(data)), string(c)) {
			has = append(has, c)
		}
	}
	if len(has) == 0 {
		return false
	}
	if reason == "" {
		if err := unix.Access(base, unix.W_OK); err != nil {
			reason = fmt.Sprintf("control groups cannot be made in %s: %v", base, err)
		}
	}
	if g.reason = reason; reason != "" {
		return true
	}
	g.version, g.vacate = 2, vacate
	for _, c := range has {
		g.base[c] = base
	}
	g.reason = "its controller is not in " + base
	return true
}

// ownGroups reads /proc/self/cgroup, lines "id:controllers:path" (cgroups(7)); version 2 is the
// empty controller.
func ownGroups(text string) map[controller]string {
	all := make(map[controller]string)
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for name := range strings.SplitSeq(parts[1], ",") {
			all[controller(name)] = parts[2]
		}
	}
	return all
}

// mount is where a hierarchy is mounted, and which of its groups is the root there.
type mount struct{ root, point string }

// dir is the directory of a group.
func (m mount) dir(group string) string {
	if rest, ok := strings.CutPrefix(group, m.root); ok && m.root != "/" {
		group = rest
	}
	return filepath.Join(m.point, group)
}

// groupMounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)); version 2 is the empty
// controller. The first mount of a hierarchy counts.
func groupMounts(text string) map[controller]mount {
	all := make(map[controller]mount)
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		at, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(at) < 5 || len(kind) < 3 {
			continue
		}
		var names []string
		switch kind[0] {
		case "cgroup2":
			names = []string{""}
		case "cgroup":
			names = strings.Split(kind[2], ",")
		}
		for _, name := range names {
			if _, known := all[controller(name)]; !known {
				all[controller(name)] = mount{unescape(at[3]), unescape(at[4])}
			}
		}
	}
	return all
}

// unescape undoes how the kernel writes spaces in paths.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
