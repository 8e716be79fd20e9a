package certificate

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
)

// core takes what the ACME library says into the relay's log, on one kind of line: "acme", with
// its words as "says". What it merely tells of its doings is for debugging; so is what its inner
// client says of a failure, which comes again as the cause of what has failed, and all that comes
// of giving up when ctx has ended.
type core struct {
	ctx    context.Context
	log    *slog.Logger
	fields []zapcore.Field
}

func (c core) level(e zapcore.Entry) slog.Level {
	switch {
	case c.ctx.Err() != nil || strings.HasSuffix(e.LoggerName, ".acme_client"):
		return slog.LevelDebug
	case e.Level >= zapcore.ErrorLevel:
		return slog.LevelError
	case e.Level == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c core) Enabled(l zapcore.Level) bool {
	return l >= zapcore.WarnLevel || c.log.Enabled(c.ctx, slog.LevelDebug)
}

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.ctx, c.log, slices.Concat(c.fields, fields)}
}

func (c core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && c.log.Enabled(c.ctx, c.level(e)) {
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
	c.log.LogAttrs(c.ctx, c.level(e), "acme", attrs...)
	return nil
}

func (c core) Sync() error { return nil }
