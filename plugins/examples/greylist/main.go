// Greylist refuses, for a while, mail of a client, sender and recipient that it has not seen
// together before: programs that only send spam seldom come back. README.md is its manual.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"example.org/relay/plugins/agent"
)

type settings struct {
	Wait      time.Duration `json:"wait"`       // how long a new triple is refused
	Window    time.Duration `json:"window"`     // until when, from the first time on, it must have come back
	Keep      time.Duration `json:"keep"`       // how long it is known since it last came
	AutoAllow int           `json:"auto_allow"` // networks that came back so often need not wait; 0: none
	Entries   int           `json:"entries"`    // how many are kept
}

func (s *settings) Validate() error {
	if s.Wait <= 0 || s.Window <= s.Wait || s.Keep < s.Window {
		return agent.FieldError{Field: "wait", Problem: "must be shorter than window, and that no longer than keep"}
	}
	if s.AutoAllow < 0 || s.Entries < 1 {
		return agent.FieldError{Field: "entries", Problem: "must be at least 1, and auto_allow not negative"}
	}
	return nil
}

type greylist struct {
	settings
	*seen
}

func newGreylist(setup agent.Setup) (*greylist, error) {
	g := &greylist{settings: settings{Wait: 5 * time.Minute, Window: 48 * time.Hour, Keep: 36 * 24 * time.Hour, AutoAllow: 5, Entries: 100_000}}
	err := setup.Settings(&g.settings)
	if err == nil {
		g.seen = load(filepath.Join(setup.StateDir, "greylist.json"), setup.Log)
	}
	return g, err
}

// OnRcptCommand judges each recipient. The null sender waits until the header is in: a host
// that only asks whether a bounce would be taken (a call-out) sends no mail.
func (g *greylist) OnRcptCommand(_ context.Context, m *agent.Message, r agent.Recipient) agent.Verdict {
	return verdict(m.From().IsNull() || g.known(m, r))
}

// OnEndOfHeaders judges bounces. It looks at all recipients, so that all have begun to wait.
func (g *greylist) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	known := true
	for _, r := range m.Recipients() {
		known = (!m.From().IsNull() || g.known(m, r)) && known
	}
	return verdict(known)
}

func verdict(known bool) agent.Verdict {
	if known {
		return agent.Continue()
	}
	return agent.TempFail("greylisted, please try again later").Because("client, sender and recipient have not waited yet")
}

// known reports whether the message may pass, and notes that it came. A large sender tries
// again from another host of its network.
func (g *greylist) known(m *agent.Message, r agent.Recipient) bool {
	client, bits := m.Session().RemoteAddr().Addr(), 24
	if client.Is6() {
		bits = 64
	}
	network, err := client.Prefix(bits)
	if err != nil || m.Session().Internal() || m.Session().AuthUser() != "" {
		return true
	}
	return g.came(network.String(), strings.ToLower(network.String()+" "+m.From().Address()+" "+r.Address()), &g.settings, time.Now())
}

// entry is what is known of a triple or a network.
type entry struct {
	First, Last time.Time
	Passed      int // how often it came back in time
}

// seen is a bounded table, and its file. Safe for concurrent use.
type seen struct {
	mu      sync.Mutex
	entries map[string]entry
	saved   time.Time
	path    string
}

// tables are those of the process, by file: they outlive a change of settings.
var tables sync.Map

func load(path string, log *slog.Logger) *seen {
	s := &seen{entries: map[string]entry{}, saved: time.Now(), path: path}
	if data, err := os.ReadFile(path); err == nil && (json.Unmarshal(data, &s.entries) != nil || s.entries == nil) {
		log.Error("greylist begins anew: everybody waits once more", "file", path)
		s.entries = map[string]entry{}
	}
	table, _ := tables.LoadOrStore(path, s)
	return table.(*seen)
}

// came notes that a triple came and reports whether it may pass.
func (s *seen) came(network, triple string, c *settings, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, e := s.entries[network], s.entries[triple]
	trusted := c.AutoAllow > 0 && n.Passed >= c.AutoAllow && now.Sub(n.Last) <= c.Keep
	if now.Sub(e.Last) > c.Keep || e.Passed == 0 && now.Sub(e.First) > c.Window {
		e = entry{First: now}
	}
	passes := trusted || e.Passed > 0 || now.Sub(e.First) >= c.Wait
	if passes {
		if e.Passed++; trusted || e.Passed == 1 {
			s.entries[network] = entry{Last: now, Passed: n.Passed + 1}
		}
	}
	s.entries[triple] = entry{e.First, now, e.Passed}
	if len(s.entries) > c.Entries || now.Sub(s.saved) >= time.Minute {
		s.saved = now
		// What has expired goes, then, while there are too many, what came longest ago.
		for age := c.Keep; age == c.Keep || len(s.entries) > c.Entries && age > 0; age /= 2 {
			maps.DeleteFunc(s.entries, func(_ string, e entry) bool { return now.Sub(e.Last) > age })
		}
		data, _ := json.Marshal(s.entries) // strings, times and numbers: nothing in it can fail
		if err := agent.SaveFile(s.path, data); err != nil {
			slog.Error("greylist not saved", "error", err)
		}
	}
	return passes
}

func factory() agent.Factory {
	return agent.Build("greylist", newGreylist,
		agent.Describe("refuses a new client, sender and recipient for a while"), agent.Asks(agent.RejectMail), agent.Headers("From"))
}

func main() { agent.Serve(factory()) }
