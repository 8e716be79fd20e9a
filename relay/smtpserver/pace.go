package smtpserver

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// How patient MinimumRate is.
const (
	// lineGrace is what a command line may take beside the time of its octets.
	lineGrace = 10 * time.Second
	// contentGrace is the same for a content.
	contentGrace = 30 * time.Second
	// silence is what one wait counts for at the most: a line that is dead for a minute is no drip.
	// DataTimeout minds that.
	silence = 10 * time.Second
)

// Why the client is not waited for any longer. CommandTimeout and DataTimeout have the error of the
// connection.
var (
	errSlow        = fmt.Errorf("client sends less than limits.minimum_rate: %w", os.ErrDeadlineExceeded)
	errLongMessage = fmt.Errorf("limits.message_timeout is over: %w", os.ErrDeadlineExceeded)
	errLongSession = fmt.Errorf("limits.session_timeout is over: %w", os.ErrDeadlineExceeded)
)

// limit is until when the client is waited for, and what is wrong then.
type limit struct {
	at  time.Time
	err error // nil: what the connection says
}

// or is the earlier of l and another.
func (l limit) or(at time.Time, err error) limit {
	if at.Before(l.at) {
		return limit{at, err}
	}
	return l
}

// pace is how fast a content comes. Only the time that the client is waited for counts: what we or
// the next hop take is not its fault.
type pace struct {
	octets  int64
	waited  time.Duration
	counted time.Duration // of waited, what counts for the rate
}

// add is one wait and what came of it.
func (p *pace) add(waited time.Duration, octets int) {
	p.octets += int64(octets)
	p.waited += waited
	p.counted += min(waited, silence)
}

// slow reports whether the client has sent less than rate octets a second, a grace apart.
func (p *pace) slow(rate int64) bool {
	return rate > 0 && p.counted > contentGrace+timeFor(p.octets, rate)
}

// timeFor is how long octets may take; years at the most.
func timeFor(octets, rate int64) time.Duration {
	return time.Duration(min(float64(octets)/float64(rate), 1e9) * float64(time.Second))
}

// wait waits for octets of the client.
func (g *gate) wait(now time.Time, l limit, idle bool) error {
	had := len(g.in.unused())
	err := g.fill(l.at, idle)
	g.pace.add(time.Since(now), len(g.in.unused())-had)
	if l.err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return l.err
	}
	return err
}

// waitContent waits for octets of a content. Slowness is held against a client when there is more to
// wait for, not against one that has just sent the end.
func (g *gate) waitContent() error {
	limits := &g.s.cfg.Limits
	if g.pace.slow(limits.MinimumRate) {
		return errSlow
	}
	now := time.Now()
	l := limit{at: now.Add(limits.DataTimeout)}
	return g.wait(now, g.messageLimit(l, now), false)
}

// messageLimit is l or the end of MessageTimeout.
func (g *gate) messageLimit(l limit, now time.Time) limit {
	if most := g.s.cfg.Limits.MessageTimeout; most > 0 {
		return l.or(now.Add(most-g.pace.waited), errLongMessage)
	}
	return l
}

// commandLimit is until when a command must have come: CommandTimeout, what is left of the session,
// or, between two chunks, of the message.
func (g *gate) commandLimit(now time.Time) limit {
	l := limit{at: now.Add(g.s.cfg.Limits.CommandTimeout)}
	if g.content != nil {
		return g.messageLimit(l, now)
	}
	if most := g.s.cfg.Limits.SessionTimeout; most > 0 {
		return l.or(g.started.Add(most), errLongSession)
	}
	return l
}

// lineLimit is l or, once a line has begun, when so many octets of it must be followed by its end.
func (g *gate) lineLimit(l limit, begun time.Time, octets int) limit {
	if rate := g.s.cfg.Limits.MinimumRate; rate > 0 && octets > 0 {
		return l.or(begun.Add(lineGrace+timeFor(int64(octets), rate)), errSlow)
	}
	return l
}

// tarpitAfter is how many refusals of a session are free of Tarpit.
const tarpitAfter = 3

// tarpit delays a refusal. Those that are ready go out before it: a client that does not read them
// is found out.
//
// The reply to a content is not delayed: a client in doubt of it sends the content again. Nor is
// 421, after which there is nothing to slow down.
func (g *gate) tarpit(c *command, code int) {
	g.count.negative++
	if d := g.s.cfg.Limits.Tarpit; d > 0 && g.count.negative > tarpitAfter && !c.content && code != 421 {
		if g.flush() == nil {
			g.pause(d)
		}
	}
}

// pause lets time pass, but not while the relay goes down.
func (g *gate) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.s.going.Done():
	case <-g.ctx.Done():
	}
}
