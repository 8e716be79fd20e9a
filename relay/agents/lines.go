package agents

import (
	"bytes"
	"log/slog"
	"sync"
	"time"
)

// Limits of what an agent may write into our log.
const (
	maxLogLine      = 4096 // octets; the rest of a line is dropped
	logLinesAtOnce  = 200
	logLinesPerUnit = 50 // a second, after the first logLinesAtOnce
)

// lineLog writes an agent's output to the log, line by line, without trust: lines are cut,
// their number is limited. Write never fails and never blocks on anything but the log.
// Safe for concurrent use.
type lineLog struct {
	log *slog.Logger

	mu      sync.Mutex
	line    []byte
	cut     bool // the rest of the line is to be dropped
	tokens  float64
	filled  time.Time
	dropped int
}

func newLineLog(log *slog.Logger) *lineLog {
	return &lineLog{log: log, tokens: logLinesAtOnce, filled: time.Now()}
}

// Write takes the next octets, of any length.
func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		p = rest
		room := maxLogLine - len(l.line)
		if len(part) > room {
			part, l.cut = part[:room], true
		}
		l.line = append(l.line, part...)
		if ended {
			l.emit()
		}
	}
	return n, nil
}

// Close writes a last line that has no end.
func (l *lineLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.emit()
	}
	return nil
}

func (l *lineLog) emit() {
	line, cut := bytes.TrimRight(l.line, "\r"), l.cut
	l.line, l.cut = l.line[:0], false
	now := time.Now()
	l.tokens = min(logLinesAtOnce, l.tokens+now.Sub(l.filled).Seconds()*logLinesPerUnit)
	l.filled = now
	if l.tokens < 1 {
		l.dropped++
		return
	}
	l.tokens--
	if l.dropped > 0 {
		l.log.Warn("agent writes too many lines", "dropped", l.dropped)
		l.dropped = 0
	}
	if cut {
		l.log.Info("agent says", "line", string(line), "cut", true)
		return
	}
	if len(line) > 0 {
		l.log.Info("agent says", "line", string(line))
	}
}
