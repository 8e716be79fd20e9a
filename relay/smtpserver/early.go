package smtpserver

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// awaitBanner finds out whether the client speaks before it is greeted (RFC 5321 §3.1), which no
// SMTP client does: with GreetingDelay by waiting for it to, else by one look at what is there. It
// ends as soon as the client has spoken. An error ends the session.
//
// A PROXY header and a TLS handshake that come first are no early talk. What comes right behind a
// handshake may have been read together with it, and is seen by waiting alone.
func (g *gate) awaitBanner() (early bool, err error) {
	d := g.s.cfg.Limits.GreetingDelay
	if len(g.in.unused()) > 0 {
		return true, nil
	}
	if d == 0 {
		return g.conn == g.raw && octetsWait(g.raw), nil
	}
	err = g.fill(time.Now().Add(d), true)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

// octetsWait reports whether there is something to read, without reading it.
func octetsWait(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	var first [1]byte
	_ = raw.Control(func(fd uintptr) {
		n, _, err = syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}
