package smtpserver

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"example.org/relay/relay/reply"
)

// maxLoginDelay is the longest that a failed login is made to wait.
const maxLoginDelay = 30 * time.Second

// loginFailed answers a failed login: the later, the more have failed before. After the last that
// a session has, it ends.
func (g *gate) loginFailed(c *command, err error) {
	if g.flush() == nil {
		g.pause(min(time.Second<<min(g.login.failed, 10), maxLoginDelay))
	}
	g.login.failed++
	g.answer(c, reply.Reply{}, err)
	if g.login.failed >= g.s.cfg.Limits.AuthFailures && !g.dead {
		g.linger = true
		g.answer(c, reply.Reply{}, reply.Refuse(reply.New(421, reply.Enhanced{Subject: 7}, "too many failed logins, closing connection")))
	}
}

var errLockedOut = errors.New("too many failed logins from this address")

// lockedOut is the refusal of a client whose address has failed too often. The password may be right:
// that is not looked at.
func lockedOut() error {
	return &reply.Error{
		Reply: reply.New(454, reply.Enhanced{Subject: 7}, "too many failed logins from your address, try again later"),
		Op:    "AUTH", Err: errLockedOut,
	}
}

func isLockedOut(err error) bool { return errors.Is(err, errLockedOut) }

// lockedOut reports whether the client's address has failed too often.
func (g *gate) lockedOut() bool {
	limit := g.s.cfg.Limits.AuthFailuresPerAddress
	return limit > 0 && g.known() && g.s.cfg.Clients.logins.count(g.remote.Addr()) >= limit
}

// addressFailed counts a failed login of the client's address; not of a proxy that has not told it.
func (g *gate) addressFailed() {
	if g.known() {
		g.s.cfg.Clients.logins.add(g.remote.Addr())
	}
}

// Failures of an address count for failureTime from the first of them on.
const (
	failureTime  = 10 * time.Minute
	maxAddresses = 50_000 // of more, any are forgotten
)

// loginFailures counts failed logins by address. Ready when zero, safe for concurrent use.
type loginFailures struct {
	mu      sync.Mutex
	address map[netip.Prefix]failures
}

type failures struct {
	first time.Time
	n     int
}

func (f failures) old(now time.Time) bool { return now.Sub(f.first) >= failureTime }

func (l *loginFailures) count(a netip.Addr) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	client, _ := groups(a)
	f := l.address[client]
	if f.old(time.Now()) {
		return 0
	}
	return f.n
}

func (l *loginFailures) add(a netip.Addr) {
	client, _ := groups(a)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.address == nil {
		l.address = map[netip.Prefix]failures{}
	}
	f, known := l.address[client]
	if f.old(now) {
		f = failures{first: now}
	}
	f.n++
	if !known && len(l.address) >= maxAddresses {
		l.makeRoom(now)
	}
	l.address[client] = f
}

// makeRoom forgets what is old, and where that is nothing, any tenth: to look at all of them for each
// failure would be work that an attacker could ask for.
func (l *loginFailures) makeRoom(now time.Time) {
	for a, f := range l.address {
		if f.old(now) {
			delete(l.address, a)
		}
	}
	for a := range l.address {
		if len(l.address) < maxAddresses-maxAddresses/10 {
			return
		}
		delete(l.address, a)
	}
}
