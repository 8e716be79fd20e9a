package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is a system user that processes run as, without supplementary groups.
type User struct {
	Name     string
	UID, GID uint32
}

// String is the name with the number.
func (u User) String() string { return fmt.Sprintf("%s (uid %d)", u.Name, u.UID) }

// User returns the system user of this name or uid, if processes of ours can run as it. It is
// nil for our own.
func (m *Machine) User(name string) (*User, error) {
	found, err := user.Lookup(name)
	if _, numeric := strconv.ParseUint(name, 10, 32); err != nil && numeric == nil {
		found, err = user.LookupId(name)
	}
	if err != nil {
		return nil, fmt.Errorf("user %q: there is no such system user", name)
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: uid %q is not a number", name, found.Uid)
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: gid %q is not a number", name, found.Gid)
	}
	u := &User{Name: found.Username, UID: uint32(uid), GID: uint32(gid)}
	switch {
	case int(uid) == os.Geteuid():
		return nil, nil
	case uid == 0:
		return nil, fmt.Errorf("user %s: an agent cannot be given more rights than the relay has", name)
	case m.caps&forUsers != forUsers:
		return nil, fmt.Errorf("user %s: the relay must be started by root to run agents as another user", name)
	}
	return u, nil
}

// Passable lets every user pass through a directory, without being able to see what is in it.
func Passable(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: is not a directory", dir)
	}
	if mode := info.Mode().Perm(); mode&0o011 != 0o011 {
		return os.Chmod(dir, mode|0o011)
	}
	return nil
}

// Obstacle returns the directory on the way to path, or path itself, that the permissions close
// to the user, with why; nothing if they close none. It reads permissions only: what it says
// explains a refusal, and foretells none.
func (u User) Obstacle(path string) string {
	path = resolved(path)
	for at := "/"; ; {
		info, err := os.Stat(at)
		if err != nil {
			return ""
		}
		if !u.may(info, 0o1) {
			return fmt.Sprintf("user %s may not pass %s (mode %04o)", u.Name, at, info.Mode().Perm())
		}
		if at == path {
			return ""
		}
		rest, err := filepath.Rel(at, path)
		if err != nil {
			return ""
		}
		next := rest
		for i := range rest {
			if rest[i] == '/' {
				next = rest[:i]
				break
			}
		}
		at = filepath.Join(at, next)
	}
}

// may reports whether the permission bits give the user the right: 1 to pass or execute.
func (u User) may(info fs.FileInfo, right fs.FileMode) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := info.Mode().Perm()
	switch {
	case st.Uid == u.UID:
		mode >>= 6
	case st.Gid == u.GID:
		mode >>= 3
	}
	return mode&right == right
}

// Owner returns whose a file is, without following a link.
func Owner(path string) (uid, gid uint32, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return st.Uid, st.Gid, nil
}

// HandOver makes a tree another user's. Whoever owned it may still be at work in it: no link
// is followed, and a file with a second name, which may be somebody else's, is refused before
// anything is changed. The tree's own directory comes last, so that one whose hand-over was
// broken off still is the old owner's.
func HandOver(tree string, uid, gid uint32) error {
	top, err := unix.Open(tree, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: tree, Err: err}
	}
	defer unix.Close(top)
	if err := walk(top, tree, 0, checkSingle); err != nil {
		return err
	}
	return walk(top, tree, 0, func(fd int, path string) error {
		if err := checkSingle(fd, path); err != nil {
			return err
		}
		if err := unix.Fchownat(fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &fs.PathError{Op: "chown", Path: path, Err: err}
		}
		return nil
	})
}

// maxDepth bounds how deep a tree is walked, and how many descriptors that takes.
const maxDepth = 100

func checkSingle(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "fstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		return fmt.Errorf("%s has a second name (hard link) and cannot be given to another user: remove one", path)
	}
	return nil
}

// walk calls do for all in the directory, then for the directory itself.
func walk(dir int, path string, depth int, do func(fd int, path string) error) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d directories deep", path, maxDepth)
	}
	names, err := readNames(dir, path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := step(dir, name, filepath.Join(path, name), depth, do); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return do(dir, path)
}

func step(dir int, name, path string, depth int, do func(fd int, path string) error) error {
	sub, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(sub)
		return walk(sub, path, depth+1, do)
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return do(fd, path)
}

// readNames reads a directory from its beginning through a descriptor of its own.
func readNames(dir int, path string) ([]string, error) {
	again, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(again), path)
	defer f.Close()
	return f.Readdirnames(-1)
}
