package frontend

import (
	"log/slog"
	"sync/atomic"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// Check is when recipients are verified at the next hop.
type Check string

// The ways. Auto is Deferred where an agent has declared that it changes recipients at
// OnDataCommand or later, and else Live.
const (
	Auto     Check = "auto"
	Live     Check = "live"     // at RCPT: its answer is the client's
	Deferred Check = "deferred" // when the header section is in
)

// What the client may be made to wait for, and how long an idle one may hold a connection.
const (
	hopPatience = 60 * time.Second
	idleRelease = 15 * time.Second
)

// Settings are what a change of configuration replaces: transactions that begin later
// take the new ones. Immutable.
type Settings struct {
	Hostname       string
	NextHop        NextHop
	Domains        mail.Domains // accepted from strangers
	RecipientCheck Check
	// RecipientCacheTTL is how long the next hop's answer to a recipient is kept in live mode, at most
	// RecipientCacheSize of them; 0: not.
	RecipientCacheTTL  time.Duration
	RecipientCacheSize int
	// Seal marks the messages that agents submit; nil: they cannot.
	Seal *Seal

	cache *cache // of this next hop; nil: none
}

// FrontEnd is the role. Safe for concurrent use.
type FrontEnd struct {
	settings atomic.Pointer[Settings]
	log      *slog.Logger

	submissions chan struct{} // holds one for each message of an agent's on its way
}

// New makes a FrontEnd.
func New(s Settings, log *slog.Logger) *FrontEnd {
	f := &FrontEnd{log: log, submissions: make(chan struct{}, maxAtOnce)}
	f.Set(s)
	return f
}

// Set replaces the settings for the transactions that begin from now on. What is kept of the
// next hop's answers stays where the next hop is the same value. Not for concurrent use.
func (f *FrontEnd) Set(s Settings) {
	old := f.settings.Load()
	if old != nil && old.NextHop == s.NextHop && old.RecipientCacheTTL == s.RecipientCacheTTL && old.RecipientCacheSize == s.RecipientCacheSize {
		s.cache = old.cache
	} else {
		s.cache = newCache(s.RecipientCacheTTL, s.RecipientCacheSize)
	}
	f.settings.Store(&s)
}

// Extensions are those of the next hop: a client is promised nothing that it lacks.
func (f *FrontEnd) Extensions() mail.Extensions {
	return f.settings.Load().NextHop.Extensions()
}

// Open gives a session its transactions.
func (f *FrontEnd) Open(agents *pipeline.Session) *Session {
	s := &Session{f: f, agents: agents}
	agents.Sender = s
	return s
}
