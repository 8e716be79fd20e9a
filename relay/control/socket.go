package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that no relay listens on the control socket.
var ErrNotRunning = errors.New("no relay is running")

// maxPath is how long the path of a unix socket may be (unix(7): sun_path, with a NUL).
const maxPath = 107

// connectTimeout is how long a relay may take to accept a connection to the socket. A local
// connect returns at once unless the relay hangs with a full backlog.
const connectTimeout = 5 * time.Second

// reach calls f with a path of the socket's directory that is short enough for sun_path. It is
// good only during the call.
func reach(dir string, f func(dir string) error) error {
	if len(filepath.Join(dir, "control.000000000000", SocketName)) <= maxPath {
		return f(dir)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return f(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// connect reaches the relay that listens in the directory. The error is ErrNotRunning, wrapped,
// where there is none.
func connect(ctx context.Context, stateDir string) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	err = reach(stateDir, func(dir string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, SocketName))
		return err
	})
	path := filepath.Join(stateDir, SocketName)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("%w: nobody listens on %s", ErrNotRunning, path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%s: permission denied: run the command as the relay's user or as root", path)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.EAGAIN):
		return nil, fmt.Errorf("%s: the relay does not answer", path)
	}
	return nil, fmt.Errorf("connect to %s: %w", path, err)
}

// Listen opens the control socket in the state directory, which is made where it is missing. A
// socket that a dead relay has left is replaced; one that a relay listens on is an error.
func Listen(stateDir string) (net.Listener, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	path := filepath.Join(stateDir, SocketName)
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is in the way of the control socket: it is no socket", path)
	}
	conn, err := connect(context.Background(), stateDir)
	if err == nil {
		conn.Close()
		return nil, fmt.Errorf("a relay is running already: it listens on %s", path)
	}
	if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	l, err := bind(stateDir, path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// bind makes the socket where nobody else can reach it, closes it to others and moves it into
// its place, over a stale one: at no moment is it open to others, or missing.
func bind(stateDir, path string) (*listener, error) {
	private, err := os.MkdirTemp(stateDir, "control.*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, SocketName)
	var u *net.UnixListener
	err = reach(private, func(dir string) error {
		u, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, SocketName)})
		return err
	})
	if err != nil {
		return nil, err
	}
	u.SetUnlinkOnClose(false) // it knows only the name before the move
	l := &listener{UnixListener: u, path: path}
	if err = os.Chmod(made, 0o600); err == nil {
		l.info, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		u.Close()
		return nil, err
	}
	return l, nil
}

// listener removes its socket when it is closed, unless another has taken its place.
type listener struct {
	*net.UnixListener
	path string
	info fs.FileInfo // of the socket
}

// Close closes the socket and removes it.
func (l *listener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
		_ = os.Remove(l.path) // a stale socket does no harm: the next relay replaces it
	}
	return l.UnixListener.Close()
}

// Addr is the place of the socket.
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }
