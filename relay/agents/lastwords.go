package agents

import (
	"bytes"
	"strings"
	"sync"
)

// Limits of what of a program's standard error goes into the error of its start.
const (
	maxLastWords = 3   // lines
	maxLastText  = 600 // octets, all lines together
)

// lastWords keeps the last lines that a program wrote to standard error while it started: the
// reason, if it did not. Of a crash of a Go program it keeps the first lines, where the
// reason is. Safe for concurrent use; Write never fails.
type lastWords struct {
	mu      sync.Mutex
	lines   []string // Invariant: at most maxLastWords.
	line    []byte   // one that has not ended yet
	crashed bool     // lines begins with a panic
	started bool     // nothing more is kept
}

// Write takes the next octets, of any length.
func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 && !w.started {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		p = rest
		w.line = append(w.line, part[:min(len(part), maxLastText-len(w.line))]...)
		if ended {
			w.emit()
		}
	}
	return n, nil
}

// Close ends a last line that has no end.
func (w *lastWords) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.emit()
	return nil
}

// forget says that the program has started.
func (w *lastWords) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started, w.lines, w.line = true, nil, nil
}

func (w *lastWords) emit() {
	text := strings.TrimSpace(oneLine(string(w.line), maxLastText))
	w.line = w.line[:0]
	switch {
	case text == "" || w.crashed && len(w.lines) == maxLastWords:
		return
	case !w.crashed && (strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")):
		w.crashed, w.lines = true, nil
	}
	w.lines = append(w.lines, text)
	w.lines = w.lines[max(len(w.lines)-maxLastWords, 0):]
}

// String is the lines in one, at most maxLastText octets, without control characters.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	const between, cut = " | ", "…"
	all := make([]string, len(w.lines))
	for i, line := range w.lines {
		all[i] = oneLine(line, maxLastText/len(w.lines)-len(between)-len(cut))
	}
	return strings.Join(all, between)
}
