package agents

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/agents/confine"
	"example.org/relay/relay/event"
)

// launch starts an instance of the spec: the program is the installed one, the process says
// its handshake, takes its settings and sends its first status. onStatus is told that and
// all that follow.
func (w *workshop) launch(ctx context.Context, s *spec, generation uint64, log *slog.Logger, onStatus func(*instance, *agentv1.AgentStatus)) (*instance, error) {
	if err := checkPinned(s.Name, s.Path, s.SHA256); err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Name, err)
	}
	began := time.Now()
	home := w.home(&s.Entry)
	u, err := w.user(s)
	if err != nil {
		return nil, err
	}
	back, err := w.settle(home, u)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Name, err)
	}
	p, err := w.start(ctx, s, u, home, log)
	if err != nil {
		back()
		return nil, err
	}
	t, _, err := s.configure(ctx, p, s.request(generation, p.scratch(), false, home))
	if err != nil {
		p.end(0)
		back()
		return nil, err
	}
	i := newInstance(s.Name, p, p, t, log)
	i.generation, i.pid, i.program = generation, p.child.pid(), s.program()
	i.edition.Store(s.Edition)
	if err := i.watch(ctx, func(status *agentv1.AgentStatus) { onStatus(i, status) }); err != nil {
		i.fail(err)
		back()
		return nil, err
	}
	i.startTime = time.Since(began)
	return i, nil
}

// probe starts the program once to ask what its factory has, and whether it takes the
// settings with what permit grants it then, and ends it.
func (w *workshop) probe(ctx context.Context, s *spec, log *slog.Logger, permit func(*Entry) error) error {
	if err := w.check(s); err != nil {
		return err
	}
	u, err := w.user(s)
	if err != nil {
		return err
	}
	home, err := w.lodge(w.home(&s.Entry), u)
	if err != nil {
		return fmt.Errorf("agent %s: %w", s.Name, err)
	}
	asked, err := w.ask(ctx, s, u, home, log, permit)
	if err == nil && !asked {
		_, err = w.ask(ctx, s, u, home, log, permit)
	}
	return err
}

// ask starts the program, asks it what it has and whether it takes the settings.
// Where it turns out that it may use the network, which the process cannot, settings are a
// question for another process: they may name servers.
func (w *workshop) ask(ctx context.Context, s *spec, u *confine.User, home string, log *slog.Logger, permit func(*Entry) error) (asked bool, err error) {
	network := s.Granted.Has(event.MayNetwork)
	p, err := w.start(ctx, s, u, home, log)
	if err != nil {
		return false, err
	}
	defer p.end(politeTime)
	s.Factory, s.Described, err = describe(ctx, p, s.version, s.Factory)
	if err != nil {
		return false, fmt.Errorf("agent %s: %w", s.Name, err)
	}
	if err := s.checkDescribed(); err != nil {
		return false, err
	}
	if err := permit(&s.Entry); err != nil {
		return false, err
	}
	if s.Granted.Has(event.MayNetwork) && !network {
		return false, nil
	}
	_, _, err = s.configure(ctx, p, s.request(0, p.scratch(), true, p.home))
	return true, err
}
