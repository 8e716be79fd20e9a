package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func readWords(r io.Reader) ([]string, error) {
	var words []string
	entries, read := Lines(r)
	for n, entry := range entries {
		if entry == "bad" {
			return nil, fmt.Errorf("line %d: bad", n)
		}
		words = append(words, entry)
	}
	return words, read()
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "list")
		put := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		put("one")
		f, err := OpenFile(path, readWords, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		value := func(step, want string, logged ...string) {
			t.Helper()
			if got := strings.Join(f.Value(), " "); got != want {
				t.Errorf("%s: %q, want %q", step, got, want)
			}
			for _, l := range logged {
				if !strings.Contains(log.String(), l) {
					t.Errorf("%s: not logged: %s in %q", step, l, log.String())
				}
			}
			if len(logged) == 0 && log.Len() > 0 {
				t.Errorf("%s: logged %q", step, log.String())
			}
			log.Reset()
		}
		value("at first", "one")
		put("two") // of the same size and, to the clock, of the same time
		value("within the second", "one")
		time.Sleep(time.Second)
		value("after it", "two")
		time.Sleep(10 * time.Second)
		value("nothing new", "two")
		put("three\nbad")
		time.Sleep(time.Second)
		value("bad", "two", "level=ERROR", path+": line 2: bad")
		time.Sleep(time.Second)
		value("still bad", "two")
		time.Sleep(time.Minute)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		value("away", "two", "level=ERROR", "no such file")
		time.Sleep(time.Second)
		value("still away", "two")
		put("four")
		time.Sleep(time.Second)
		value("back", "four", "level=INFO", "file read again")
	})
}

func TestOpenFileNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("\n\nbad"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		bad: bad + ": line 3: bad", dir: dir + ": is a directory", filepath.Join(dir, "none"): "open " + filepath.Join(dir, "none") + ": no such file or directory",
	} {
		if _, err := OpenFile(path, readWords, slog.New(slog.DiscardHandler)); err == nil || err.Error() != want {
			t.Errorf("OpenFile(%s) = %v, want %s", path, err, want)
		}
	}
}

func TestLines(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{"a\nb\r\n  c\t\n", "1:a 2:b 3:c"},
		{"\ufeffa\n\n# b\n \t# c\nd # e\nf#g", "1:a 5:d 6:f#g"},
		{"\"a #b\"@x # c\n\"a\\\" #b\" #c", `1:"a #b"@x 2:"a\" #b"`},
	} {
		var got []string
		entries, read := Lines(strings.NewReader(tc.text))
		for n, e := range entries {
			got = append(got, fmt.Sprintf("%d:%s", n, e))
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" || read() != nil {
			t.Errorf("Lines(%q): %s %v", tc.text, diff, read())
		}
	}
	entries, read := Lines(strings.NewReader("a\n" + strings.Repeat("b", 70000)))
	for range entries {
	}
	if err := read(); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
		t.Errorf("a line of 70,000 octets: %v", err)
	}
	entries, read = Lines(io.MultiReader(strings.NewReader("a\n"), broken{}))
	for range entries {
	}
	if err := read(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken file: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzLines(f *testing.F) {
	for _, s := range []string{"a\nb # c", "\"a # b\" # c", "#", "\\\"#", "\ufeff", "a\x00\r\n\r\n b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		last := 0
		entries, _ := Lines(strings.NewReader(text))
		for n, e := range entries {
			if n <= last || e == "" || e != strings.TrimSpace(e) || strings.ContainsAny(e, "\n") || e[0] == '#' {
				t.Errorf("Lines(%q): %d %q", text, n, e)
			}
			last = n
		}
	})
}
