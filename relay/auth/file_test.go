package auth

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// record is a log.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

// take returns what was written since the last time.
func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.b.Reset()
	return r.b.String()
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	age := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	write := func(text string) {
		t.Helper()
		age = age.Add(time.Second) // the bubble's clock is not the file system's
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, age, age); err != nil {
			t.Fatal(err)
		}
	}
	write("alice " + cheap)
	synctest.Test(t, func(t *testing.T) {
		f := NewFile(filepath.Join(dir, "secret"))
		v, err := f.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Set(v)
		ctx, cancel := context.WithCancel(t.Context())
		log, done := &record{}, make(chan struct{})
		go func() {
			defer close(done)
			f.Watch(ctx, slog.New(slog.NewTextHandler(log, nil)))
		}()
		defer func() { cancel(); <-done }()
		expect := func(what, said string, users int) {
			t.Helper()
			time.Sleep(3 * watchTime)
			synctest.Wait()
			got := log.take()
			if n := strings.Count(got, "level="); said == "" && n != 0 || said != "" && (n != 1 || !strings.Contains(got, said)) {
				t.Errorf("%s: log says %q, want %q once", what, got, said)
			}
			if f.Users().Len() != users {
				t.Errorf("%s: %d users, want %d", what, f.Users().Len(), users)
			}
		}
		expect("nothing", "", 1)
		write("alice " + cheap + "\nbob " + cheap)
		expect("another user", `msg="users file read again"`, 2)
		expect("nothing more", "", 2)
		write("alice\n")
		expect("bad", `cause="`+path+`: line 1: has no hashed password`, 2)
		expect("still bad", "", 2)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("gone", "no such file", 2)
		expect("still gone", "", 2)
		write("carol " + cheap)
		expect("back", `msg="users file read again"`, 1)

		// While it is being written, it is left alone.
		for range 3 {
			write("alice " + cheap + "\nb")
			time.Sleep(watchTime)
			synctest.Wait()
		}
		write("alice " + cheap + "\nbob " + cheap + "\ndave " + cheap)
		expect("written in pieces", `msg="users file read again"`, 3)

		// A reload has the say.
		write("alice " + cheap)
		if v, err = f.Read(path); err != nil {
			t.Fatal(err)
		}
		f.Set(v)
		expect("reloaded", "", 1)
		f.Set(&Version{})
		time.Sleep(3 * watchTime)
		if f.Users() != nil {
			t.Error("users are back")
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		f.Set(v)
		write("alice " + cheap + "\nbob " + cheap)
		time.Sleep(3 * watchTime)
		synctest.Wait()
		if got := log.take(); !strings.Contains(got, "users file is not safe") {
			t.Errorf("log says %q", got)
		}
	})
}

func TestSecretStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	a, err := Secret(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Secret(path)
	if err != nil || !bytes.Equal(a, b) || len(a) != secretLength {
		t.Errorf("%x, then %x, %v", a, b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Secret(path); err != nil || len(c) != secretLength {
		t.Errorf("%x, %v", c, err)
	}
	if _, err := Secret(filepath.Join(path, "below")); err == nil {
		t.Error("a secret was made where none can be")
	}
}

func TestOnlyFilesAreRead(t *testing.T) {
	if _, err := ReadFile(t.TempDir(), nil); err == nil {
		t.Error("a directory was read")
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there was read")
	}
}
