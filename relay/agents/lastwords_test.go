package agents

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLastWordsAreTheReason(t *testing.T) {
	for _, tt := range []struct{ name, written, want string }{
		{"nothing", "\n\n", ""},
		{"one line without an end", "no such handler", "no such handler"},
		{"the last three of many", "a\nb\r\n\nc\nd\n", "b | c | d"},
		{"control characters", "\x1b[2Jred\x9b\u009b\n", "[2Jred?"},
		{"a panic by its beginning", "hello\npanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:4\n", "panic: boom | goroutine 1 [running]: | main.main()"},
		{"a fatal error", "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1\n", "fatal error: all goroutines are asleep - deadlock! | goroutine 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 5, 1000} {
				var w lastWords
				for rest := tt.written; rest != ""; {
					n := min(size, len(rest))
					w.Write([]byte(rest[:n]))
					rest = rest[n:]
				}
				w.Close()
				if got := w.String(); got != tt.want {
					t.Errorf("in parts of %d: %q, want %q", size, got, tt.want)
				}
			}
		})
	}
}

func TestLastWordsOfAProgramThatStartedAreNotKept(t *testing.T) {
	var w lastWords
	w.Write([]byte("starting\nhalf"))
	w.forget()
	w.Write([]byte(" a line\nrunning\n"))
	if w.Close(); w.String() != "" {
		t.Errorf("kept %q", w.String())
	}
}

func FuzzLastWords(f *testing.F) {
	f.Add([]byte("a\npanic: b\nc\n"), 3)
	f.Add([]byte(strings.Repeat("é\xff\n", 400)), 11)
	f.Add([]byte(strings.Repeat("é", 2000)+"\n"+strings.Repeat("\u2028", 2000)+"\nx"), 601)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		var w lastWords
		at = min(max(at, 0), len(data))
		w.Write(data[:at])
		w.Write(data[at:])
		w.Close()
		got := w.String()
		if len(got) > maxLastText || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%d octets: %q", len(got), got)
		}
	})
}
