package agents

import (
	"fmt"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"example.org/relay/relay/event"
)

// fileRegistry is agents.toml.
type fileRegistry struct {
	Format int         `toml:"format"`
	Agents []fileAgent `toml:"agent"`
}

type fileAgent struct {
	Name         string        `toml:"name"`
	Service      string        `toml:"service"`
	Enabled      bool          `toml:"enabled"`
	Path         string        `toml:"path"`
	SHA256       string        `toml:"sha256"`
	Factory      string        `toml:"factory"`
	SettingsPath string        `toml:"settings_path,omitempty"`
	Settings     string        `toml:"settings,omitempty"` // JSON
	Timeout      string        `toml:"timeout,omitempty"`
	OnFailure    string        `toml:"on_failure,omitempty"`
	Granted      []string      `toml:"granted"`
	BypassUntil  time.Time     `toml:"bypass_until,omitzero"`
	Only         fileFilter    `toml:"only,omitempty"`
	Confine      fileConfine   `toml:"confine,omitempty"`
	Described    fileDescribed `toml:"described"`
}

type fileDescribed struct {
	Version     string   `toml:"version,omitempty"`
	Description string   `toml:"description,omitempty"`
	Decides     []string `toml:"decides"`
	Watches     []string `toml:"watches"`
	// Narrowed has the filters that the agent has itself, by event.
	Narrowed            map[string]fileFilter `toml:"narrowed,omitempty"`
	Asks                []string              `toml:"asks"`
	ChangesRecipientsAt string                `toml:"changes_recipients_at,omitempty"`
}

type fileFilter struct {
	Listeners        []string `toml:"listeners,omitempty"`
	RecipientDomains []string `toml:"recipient_domains,omitempty"`
	SenderDomains    []string `toml:"sender_domains,omitempty"`
	Direction        string   `toml:"direction,omitempty"`
	Authenticated    string   `toml:"authenticated,omitempty"`
	MaxSize          uint64   `toml:"max_size,omitzero"`
}

type fileConfine struct {
	Sessions  *int     `toml:"sessions,omitempty"`
	Memory    *uint64  `toml:"memory,omitempty"`    // octets
	Processor *int     `toml:"processor,omitempty"` // percent
	Processes *int     `toml:"processes,omitempty"`
	User      *string  `toml:"user,omitempty"`
	ReadOnly  *bool    `toml:"read_only,omitempty"`
	ReadPaths []string `toml:"read_paths,omitempty"`
}

func fileFilterOf(f event.Filter) fileFilter {
	w := fileFilter{Listeners: f.Listeners, RecipientDomains: f.RecipientDomains, SenderDomains: f.SenderDomains, MaxSize: f.MaxSize}
	if f.Direction != event.AnyDirection {
		w.Direction = f.Direction.String()
	}
	if f.Login != event.AnyLogin {
		w.Authenticated = f.Login.String()
	}
	return w
}

func (w fileFilter) filter() (f event.Filter, err error) {
	f = event.Filter{Listeners: w.Listeners, RecipientDomains: w.RecipientDomains, SenderDomains: w.SenderDomains, MaxSize: w.MaxSize}
	if f.Direction, err = event.ParseDirection(w.Direction); err != nil {
		return f, err
	}
	f.Login, err = event.ParseLogin(w.Authenticated)
	return f, err
}

func fileOf(entries []Entry) fileRegistry {
	file := fileRegistry{Format: registryFormat}
	for _, e := range entries {
		a := fileAgent{
			Name: e.Name, Service: string(e.Service), Enabled: e.Enabled, Path: e.Path, SHA256: e.SHA256,
			Factory: e.Factory, SettingsPath: e.SettingsPath, Settings: e.Settings, OnFailure: e.OnFailure,
			Granted: e.Granted.List(), BypassUntil: e.BypassUntil, Only: fileFilterOf(e.Only), Confine: fileConfine(e.Confine),
			Described: fileDescribed{
				Version: e.Described.Version, Description: e.Described.Description, Asks: e.Described.Asks.List(),
			},
		}
		if e.Timeout != 0 {
			a.Timeout = e.Timeout.String()
		}
		if k := e.Described.ChangesRecipientsAt; k != 0 {
			a.Described.ChangesRecipientsAt = k.String()
		}
		for _, s := range e.Described.Subscriptions {
			if !s.Filter.IsZero() {
				if a.Described.Narrowed == nil {
					a.Described.Narrowed = make(map[string]fileFilter)
				}
				a.Described.Narrowed[s.Kind.String()] = fileFilterOf(s.Filter)
			}
			if s.Notify {
				a.Described.Watches = append(a.Described.Watches, s.Kind.String())
			} else {
				a.Described.Decides = append(a.Described.Decides, s.Kind.String())
			}
		}
		file.Agents = append(file.Agents, a)
	}
	return file
}

// decodeRegistry reads agents.toml. A key we do not know is refused: writing the file again
// would lose it.
func decodeRegistry(data []byte) ([]Entry, error) {
	var file fileRegistry
	md, err := toml.Decode(string(data), &file)
	if err != nil {
		return nil, err
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("unknown key %s: written by a newer relay?", unknown[0])
	}
	if file.Format != registryFormat {
		return nil, fmt.Errorf("format %d: this relay reads format %d", file.Format, registryFormat)
	}
	var entries []Entry
	for _, a := range file.Agents {
		e, err := a.entry()
		if err != nil {
			return nil, fmt.Errorf("agent %q: %w", a.Name, err)
		}
		if find(entries, e.Name, e.Service) >= 0 {
			return nil, fmt.Errorf("agent %s is there twice in %s", e.Name, e.Service)
		}
		entries = append(entries, e)
	}
	byService(entries)
	return entries, nil
}

func (a fileAgent) entry() (Entry, error) {
	e := Entry{
		Name: a.Name, Enabled: a.Enabled, Path: a.Path, SHA256: a.SHA256, Factory: a.Factory,
		SettingsPath: a.SettingsPath, Settings: a.Settings, OnFailure: a.OnFailure,
		BypassUntil: a.BypassUntil, Confine: Confine(a.Confine),
		Described: Described{Version: a.Described.Version, Description: a.Described.Description},
	}
	if !namePattern.MatchString(a.Name) {
		return e, fmt.Errorf("not a name for an agent")
	}
	if err := checkSettings(a.Settings); err != nil {
		return e, err
	}
	if err := checkOnFailure(a.OnFailure); err != nil {
		return e, err
	}
	var err error
	if e.Service, err = event.ParseRole(a.Service); err != nil {
		return e, err
	}
	if a.Timeout != "" {
		if e.Timeout, err = time.ParseDuration(a.Timeout); err != nil {
			return e, err
		}
		if err := checkTimeout(e.Timeout); err != nil {
			return e, err
		}
	}
	if e.Granted, err = event.ParsePermissions(a.Granted); err != nil {
		return e, err
	}
	if e.Only, err = a.Only.filter(); err != nil {
		return e, err
	}
	if e.Described.Asks, err = event.ParsePermissions(a.Described.Asks); err != nil {
		return e, err
	}
	return e, a.Described.events(&e.Described)
}

func (f fileDescribed) events(d *Described) error {
	bound := make(map[event.Kind]event.Subscription)
	for i, name := range append(append([]string(nil), f.Decides...), f.Watches...) {
		k, ok := event.ParseKind(name)
		if !ok {
			return fmt.Errorf("unknown event %q", name)
		}
		s := event.Subscription{Kind: k, Notify: i >= len(f.Decides)}
		var err error
		if s.Filter, err = f.Narrowed[name].filter(); err != nil {
			return fmt.Errorf("narrowed at %s: %w", name, err)
		}
		bound[k] = s
	}
	for _, k := range event.Kinds() {
		if s, ok := bound[k]; ok {
			d.Subscriptions = append(d.Subscriptions, s)
		}
	}
	if f.ChangesRecipientsAt != "" {
		k, ok := event.ParseKind(f.ChangesRecipientsAt)
		if !ok {
			return fmt.Errorf("unknown event %q", f.ChangesRecipientsAt)
		}
		d.ChangesRecipientsAt = k
	}
	return nil
}

func checkOnFailure(policy string) error {
	switch policy {
	case "", "tempfail", "continue":
		return nil
	}
	return fmt.Errorf("failure policy %q: must be tempfail or continue", policy)
}

// find returns the place of the agent in the list, or -1. Names compare without regard to case.
func find(entries []Entry, name string, service event.Role) int {
	for i := range entries {
		if entries[i].Service == service && strings.EqualFold(entries[i].Name, name) {
			return i
		}
	}
	return -1
}
