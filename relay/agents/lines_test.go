package agents

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestLines() (*lineLog, *logBuffer) {
	b := &logBuffer{}
	return newLineLog(slog.New(slog.NewTextHandler(b, nil))), b
}

func TestLinesAreCutAndEndedAnywhere(t *testing.T) {
	l, b := newTestLines()
	for _, part := range []string{"fir", "st\r\n", "\n", "a\nb\n", strings.Repeat("x", 3*maxLogLine), "rest\nlast"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	l.Close()
	got := b.String()
	for _, want := range []string{"line=first\n", "line=a\n", "line=b\n", strings.Repeat("x", maxLogLine) + " cut=true\n", "line=last\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %.40q in the log", want)
		}
	}
	if strings.Contains(got, "rest") || strings.Count(got, "\n") != 5 {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}

func TestLinesAreLimitedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, b := newTestLines()
		flood := []byte(strings.Repeat("x\n", 10_000))
		l.Write(flood)
		if n := strings.Count(b.String(), "\n"); n != logLinesAtOnce {
			t.Errorf("%d lines at once", n)
		}
		time.Sleep(time.Second)
		l.Write(flood)
		if n := strings.Count(b.String(), "line=x\n"); n != logLinesAtOnce+logLinesPerUnit {
			t.Errorf("%d lines after a second", n)
		}
		if !strings.Contains(b.String(), "dropped=9800") {
			t.Error("the log does not say how many were dropped")
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\x00\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		l, _ := newTestLines()
		at = min(max(at, 0), len(data))
		l.Write(data[:at])
		l.Write(data[at:])
		if len(l.line) > maxLogLine {
			t.Errorf("%d octets kept", len(l.line))
		}
	})
}
