package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.org/relay/proto/control/v1"
	"example.org/relay/test/smtptest"
)

// A relay that waits for its next hop at the start takes commands, and listens later. A reload meanwhile
// took the sockets away from it, so that it ended.
func TestReloadAtTheStart(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	path := filepath.Join(t.TempDir(), "config.toml")
	text := fmt.Sprintf(`hostname = "mx.example.org"
[next_hop.mailserver]
addresses = [%q]
tls = "none"
[frontend]
next_hop = "mailserver"
[[frontend.listener]]
address = %q
`, silent.Addr(), address)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := New(path, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	impatient, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if _, err := r.Reload(impatient, &controlv1.ReloadRequest{}); err == nil {
		t.Error("a reload came to something before the relay listens")
	}
	if _, err := r.Reload(ctx, &controlv1.ReloadRequest{}); err != nil {
		t.Errorf("reload: %v", err)
	}
	c, err := smtptest.Dial(address)
	if err != nil {
		t.Errorf("the relay does not listen: %v", err)
	} else {
		c.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the relay ended with %v", err)
	}
}
