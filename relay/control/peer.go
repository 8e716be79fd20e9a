package control

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// guarded lets only connections of the relay's own user and of root in. The mode of the socket
// says the same; this holds even where somebody has loosened it. An agent that runs as the
// relay's own user is no operator: what cannot gain privileges is refused too.
type guarded struct {
	net.Listener
	may func(uid uint32) bool
	log *slog.Logger
}

func ownOrRoot(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// Accept returns the next connection of a user that may ask.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := peerOf(conn)
		switch {
		case err != nil:
			peer = &unix.Ucred{}
		case !g.may(peer.Uid):
		case unprivileged(int(peer.Pid)) && !unprivileged(os.Getpid()): // where we are so too, it tells nobody apart
			err = errors.New("it runs without new privileges, as agents do")
		default:
			return conn, nil
		}
		g.log.Warn("control connection refused", "uid", peer.Uid, "pid", peer.Pid, "cause", err)
		conn.Close()
	}
}

// unprivileged reports whether a process cannot gain privileges (PR_SET_NO_NEW_PRIVS), a mark that
// it cannot take off. One that is gone is taken for one.
func unprivileged(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || strings.Contains(string(status), "\nNoNewPrivs:\t1\n")
}

// peerOf is the process at the other end of a unix socket, as the kernel noted it at connect
// (unix(7): SO_PEERCRED).
func peerOf(conn net.Conn) (*unix.Ucred, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("a connection of network %s has no user", conn.RemoteAddr().Network())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var got error
	if err := raw.Control(func(fd uintptr) {
		cred, got = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	if got != nil {
		return nil, got
	}
	return cred, nil
}
