package relay

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/relay/relay/agents"
	"example.org/relay/relay/config"
	"example.org/relay/relay/event"
)

// An agent whose listener the configuration has no more runs nowhere: the log says so.
func TestAgentNarrowedToAListenerThatIsGone(t *testing.T) {
	dir := t.TempDir()
	const file = `format = 1
[[agent]]
name = "a"
service = "FrontEnd"
enabled = true
path = "/x"
[agent.only]
listeners = [":587"]
`
	if err := os.WriteFile(filepath.Join(dir, "agents.toml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	registry, err := agents.OpenRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	host, err := agents.New(agents.Options{Registry: registry, Services: []event.Role{event.FrontEnd}})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	var log bytes.Buffer
	r := &Relay{agents: host, log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, tt := range []struct {
		listener string
		warns    bool
	}{{":587", false}, {":25", true}} {
		log.Reset()
		r.checkNarrowed(&config.Config{FrontEnd: &config.FrontEnd{Listeners: []config.Listener{{Address: tt.listener}}}})
		if got := strings.Contains(log.String(), "there is no listener :587; there is :25"); got != tt.warns {
			t.Errorf("with %s: %q", tt.listener, log.String())
		}
	}
}
