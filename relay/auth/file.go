package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// ReadFile reads the users file at path. What is wrong with it comes back as Problems; any
// other error says that it cannot be read. Who else may read it is for Exposed to say. The secret is
// that of Parse.
func ReadFile(path string, secret []byte) (*Users, error) {
	users, _, err := readFile(path, secret)
	return users, err
}

func readFile(path string, secret []byte) (*Users, os.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	users, err := Parse(data, secret)
	return users, info, err
}

// Exposed says in a sentence who could read or change the file that should not, "" where nobody
// can.
func Exposed(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o022 != 0:
		return fmt.Sprintf("%s can be changed by others (mode %04o): they can let anybody in; chmod 0600 is right", path, mode)
	case mode&0o004 != 0:
		return fmt.Sprintf("%s can be read by everybody (mode %04o): passwords can be guessed at leisure; chmod 0600 is right", path, mode)
	}
	return ""
}

// File is a users file that may change, and its users as they are in force. Safe for concurrent
// use.
type File struct {
	secretPath string
	now        atomic.Pointer[Version]
}

// Version is a users file as it was read once. It does not change.
type Version struct {
	path  string // "": there is no file
	users *Users // nil where there is no file
	info  os.FileInfo
}

// Same reports whether the two have the same in them.
func (v *Version) Same(other *Version) bool {
	if v.users == nil || other.users == nil {
		return v.users == other.users
	}
	return v.users.sum == other.users.sum
}

// NewFile makes one without users, until Set. What Parse needs as a secret is kept in the file at
// secretPath, which is made when it is needed first.
func NewFile(secretPath string) *File {
	f := &File{secretPath: secretPath}
	f.now.Store(&Version{})
	return f
}

// Read reads the users file at path without putting it in force; "" is a file without users.
func (f *File) Read(path string) (*Version, error) {
	if path == "" {
		return &Version{}, nil
	}
	secret, err := Secret(f.secretPath)
	if err != nil {
		return nil, err
	}
	users, info, err := readFile(path, secret)
	if problems := (Problems)(nil); errors.As(err, &problems) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	return &Version{path, users, info}, nil
}

// Set puts a version in force for the exchanges to come.
func (f *File) Set(v *Version) { f.now.Store(v) }

// Current is the version in force.
func (f *File) Current() *Version { return f.now.Load() }

// Users are those in force; nil where there is no file.
func (f *File) Users() *Users { return f.now.Load().users }
