package nexthop

import (
	"context"
	"errors"
	"slices"

	"example.org/relay/relay/reply"
)

// places are how many connections there may be, to all addresses together, idle ones included. A
// connection has its place from before it is dialled until it is closed.
//
// Invariant: while somebody waits, all places are taken and no connection is idle. So who comes
// later cannot be first, and nothing that comes free lies about unseen. Guarded by Hop.mu.
type places struct {
	most    int // 0: any number
	taken   int
	waiting []*waiter // the longest first
}

// waiter waits for a place, or for a connection that has one.
type waiter struct {
	given chan *conn // has room for one; nil: a place without a connection
}

// errNoPlace is the end of a wait for a place.
var errNoPlace = errors.New("all connections to the next hop are in use (next_hop.….connections)")

// place gets a place for a new connection, or a connection that somebody else has done with.
// An unused connection, which is to another address than the one that is wanted, is closed where
// that makes room.
func (h *Hop) place(ctx context.Context) (*conn, error) {
	h.mu.Lock()
	p := &h.places
	if p.most == 0 || p.taken < p.most {
		p.taken++
		h.mu.Unlock()
		return nil, nil
	}
	if c := h.longestIdle(); c != nil {
		h.mu.Unlock()
		c.keepPlace()
		c.quit()
		return nil, nil
	}
	w := &waiter{given: make(chan *conn, 1)}
	p.waiting = append(p.waiting, w)
	h.mu.Unlock()
	select {
	case c := <-w.given:
		return c, nil
	case <-ctx.Done():
		h.giveUp(w)
		return nil, errors.Join(errNoPlace, context.Cause(ctx))
	}
}

// longestIdle takes the connection out of the pool that has been unused the longest; nil where there
// is none. With the lock held.
func (h *Hop) longestIdle() *conn {
	var at *address
	for _, a := range h.addresses {
		if len(a.idle) > 0 && (at == nil || a.idle[0].idleSince.Before(at.idle[0].idleSince)) {
			at = a
		}
	}
	if at == nil {
		return nil
	}
	c := at.idle[0]
	at.idle = slices.Delete(at.idle, 0, 1)
	return c
}

// giveUp leaves the line, and passes on what came at the last moment.
func (h *Hop) giveUp(w *waiter) {
	h.mu.Lock()
	i := slices.Index(h.places.waiting, w)
	if i >= 0 {
		h.places.waiting = slices.Delete(h.places.waiting, i, i+1)
	}
	h.mu.Unlock()
	if i >= 0 {
		return
	}
	if c := <-w.given; c != nil {
		h.put(c)
	} else {
		h.leave()
	}
}

// hand gives a connection to who has waited the longest, and reports whether somebody did. With the
// lock held.
func (h *Hop) hand(c *conn) bool {
	p := &h.places
	if len(p.waiting) == 0 {
		return false
	}
	p.waiting[0].given <- c
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	return true
}

// leave gives a place back: to who has waited the longest, where somebody has.
func (h *Hop) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.hand(nil) {
		h.places.taken--
	}
}

// crowded is what the client is told where no place came free in time.
func (h *Hop) crowded(ctx context.Context, err error) *reply.Error {
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		h.log.error(ctx, "no connection to the next hop came free in time", "", err)
	}
	return &reply.Error{
		Reply: reply.New(451, reply.Enhanced{Subject: 3, Detail: 2}, "too busy, try again later"),
		Op:    "wait for a connection to next hop " + h.cfg.Name,
		Err:   err,
	}
}
