package smtpserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// Connections that are turned away never become sessions: no agent hears of them, and they are not
// counted. Each is told why, by 421, and closed. What is spent on them is bounded, for they come by
// the thousand when it matters.
const (
	// turningAway is how many of them are heard out at a time, so that they come to read the
	// reply: TLS where it comes first, and what they have sent. When there are more, the reply is
	// written and the connection closed, without TLS just closed.
	turningAway = 64
	// turnAwayTime is how long that takes at the most.
	turnAwayTime = 3 * time.Second
	// turnAwaySize is what is read of them.
	turnAwaySize = 64 << 10
	// turnAwayLog is how often one is logged, of each limit; the line counts the others.
	turnAwayLog = time.Second
)

// turned is what a Server keeps of those it turns away.
type turned struct {
	busy int // heard out now; guarded by the Server's lock

	mu  sync.Mutex
	log map[barrier]*refusals
}

// refusals are what has become of those that one limit has turned away, in the log.
type refusals struct {
	logged   time.Time // the last line
	unlogged int       // since
}

// remoteOf is who has connected; the zero value where that is no TCP.
func remoteOf(c net.Conn) netip.AddrPort { return addrPort(c.RemoteAddr()) }

// enter counts a connection that has come, as far as it is known whose it is.
func (s *Server) enter(remote netip.AddrPort) (visit, barrier) {
	v, b := s.cfg.Clients.enter(s.cfg.Listener, s.cfg.Limits)
	if b != noBarrier || s.speaksForOthers(remote.Addr()) {
		return v, b
	}
	v, b = s.cfg.Clients.admit(v, remote.Addr(), s.cfg.Limits)
	if b != noBarrier {
		s.cfg.Clients.leave(v)
	}
	return v, b
}

// speaksForOthers reports whether who connects may say for whom. It is counted when it has: many
// clients come through one proxy.
func (s *Server) speaksForOthers(addr netip.Addr) bool {
	return s.cfg.Proxy != nil && s.cfg.Proxy(addr) || s.cfg.XClient != nil && s.cfg.XClient(addr)
}

// admit counts the session under addr, the client's real address, in place of whoever it was
// counted under. The error says that this client has too many and ends the session by its 421.
func (g *gate) admit(addr netip.Addr) error {
	v, b := g.s.cfg.Clients.admit(g.visit, addr, g.s.cfg.Limits)
	if b != noBarrier {
		g.s.logTurned(addr, b)
		return &reply.Error{Reply: b.reply(g.s.cfg.Hostname), Op: string(b), Hangup: true}
	}
	g.visit = v
	return nil
}

// turnAway ends a session that has not begun, since admit refuses it. Under implicit TLS nothing can
// be said: a handshake would let a client hold as many sessions as it likes.
func (g *gate) turnAway(err error) {
	g.turnedAway = true
	if g.s.cfg.TLSMode != Implicit || g.client.TLS != nil {
		g.say(reply.From(err))
		_ = g.flush()
	}
	g.hangUp(event.DisconnectHostClosed)
}

// reply is what who breaks the limit is told (RFC 5321 §3.8): 4.3.2 where it is no fault of its own,
// 4.7.0 where it is.
func (b barrier) reply(hostname string) reply.Reply {
	switch b {
	case addressBarrier:
		return reply.New(421, reply.Enhanced{Subject: 7}, hostname+" too many connections from your address, try again later")
	case networkBarrier:
		return reply.New(421, reply.Enhanced{Subject: 7}, hostname+" too many connections from your network, try again later")
	}
	return reply.New(421, reply.Enhanced{Subject: 3, Detail: 2}, hostname+" too many connections, try again later")
}

// goingDown is what everybody is told when the relay ends.
func goingDown(hostname string) reply.Reply {
	return reply.New(421, reply.Enhanced{Subject: 3, Detail: 2}, hostname+" is going down, closing connection")
}

// TurnAway tells a connection that has come too late that the relay is going down, and closes it.
func (s *Server) TurnAway(c net.Conn) { s.turnAway(c, goingDown(s.cfg.Hostname)) }

// turnAway tells a connection r and closes it. It does not block.
func (s *Server) turnAway(c net.Conn, r reply.Reply) {
	text := r.AppendTo(nil)
	if s.hearOut() {
		go func() {
			defer s.heardOut()
			defer c.Close()
			defer func() {
				if v := recover(); v != nil {
					s.cfg.Log.Error("panic at a connection refused", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				}
			}()
			stop := context.AfterFunc(s.going, func() { _ = c.Close() })
			defer stop()
			s.tellAndClose(c, text)
		}()
		return
	}
	if s.cfg.TLSMode != Implicit && !s.proxied(c) {
		// A new socket has room for a line.
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = c.Write(text)
	}
	_ = c.Close()
}

// proxied: what the client will say first is a header of the proxy.
func (s *Server) proxied(c net.Conn) bool {
	return s.cfg.Proxy != nil && s.cfg.Proxy(remoteOf(c).Addr())
}

// tellAndClose lets the client read the text before the connection is closed.
func (s *Server) tellAndClose(c net.Conn, text []byte) {
	_ = c.SetDeadline(time.Now().Add(turnAwayTime))
	to := c
	if s.cfg.TLSMode == Implicit {
		if s.proxied(c) {
			return // the header is before the handshake, and nobody has read it
		}
		cfg := s.cfg.TLS()
		if cfg == nil {
			return // there is no certificate now
		}
		t := tls.Server(c, cfg)
		if t.Handshake() != nil {
			return
		}
		to = t
	}
	if _, err := to.Write(text); err != nil {
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, turnAwaySize)
	}
}

// hearOut reports whether one more may be heard out; heardOut must follow then.
func (s *Server) hearOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.turned.busy >= turningAway {
		return false
	}
	s.turned.busy++
	s.sessions.Add(1)
	return true
}

func (s *Server) heardOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turned.busy--
	s.sessions.Done()
}

// logTurned logs who was turned away, some of them where they are many.
func (s *Server) logTurned(addr netip.Addr, b barrier) {
	s.turned.mu.Lock()
	defer s.turned.mu.Unlock()
	now, last := time.Now(), s.turned.log[b]
	if last == nil {
		last = &refusals{}
		s.turned.log[b] = last
	}
	if now.Sub(last.logged) < turnAwayLog {
		last.unlogged++
		return
	}
	level := slog.LevelInfo
	if b == descriptorBarrier || b == connectionsBarrier {
		level = slog.LevelWarn // honest clients are turned away, too
	}
	s.cfg.Log.Log(context.Background(), level, "connection refused", "client", addr.String(), "listener", s.cfg.Listener,
		"limit", string(b), "connections", s.cfg.Clients.Count(s.cfg.Listener), "more", last.unlogged)
	last.logged, last.unlogged = now, 0
}
