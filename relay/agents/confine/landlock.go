package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Versions of the interface of Landlock (landlock(7)).
const (
	landlockRefer    = 2 // linking and renaming between directories
	landlockTruncate = 3
	landlockScope    = 6 // signals and abstract unix sockets
)

func landlockVersion() int {
	v, _, err := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if err != 0 {
		return 0
	}
	return int(v)
}

// Rights on files.
const (
	readFiles  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_EXECUTE
	onFileOnly = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE
	writeFiles = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	allFiles = readFiles | writeFiles | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
)

// rule grants rights on a file, or on a directory and all below it.
type rule struct {
	path   string
	rights uint64
}

// system is what every program needs: itself, its libraries and interpreters, what tells it of
// the machine. Of /etc only what holds no secret: a process of root could read them all.
var system = []string{
	"/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/opt", "/nix/store", "/proc", "/sys",
	"/etc/alternatives", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/debian_version", "/etc/default/locale",
	"/etc/gai.conf", "/etc/group", "/etc/host.conf", "/etc/hostname", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf",
	"/etc/ld.so.conf.d", "/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path", "/etc/locale.alias", "/etc/locale.conf",
	"/etc/localtime", "/etc/magic", "/etc/magic.mime", "/etc/mime.types", "/etc/networks", "/etc/nsswitch.conf", "/etc/os-release",
	"/etc/passwd", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf",
	"/etc/protocols", "/etc/python", "/etc/python3", "/etc/resolv.conf", "/etc/services", "/etc/ssl/certs", "/etc/ssl/cert.pem",
	"/etc/ssl/openssl.cnf", "/etc/terminfo", "/etc/timezone", "/etc/perl", "/etc/java",
}

// rules are the grants of files, without what is protected.
func (m *Machine) rules(f *Files) []rule {
	var all []rule
	for _, p := range system {
		all = append(all, m.readable(p)...)
	}
	for _, p := range []string{f.Program, resolved(f.Program)} {
		all = append(all, rule{p, onFileOnly & readFiles})
		if dir := filepath.Dir(p); dir != "/" {
			all = append(all, m.readable(dir)...)
		}
	}
	for _, p := range f.Read {
		all = append(all, m.readable(p)...)
	}
	for _, p := range f.Write {
		all = append(all, rule{p, writeFiles})
	}
	for _, p := range []string{"/dev/null", "/dev/zero", "/dev/full"} {
		all = append(all, rule{p, unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE})
	}
	for _, p := range []string{"/dev/random", "/dev/urandom"} {
		all = append(all, rule{p, unix.LANDLOCK_ACCESS_FS_READ_FILE})
	}
	return all
}

// readable grants reading a tree. Rules only ever add rights: where something protected lies
// in the tree, its neighbours are granted one by one.
func (m *Machine) readable(path string) []rule {
	path = resolved(path)
	inside := false
	for _, p := range m.protected.get() {
		if within(path, p) {
			return nil
		}
		inside = inside || within(p, path)
	}
	if !inside {
		return []rule{{path, readFiles}}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	var all []rule
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 { // what it leads to is not of this tree
			all = append(all, m.readable(filepath.Join(path, e.Name()))...)
		}
	}
	return all
}

// within reports whether path is the tree or lies in it.
func within(path, tree string) bool {
	rest, ok := strings.CutPrefix(path, tree)
	return ok && (rest == "" || rest[0] == '/' || tree == "/")
}

// scopes are what a process cannot reach of others: signals to them, their abstract sockets.
func (m *Machine) scopes() uint64 {
	if m.landlock < landlockScope {
		return 0
	}
	return unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
}

// ruleset is a domain of Landlock that threads can enter.
func (m *Machine) ruleset(rules []rule) (fd int, err error) {
	attr := struct{ files, network, scopes uint64 }{scopes: m.scopes()}
	size := unsafe.Sizeof(attr)
	if m.landlock < landlockScope {
		size = unsafe.Sizeof(attr.files)
	}
	if rules != nil {
		attr.files = m.rights()
	}
	r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return 0, fmt.Errorf("landlock: %w", errno)
	}
	fd = int(r)
	for _, rule := range rules {
		if err := m.add(fd, rule); err != nil {
			unix.Close(fd)
			return 0, fmt.Errorf("landlock: %s: %w", rule.path, err)
		}
	}
	return fd, nil
}

// rights are those that this kernel knows.
func (m *Machine) rights() uint64 {
	all := uint64(allFiles)
	if m.landlock < landlockRefer {
		all &^= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if m.landlock < landlockTruncate {
		all &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	return all
}

// add puts a rule into the ruleset. What is not there is granted to nobody.
func (m *Machine) add(ruleset int, r rule) error {
	fd, err := unix.Open(r.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rights := r.rights & m.rights()
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= onFileOnly
	}
	// struct landlock_path_beneath_attr is packed: 8 octets of rights, 4 of descriptor.
	var attr struct {
		rights uint64
		fd     int32
	}
	attr.rights, attr.fd = rights, int32(fd)
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// enterLandlock puts this thread, and what it starts, into the domain. It needs noNewPrivileges.
func enterLandlock(ruleset int) error {
	if _, _, err := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); err != 0 {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}
