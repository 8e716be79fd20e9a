package agents

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// BenchmarkDecide is one event decided by a real process.
func BenchmarkDecide(b *testing.B) {
	registry, err := OpenRegistry(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer registry.Close()
	h, err := New(Options{Registry: registry, Services: []event.Role{event.FrontEnd}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	path := filepath.Join(b.TempDir(), "good")
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, path)
	}
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := h.Install(b.Context(), InstallRequest{Name: "a", Service: "FrontEnd", Path: path}); err != nil {
		b.Fatal(err)
	}
	if _, _, err := h.Enable(b.Context(), Target{Name: "a"}); err != nil {
		b.Fatal(err)
	}
	a := h.Enabled(event.FrontEnd)[0]
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c, state := a.Open("s"), newState("s")
		events := []event.Event{{Kind: event.MailCommand, From: mail.Path{Local: "alice", Domain: "example.org"}}}
		for pb.Next() {
			events[0].Seq++
			if _, err := c.Decide(ctx, events, state, 10*time.Second); err != nil {
				b.Error(err)
			}
		}
		c.End(nil, state, event.DisconnectQuit)
	})
}
