package control

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// guarded lets only connections of the relay's own user and of root in. The mode of the socket
// says the same; this holds even where somebody has loosened it.
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
		uid, err := peerUID(conn)
		if err == nil && g.may(uid) {
			return conn, nil
		}
		g.log.Warn("control connection refused", "uid", uid, "cause", err)
		conn.Close()
	}
}

// peerUID is the user at the other end of a unix socket, as the kernel noted it at connect
// (unix(7): SO_PEERCRED).
func peerUID(conn net.Conn) (uint32, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("a connection of network %s has no user", conn.RemoteAddr().Network())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var got error
	if err := raw.Control(func(fd uintptr) {
		cred, got = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if got != nil {
		return 0, got
	}
	return cred.Uid, nil
}
