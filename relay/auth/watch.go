package auth

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"
)

// watchTime is how often the file is looked at. A change is taken once it is as old: whoever writes
// the file in place has come to the end by then.
const watchTime = 2 * time.Second

// Watch reads the file again whenever it changes, until ctx ends. A file that is bad, or gone, is
// told to the log once, and the users stay as they were.
func (f *File) Watch(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	w := watcher{f: f, log: log}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// watcher knows what the file looked like.
type watcher struct {
	f    *File
	log  *slog.Logger
	path string
	last os.FileInfo // at the last look; nil: there was none
	// judged is what was not taken, and is not told of again.
	judged os.FileInfo
	bad    bool // judged is something
}

func (w *watcher) look() {
	now := w.f.Current()
	if now.path != w.path {
		*w = watcher{f: w.f, log: w.log, path: now.path, last: now.info}
	}
	if now.path == "" {
		return
	}
	info, err := os.Stat(now.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return // of the way to the file, and not of the file
	}
	settled := unchanged(w.last, info)
	w.last = info
	switch {
	case unchanged(now.info, info):
		w.bad = false
		return
	case !settled, w.bad && unchanged(w.judged, info):
		return
	}
	v, err := w.f.Read(now.path)
	if err != nil {
		w.judged, w.bad = info, true
		w.log.Error("users file not taken, the old users stay in force", "file", now.path, "cause", err.Error())
		return
	}
	if !w.f.now.CompareAndSwap(now, v) {
		return // a reload has come first
	}
	w.bad = false
	w.log.Info("users file read again", "file", now.path, "users", v.users.Len())
	if s := Exposed(now.path); s != "" {
		w.log.Warn("users file is not safe", "cause", s)
	}
}

// unchanged reports whether two looks were at the same content, as far as one can see.
func unchanged(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
