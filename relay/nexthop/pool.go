package nexthop

import (
	"slices"
	"time"

	"example.org/relay/relay/mail"
)

// An address that could not be connected to is tried after the others for this long, growing
// from the first to the second.
const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// checkAfter is how long a connection may lie unused before it is worth a system call to see
// whether the server hung up. Before that, the first command shows it.
const checkAfter = time.Second

// take returns the connection used last, which is the likeliest to be alive and keeps the
// pool as small as the load allows; nil without one.
func (h *Hop) take(a *address) *conn {
	for {
		h.mu.Lock()
		n := len(a.idle)
		if n == 0 {
			h.mu.Unlock()
			return nil
		}
		c := a.idle[n-1]
		a.idle[n-1] = nil
		a.idle = a.idle[:n-1]
		h.mu.Unlock()
		idle := time.Since(c.idleSince)
		switch {
		case idle >= h.cfg.IdleTimeout:
			c.quit()
		case idle >= checkAfter && c.stale():
			c.close()
		default:
			c.used = true
			return c
		}
	}
}

// put takes a connection back into the pool, or gives it to somebody who waits for one.
func (h *Hop) put(c *conn) {
	a := c.addr
	h.mu.Lock()
	good := !h.closed && !h.bound(c) && c.r.Buffered() == 0 && !c.spent()
	if good && h.hand(c) {
		h.mu.Unlock()
		return
	}
	if !good || len(a.idle) >= h.cfg.MaxIdle {
		h.mu.Unlock()
		c.quit()
		return
	}
	c.idleSince = time.Now()
	a.idle = append(a.idle, c)
	if h.janitor == nil {
		h.janitor = time.AfterFunc(h.cfg.IdleTimeout, h.sweep)
	}
	h.mu.Unlock()
}

// sweep closes what has been idle for too long, and comes back when the next will be.
func (h *Hop) sweep() {
	h.mu.Lock()
	now := time.Now()
	var expired []*conn
	var oldest time.Time
	for _, a := range h.addresses {
		n := 0
		for n < len(a.idle) && now.Sub(a.idle[n].idleSince) >= h.cfg.IdleTimeout {
			n++
		}
		expired = append(expired, a.idle[:n]...)
		a.idle = slices.Delete(a.idle, 0, n)
		if len(a.idle) > 0 && (oldest.IsZero() || a.idle[0].idleSince.Before(oldest)) {
			oldest = a.idle[0].idleSince
		}
	}
	h.janitor = nil
	if !oldest.IsZero() && !h.closed {
		h.janitor = time.AfterFunc(oldest.Add(h.cfg.IdleTimeout).Sub(now), h.sweep)
	}
	h.mu.Unlock()
	for _, c := range expired {
		c.quit()
	}
}

// dropIdle closes the unused connections of an address: one of them was found dead, and what
// ended it, a restart of the server most likely, ended the others too.
func (h *Hop) dropIdle(a *address) {
	h.mu.Lock()
	idle := a.idle
	a.idle = nil
	h.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// connected notes that an address is well and what it offers.
func (h *Hop) connected(a *address, ext mail.Extensions) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.badUntil, a.backoff = time.Time{}, 0
	a.seen, a.ext = true, ext
	h.known = common(h.addresses)
}

// failed notes that an address could not be connected to.
func (h *Hop) failed(a *address) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Before(a.badUntil) {
		return // one of many that failed at the same time
	}
	a.backoff = min(max(2*a.backoff, minBackoff), maxBackoff)
	a.badUntil = now.Add(a.backoff)
}
