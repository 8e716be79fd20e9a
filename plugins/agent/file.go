package agent

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// File is what an agent makes of a file, made again when the file changes: a list, a
// directory, a table. It is safe for concurrent use.
type File[T any] struct {
	path  string
	parse func(io.Reader) (T, error)
	log   *slog.Logger
	value atomic.Pointer[T]
	due   atomic.Int64 // when to look next, in nanoseconds of the clock

	looking sync.Mutex  // who holds it looks at the file
	seen    fs.FileInfo // of the last time it was read; nil: it could not be
	fresh   bool        // it was changed so shortly before that it may have been again, unseen
	trouble string      // the last one logged
}

// lookEvery is how long a File may be behind the file. A file system's clock is coarse: what
// is younger than that when it is read is read again.
const lookEvery = time.Second

// OpenFile reads the file. The error, of the file or of parse, names the file.
func OpenFile[T any](path string, parse func(io.Reader) (T, error), log *slog.Logger) (*File[T], error) {
	f := &File[T]{path: path, parse: parse, log: log}
	v, err := f.read()
	if err != nil {
		return nil, err
	}
	f.value.Store(&v)
	f.due.Store(time.Now().Add(lookEvery).UnixNano())
	return f, nil
}

// Value returns what the file says. It looks at the file once a second at most; one caller
// reads the new file, the others are not kept waiting. Where the file cannot be read or
// parsed, the last good value stays and the log says why, once.
func (f *File[T]) Value() T {
	if time.Now().UnixNano() >= f.due.Load() && f.looking.TryLock() {
		f.look()
		f.looking.Unlock()
	}
	return *f.value.Load()
}

// Path returns the file's path.
func (f *File[T]) Path() string { return f.path }

func (f *File[T]) look() {
	defer func() { f.due.Store(time.Now().Add(lookEvery).UnixNano()) }()
	now, err := os.Stat(f.path)
	same := err == nil && f.seen != nil && os.SameFile(now, f.seen) && now.ModTime().Equal(f.seen.ModTime()) && now.Size() == f.seen.Size()
	if same && !f.fresh {
		return
	}
	v, err := f.read()
	if err != nil {
		if f.trouble != err.Error() {
			f.trouble = err.Error()
			f.log.Error("file not taken over, the last good one stays in force", "file", f.path, "error", err)
		}
		return
	}
	f.value.Store(&v)
	f.trouble = ""
	if !same {
		f.log.Info("file read again", "file", f.path)
	}
}

func (f *File[T]) read() (T, error) {
	var none T
	file, err := os.Open(f.path)
	if err != nil {
		f.seen, f.fresh = nil, false
		return none, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return none, err
	}
	if info.IsDir() {
		return none, fmt.Errorf("%s: is a directory", f.path)
	}
	f.seen, f.fresh = info, time.Since(info.ModTime()) < 2*lookEvery
	v, err := f.parse(file)
	if err != nil {
		return none, fmt.Errorf("%s: %w", f.path, err)
	}
	return v, nil
}

// Lines yields the entries of a list, one a line, with the number of the line. White space
// around an entry, empty lines and comments are left out: a # at the start of a line or behind
// white space begins one, but not within quotes. An error of reading ends the entries; read
// returns it, and a line of more than 64 KiB is one.
func Lines(r io.Reader) (entries iter.Seq2[int, string], read func() error) {
	s := bufio.NewScanner(r)
	number := 0
	entries = func(yield func(int, string) bool) {
		for s.Scan() {
			number++
			line := s.Text()
			if number == 1 {
				line = strings.TrimPrefix(line, "\ufeff")
			}
			line = strings.TrimSpace(line)
			if entry := strings.TrimSpace(line[:commentAt(line)]); entry != "" && !yield(number, entry) {
				return
			}
		}
	}
	read = func() error {
		if err := s.Err(); err != nil {
			return fmt.Errorf("line %d: %w", number+1, err)
		}
		return nil
	}
	return entries, read
}

// commentAt returns where the comment of a line begins, its length where there is none.
func commentAt(line string) int {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return i
		}
	}
	return len(line)
}
