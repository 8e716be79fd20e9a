package agents

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
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
	p, err := w.start(ctx, s.Name, home, s.Path, log)
	if err != nil {
		return nil, err
	}
	t, _, err := s.configure(ctx, p, s.request(generation, p.scratch(), false, home))
	if err != nil {
		p.end(0)
		return nil, err
	}
	i := newInstance(s.Name, p, p, t, log)
	i.generation, i.pid = generation, p.child.pid()
	if err := i.watch(ctx, func(status *agentv1.AgentStatus) { onStatus(i, status) }); err != nil {
		i.fail(err)
		return nil, err
	}
	i.startTime = time.Since(began)
	return i, nil
}

// probe starts the program once to ask what its factory has, and whether it takes the
// settings, and ends it.
func (w *workshop) probe(ctx context.Context, s *spec, log *slog.Logger) error {
	home := w.home(&s.Entry)
	p, err := w.start(ctx, s.Name, home, s.Path, log)
	if err != nil {
		return err
	}
	defer p.end(politeTime)
	s.Factory, s.Described, err = describe(ctx, p, s.version, s.Factory)
	if err != nil {
		return fmt.Errorf("agent %s: %w", s.Name, err)
	}
	s.Granted = s.Described.Asks
	if err := s.checkDescribed(); err != nil {
		return err
	}
	_, _, err = s.configure(ctx, p, s.request(0, p.scratch(), true, home))
	return err
}
