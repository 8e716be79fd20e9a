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

// badSocketFor is how long a socket that failed is tried after the others of the same name.
const badSocketFor = 30 * time.Second

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
	for s, until := range a.bad {
		if time.Now().After(until) {
			delete(a.bad, s)
		}
	}
	slices.SortStableFunc(all, func(x, y socket) int { return a.isBad(x) - a.isBad(y) })
}

func (a *address) isBad(s socket) int {
	if _, bad := a.bad[s]; bad {
		return 1
	}
	return 0
}

// noteBad notes that a socket of several failed.
func (h *Hop) noteBad(a *address, s socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.bad == nil {
		a.bad = map[socket]time.Time{}
	}
	a.bad[s] = time.Now().Add(badSocketFor)
}

// share leaves the first of so many tries its part of the time that there is.
func share(ctx context.Context, tries int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || tries < 2 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(tries))
}
