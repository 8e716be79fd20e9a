package certificate

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"
)

// core takes what the ACME library says into the relay's log, on one kind of line: "acme", with
// its words as "says". What it merely tells of its doings is for debugging.
type core struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c core) Enabled(l zapcore.Level) bool { return c.log.Enabled(context.Background(), level(l)) }

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.log, slices.Concat(c.fields, fields)}
}

func (c core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	all := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(all)
	}
	attrs := []slog.Attr{slog.String("says", e.Message)}
	for _, key := range slices.Sorted(maps.Keys(all.Fields)) {
		value := all.Fields[key]
		if d, ok := value.(time.Duration); ok {
			value = d.Round(time.Millisecond).String() // JSON would have nanoseconds
		}
		attrs = append(attrs, slog.Any(key, value))
	}
	c.log.LogAttrs(context.Background(), level(e.Level), "acme", attrs...)
	return nil
}

func (c core) Sync() error { return nil }
