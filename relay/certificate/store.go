// Package certificate has the certificates that listeners present: pairs of files, read again
// when they change, and those that an authority gives by ACME (RFC 8555). Which of them a client
// gets, by the name it asks for and what it can verify, is decided here; so is what the log says
// before one expires. The listeners ask Store.TLS at each handshake; package relay tells the Store
// when the configuration changes.
package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// interval is how often files are looked at. A certificate is replaced every few weeks, by a
// program that does not wait for us: seconds are soon enough.
const interval = 5 * time.Second

// Settings are where certificates come from.
type Settings struct {
	Pairs []Pair // the first is the default
	ACME  *ACME  // nil: no authority is asked
}

// Store has the certificates of the relay. Safe for concurrent use.
type Store struct {
	log     *slog.Logger
	current atomic.Pointer[set] // never nil

	// plain and asking are kept for the Store's life: the keys of session tickets are theirs, and
	// are changed every day. Asking ones ask the client for its certificate.
	plain, asking *tls.Config

	wake   chan struct{} // something may have changed
	cancel context.CancelFunc
	ended  chan struct{} // closed when the watch is over

	mu        sync.Mutex // guards what follows; no handshake takes it
	settings  Settings
	files     []*file
	authority *authority // nil without ACME, and before Start
	told      map[string]notice
}

// New reads the pairs. No authority is asked, and no file is looked at again, before Start.
func New(settings Settings, log *slog.Logger) (*Store, error) {
	files, err := readFiles(settings.Pairs)
	if err != nil {
		return nil, err
	}
	s := &Store{log: log, wake: make(chan struct{}, 1), settings: settings, files: files, told: map[string]notice{}}
	s.plain, s.asking = s.config(), s.config()
	s.asking.ClientAuth = tls.RequestClientCert
	s.publish()
	return s, nil
}

// config leaves versions from 1.2 up, cipher suites and curves to Go, which keeps them sensible.
func (s *Store) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Clients that speak SMTP offer no protocol, or this. One that offers others alone is a browser
		// that was led here to have its request taken for mail (ALPACA; RFC 9325 §3.7).
		NextProtos: []string{"smtp", "esmtp"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := s.current.Load().choose(hello); c != nil {
				return c, nil
			}
			return nil, errNone
		},
	}
}

var errNone = errors.New("there is no certificate yet")

// TLS returns what a listener asks at each handshake. It gives nil while there is no certificate.
// With ask, clients are asked for a certificate of theirs; any will do, or none.
func (s *Store) TLS(ask bool) func() *tls.Config {
	c := s.plain
	if ask {
		c = s.asking
	}
	return func() *tls.Config {
		if s.current.Load().empty() {
			return nil
		}
		return c
	}
}

// Start begins to watch the files, and to ask the authority.
func (s *Store) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.ended = cancel, make(chan struct{})
	if s.settings.ACME != nil {
		s.authority = newAuthority(*s.settings.ACME, s.log, s.stir)
		s.authority.listen()
		s.authority.start()
	}
	s.publish()
	go s.watch(ctx)
}

// Close ends what Start began. A Store that was not started needs none.
func (s *Store) Close() {
	s.mu.Lock()
	cancel, a := s.cancel, s.authority
	s.cancel, s.authority = nil, nil
	s.mu.Unlock()
	if cancel != nil {
		cancel()
		<-s.ended
	}
	if a != nil {
		a.stop()
		a.release()
	}
}

// watch looks for changes until ctx ends.
func (s *Store) watch(ctx context.Context) {
	defer close(s.ended)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look(true)
		case <-s.wake:
			s.look(false)
		}
	}
}

// stir has the watch look soon.
func (s *Store) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// look takes over what has changed. Files are looked at on a tick only: what is half written
// then may be whole at the next one.
func (s *Store) look(tick bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tick {
		for _, f := range s.files {
			f.look(s.log)
		}
		if s.authority != nil {
			s.authority.listen()
		}
	}
	s.publish()
}

// publish puts the certificates as they are now in force, and says which of them expire.
func (s *Store) publish() {
	var given, pairs []*tls.Certificate
	if s.authority != nil {
		given = s.authority.certificates()
	}
	for _, f := range s.files {
		pairs = append(pairs, f.cert)
	}
	if next := newSet(given, pairs); !next.equal(s.current.Load()) {
		s.current.Store(next)
	}
	s.remind(given)
}

// Change is a change of settings that has been prepared. It is committed or discarded.
type Change struct {
	s         *Store
	settings  Settings
	files     []*file
	authority *authority // fresh; nil where that of before goes on, or where there is none
}

// Prepare reads all that the settings name and makes sure that challenges can be answered, and
// changes nothing. The Store must be started. One change is prepared at a time.
func (s *Store) Prepare(settings Settings) (*Change, error) {
	files, err := readFiles(settings.Pairs)
	if err != nil {
		return nil, err
	}
	c := &Change{s: s, settings: settings, files: files}
	s.mu.Lock()
	defer s.mu.Unlock()
	if settings.ACME == nil || s.authority != nil && reflect.DeepEqual(s.settings.ACME, settings.ACME) {
		return c, nil
	}
	c.authority = newAuthority(*settings.ACME, s.log, s.stir)
	if err := c.authority.takeOver(s.authority); err != nil {
		c.authority.stop()
		return nil, fmt.Errorf("tls.acme.address: %w", err)
	}
	return c, nil
}

// Renewed reports whether files that are read already have another certificate in them.
func (c *Change) Renewed() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return slices.ContainsFunc(c.files, c.renewed)
}

func (c *Change) renewed(f *file) bool {
	return slices.ContainsFunc(c.s.files, func(old *file) bool {
		return old.Pair == f.Pair && !slices.EqualFunc(old.cert.Certificate, f.cert.Certificate, bytes.Equal)
	})
}

// Commit puts the change in force for the handshakes to come.
func (c *Change) Commit() {
	s := c.s
	s.mu.Lock()
	old := s.authority
	for _, f := range c.files {
		if c.renewed(f) {
			f.logLoaded(s.log)
		}
	}
	s.settings, s.files = c.settings, c.files
	switch {
	case c.authority != nil:
		if old != nil {
			c.authority.inherit(old)
		}
		s.authority = c.authority
	case c.settings.ACME == nil:
		s.authority = nil
	}
	if s.authority == old {
		old = nil
	}
	clear(s.told) // who reloads reads the log
	s.publish()
	s.mu.Unlock()
	if old != nil {
		// Not under the lock: it may be in the middle of a question to its authority.
		old.stop()
		if c.authority == nil || old.answers != c.authority.answers {
			old.release()
		}
	}
	if c.authority != nil {
		c.authority.start()
	}
}

// Discard gives up what was prepared.
func (c *Change) Discard() {
	if c.authority != nil {
		c.authority.stop()
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		if c.s.authority == nil || c.s.authority.answers != c.authority.answers {
			c.authority.release()
		}
	}
}
