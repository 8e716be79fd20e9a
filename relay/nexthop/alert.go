package nexthop

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// alertInterval is how often the same alert is logged at most: a next hop that is down fails
// every message, and one line says it as well as a thousand.
const alertInterval = time.Second

// alerts logs failures of a next hop, each at most once per alertInterval. Safe for concurrent
// use.
type alerts struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[alert]*alertCount // as many as there are addresses and messages
}

type alert struct{ message, address string }

type alertCount struct {
	at      time.Time
	skipped int
}

func newAlerts(log *slog.Logger) *alerts {
	return &alerts{log: log, last: map[alert]*alertCount{}}
}

func (a *alerts) warn(ctx context.Context, message, address string, err error) {
	a.emit(ctx, slog.LevelWarn, alert{message, address}, err)
}

func (a *alerts) error(ctx context.Context, message, address string, err error) {
	a.emit(ctx, slog.LevelError, alert{message, address}, err)
}

func (a *alerts) emit(ctx context.Context, level slog.Level, what alert, err error) {
	skipped, due := a.due(what)
	if !due {
		return
	}
	attrs := []slog.Attr{slog.Any("error", err)}
	if what.address != "" {
		attrs = append(attrs, slog.String("address", what.address))
	}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("not_logged", skipped))
	}
	a.log.LogAttrs(ctx, level, what.message, attrs...)
}

// due reports whether it is time to log this again, and how many times it was not logged
// since the last.
func (a *alerts) due(what alert) (skipped int, due bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.last[what]
	now := time.Now()
	if c == nil {
		a.last[what] = &alertCount{at: now}
		return 0, true
	}
	if now.Sub(c.at) < alertInterval {
		c.skipped++
		return 0, false
	}
	skipped = c.skipped
	*c = alertCount{at: now}
	return skipped, true
}
