package nexthop

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// socket is one place behind an address: a name may stand for several.
type socket struct{ network, address string }

// unixPrefix marks an address that is a socket in the file system, as LMTP servers have.
const unixPrefix = "unix:"

// A socket that failed is tried after the others of the same name for this long, growing from the
// first to the second: one to which no way leads, as with IPv6 in many a place, is silent, and each
// try of it makes a client wait.
const (
	minSocketPause = 30 * time.Second
	maxSocketPause = 10 * time.Minute
)

// badSocket is one that failed.
type badSocket struct {
	until time.Time
	pause time.Duration // that ended, or ends, then
}

// sockets are those behind an address, in the resolver's order, but with those that failed lately at
// the end.
func (h *Hop) sockets(ctx context.Context, a *address) ([]socket, error) {
	if path, ok := strings.CutPrefix(a.hostport, unixPrefix); ok {
		return []socket{{"unix", path}}, nil
	}
	if h.cfg.Resolve == nil || net.ParseIP(a.host) != nil {
		return []socket{{"tcp", a.hostport}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeouts.Connect)
	defer cancel()
	ips, err := h.cfg.Resolve(ctx, a.host)
	if err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	_, port, _ := net.SplitHostPort(a.hostport)
	all := make([]socket, len(ips))
	for i, ip := range ips {
		all[i] = socket{"tcp", net.JoinHostPort(ip, port)}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("resolve: %s has no address", a.host)
	}
	h.lastBad(a, all)
	return all, nil
}

// lastBad puts the sockets that failed lately behind the others.
func (h *Hop) lastBad(a *address, all []socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for s, b := range a.bad {
		if now.Sub(b.until) > maxSocketPause { // the name does not stand for it any more
			delete(a.bad, s)
		}
	}
	late := func(s socket) int {
		if now.Before(a.bad[s].until) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all, func(x, y socket) int { return late(x) - late(y) })
}

// noteBad notes that a socket of several failed.
func (h *Hop) noteBad(a *address, s socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, now := a.bad[s], time.Now()
	if now.Before(b.until) {
		return // one of many that failed at the same time
	}
	if a.bad == nil {
		a.bad = map[socket]badSocket{}
	}
	pause := min(max(2*b.pause, minSocketPause), maxSocketPause)
	a.bad[s] = badSocket{now.Add(pause), pause}
}

// noteGood notes that a socket of several is well.
func (h *Hop) noteGood(a *address, s socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(a.bad, s)
}

// share leaves the first of so many tries its part of the time that there is.
func share(ctx context.Context, tries int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || tries < 2 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(tries))
}
