package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"example.org/relay/relay/smtpserver"
)

// listener is one listening socket and the server that takes its connections. A change of
// configuration gives it another server: the socket stays open, connections from then on go
// to the new one, and those of the old one live on until they end by themselves.
type listener struct {
	net.Listener
	address string // as configured
	log     *slog.Logger

	mu      sync.Mutex
	current *entrance
	retired []*smtpserver.Server // may still have sessions
	done    chan struct{}        // closed when the socket is
}

// entrance is where one server gets its connections from: a net.Listener without a socket.
type entrance struct {
	server *smtpserver.Server
	conns  chan net.Conn
	addr   net.Addr
	closed chan struct{}
	once   sync.Once
}

func (e *entrance) Accept() (net.Conn, error) {
	select {
	case c := <-e.conns:
		return c, nil
	case <-e.closed:
		return nil, net.ErrClosed
	}
}

func (e *entrance) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

func (e *entrance) Addr() net.Addr { return e.addr }

// listen opens the socket; nothing is accepted before serve.
func listen(address string, log *slog.Logger) (*listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return &listener{Listener: l, address: address, log: log, done: make(chan struct{})}, nil
}

// serve lets the server have all connections from now on.
func (l *listener) serve(s *smtpserver.Server) {
	e := &entrance{server: s, conns: make(chan net.Conn), addr: l.Addr(), closed: make(chan struct{})}
	l.mu.Lock()
	old := l.current
	l.current = e
	if old != nil {
		l.retired = append(l.retired, old.server)
	}
	l.mu.Unlock()
	go func() {
		if err := s.Serve(e); err != nil && !errors.Is(err, net.ErrClosed) {
			l.log.Error("listener ended", "address", l.address, "cause", err)
		}
	}()
	if old != nil {
		old.Close()
		return
	}
	go l.accept()
}

// accept hands each connection to the server of the moment.
func (l *listener) accept() {
	defer close(l.done)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, most likely: the connection stays in the backlog, and a later
			// attempt may find one free.
			l.log.Error("accept", "address", l.address, "cause", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for handed := false; !handed; {
			l.mu.Lock()
			e := l.current
			l.mu.Unlock()
			select {
			case e.conns <- conn:
				handed = true
			case <-e.closed:
				l.mu.Lock()
				over := l.current == e
				l.mu.Unlock()
				if over { // nobody took its place: the listener is closing
					e.server.TurnAway(conn)
					handed = true
				}
			}
		}
	}
}

// shutdown stops listening and lets the sessions finish until ctx ends.
func (l *listener) shutdown(ctx context.Context) error {
	l.Listener.Close()
	l.mu.Lock()
	e, servers := l.current, l.retired
	l.mu.Unlock()
	if e != nil {
		e.Close()
		<-l.done
		servers = append(servers, e.server)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(servers))
	for i, s := range servers {
		wg.Go(func() { errs[i] = s.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
