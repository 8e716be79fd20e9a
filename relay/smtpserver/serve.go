package smtpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Server takes the connections of one listener. Safe for concurrent use.
type Server struct {
	cfg    Config
	smtp   *smtp.Server
	ctx    context.Context // of all sessions
	cancel context.CancelFunc
	going  context.Context // ends when the server goes down: pauses do, too
	goDown context.CancelFunc
	ids    idSource
	turned turned

	mu       sync.Mutex
	listener net.Listener
	gates    map[*gate]struct{}
	draining bool // no new sessions; idle ones are sent away
	sessions sync.WaitGroup
}

// New makes a server. It takes nothing before Serve.
func New(cfg Config) *Server {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clients == nil {
		cfg.Clients = NewClients()
	}
	s := &Server{cfg: cfg, gates: map[*gate]struct{}{}, turned: turned{log: map[barrier]*refusals{}}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.going, s.goDown = context.WithCancel(s.ctx)

	// All limits and deadlines are the gate's: go-smtp would apply them at the wrong places.
	s.smtp = smtp.NewServer(smtp.BackendFunc(newSession))
	s.smtp.Domain = cfg.Hostname
	s.smtp.MaxLineLength = 0
	s.smtp.AllowInsecureAuth = true // TLS is below the gate, where go-smtp does not see it
	s.smtp.ErrorLog = errorLog{cfg.Log}
	return s
}

// Serve takes connections until Shutdown or Close, and then returns nil. It may be called
// once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return l.Close()
	}
	s.listener = l
	s.mu.Unlock()

	err := s.smtp.Serve(gateListener{l, s})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown takes no more connections, tells idle clients 421 and lets the others finish
// their message. When ctx ends first, it closes what is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.drain()
	done := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return err
	case <-ctx.Done():
		s.closeAll()
		return ctx.Err()
	}
}

// Close ends everything at once.
func (s *Server) Close() error {
	err := s.drain()
	s.closeAll()
	return err
}

func (s *Server) drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.listener != nil && !s.draining {
		err = s.listener.Close()
	}
	s.draining = true
	s.goDown()
	for g := range s.gates {
		g.drain()
	}
	return err
}

func (s *Server) closeAll() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.gates {
		g.cut()
	}
}

// add reports whether the session may begin.
func (s *Server) add(g *gate) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.gates[g] = struct{}{}
	s.sessions.Add(1)
	return true
}

func (s *Server) remove(g *gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Clients.leave(g.visit)
	delete(s.gates, g)
	s.sessions.Done()
}

// gateListener hands go-smtp a gate in place of each connection. Nothing here may block:
// go-smtp accepts one connection after the other.
type gateListener struct {
	net.Listener
	s *Server
}

func (l gateListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		remote := remoteOf(c)
		v, b := l.s.enter(remote)
		if b != noBarrier {
			l.s.logTurned(remote.Addr(), b)
			l.s.turnAway(c, b.reply(l.s.cfg.Hostname))
			continue
		}
		g := newGate(l.s, c)
		g.visit = v
		if !l.s.add(g) {
			l.s.cfg.Clients.leave(v)
			l.s.turnAway(c, goingDown(l.s.cfg.Hostname))
			return nil, net.ErrClosed
		}
		return g, nil
	}
}

// errorLog takes what go-smtp has to say: panics of a session, errors of Accept.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, v ...any) {
	l.log.Error("smtp server", "error", fmt.Sprintf(format, v...))
}

func (l errorLog) Println(v ...any) { l.log.Error("smtp server", "error", fmt.Sprintln(v...)) }

// newSession is go-smtp's way to a Session: it finds the gate it stands behind.
func newSession(c *smtp.Conn) (smtp.Session, error) {
	g, ok := c.Conn().(*gate)
	if !ok {
		return nil, io.ErrClosedPipe
	}
	return g.open(), nil
}

// lingerTime is how long a connection that we close is read on, so that the last reply
// is not lost to a reset for octets that nobody read.
const lingerTime = 2 * time.Second
