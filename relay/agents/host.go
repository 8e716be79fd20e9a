package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
)

// Options say where a Host works and for whom.
type Options struct {
	// Registry is what OpenRegistry gave; it stays the caller's to close, after the Host.
	Registry *Registry
	// Services are the configured ones: agents are installed for no other.
	Services []event.Role
	Defaults
	Log     *slog.Logger
	Version string // of the relay
	// OnChange is called, if set, when the agents of a service, their order or what governs
	// their use have changed: the pipeline is to be built again of InForce. It is called from
	// any goroutine and must not call back into an operation that changes agents.
	OnChange func(event.Role)
	// Offline: no relay runs. Agents are started only to try them.
	Offline bool
}

// Defaults are what agents take from the configuration.
type Defaults struct {
	Hostname  string
	Domains   []string // accepted: "example.org", "*.example.org"
	Timeout   time.Duration
	OnFailure string // tempfail or continue
	Confine   Confine
	// Protected are files outside of the state directory that no read-only agent can read: the
	// relay's configuration, keys, passwords. Absolute.
	Protected []string
}

// Host is all installed agents with the processes of those that are enabled. Safe for
// concurrent use; operations that change something run one after the other and never hold
// up mail.
type Host struct {
	options Options
	log     *slog.Logger
	shop    *workshop

	probation time.Duration // of an agent after a swap
	defaults  atomic.Pointer[Defaults]
	onChange  func(event.Role)

	change   sync.Mutex // held by an operation, also while processes start
	registry *Registry  // guarded by change
	closed   bool       // guarded by change
	ending   sync.WaitGroup

	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu     sync.RWMutex // held for moments only
	agents []*Agent     // by service, then priority
	undone []rollback   // not in the registry yet
}

// DefaultTimeout is an agent's time for an event where nothing else is said.
const DefaultTimeout = 10 * time.Second

// New makes the Host of a registry. Nothing is started yet.
func New(o Options) (*Host, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnChange == nil || o.Offline {
		o.OnChange = func(event.Role) {}
	}
	shop, err := newWorkshop(o.Registry.Dir(), o.Log)
	if err != nil {
		return nil, err
	}
	h := &Host{options: o, log: o.Log, shop: shop, probation: probationTime, registry: o.Registry, onChange: o.OnChange}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.setDefaults(o.Defaults)
	for _, e := range o.Registry.Entries() {
		h.agents = append(h.agents, newAgent(h, e))
	}
	return h, nil
}

func (h *Host) setDefaults(d Defaults) {
	if d.Timeout <= 0 {
		d.Timeout = DefaultTimeout
	}
	if d.OnFailure == "" {
		d.OnFailure = "tempfail"
	}
	h.defaults.Store(&d)
	h.shop.machine.Protect(append([]string{h.shop.stateDir}, d.Protected...))
}

// Start starts the enabled agents of the configured services, all at the same time, without
// waiting for them: events wait, within their limit, for an agent that is starting. One that
// cannot start is tried again and again.
func (h *Host) Start() {
	h.change.Lock()
	defer h.change.Unlock()
	if h.options.Offline || h.ctx.Err() != nil {
		return
	}
	for _, a := range h.list() {
		e := a.entry.Load()
		if !e.Enabled || !a.sup.Load().isOver() {
			continue
		}
		if !h.serves(e.Service) {
			a.sup.Load().setProblem(fmt.Sprintf("transport service %s is not configured", e.Service))
			continue
		}
		v := a.supervisor(h.spec(*e))
		a.sup.Store(v)
		go v.run()
	}
	h.resumeBypasses()
}

// Enabled returns the enabled agents of a service, the first to run first.
func (h *Host) Enabled(role event.Role) []*Agent {
	var all []*Agent
	for _, a := range h.list() {
		if e := a.entry.Load(); e.Service == role && e.Enabled {
			all = append(all, a)
		}
	}
	return all
}

// Check asks the running agents whether they would take new defaults, and names those that
// refuse. One that does not answer refuses nothing. Of an agent that would be confined otherwise a
// process is tried that is: what it cannot read then, it finds only there.
func (h *Host) Check(ctx context.Context, d Defaults) error {
	ctx, done, err := h.operation(ctx)
	if err != nil {
		return err
	}
	defer done()
	var problems []error
	for _, a := range h.list() {
		e := a.entry.Load()
		s := h.spec(*e)
		if !e.Enabled || h.confinedAs(s, d) {
			continue
		}
		err := h.shop.check(s)
		if err == nil && a.sup.Load().cur.Load() != nil {
			s.hostname, s.domains = d.Hostname, d.Domains
			err = h.rehearse(ctx, a, s, asGranted)
		}
		problems = append(problems, err)
	}
	if !h.differs(d) {
		return errors.Join(problems...)
	}
	for _, a := range h.list() {
		inst := a.sup.Load().cur.Load()
		if inst == nil {
			continue
		}
		s := h.spec(*a.entry.Load())
		s.hostname, s.domains = d.Hostname, d.Domains
		_, _, err := s.configure(ctx, inst, s.request(inst.generation, "", true, h.shop.home(&s.Entry)))
		if refused := (FieldErrors)(nil); errors.As(err, &refused) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// confinedAs reports whether the spec's agent would be confined with the defaults d as it is. It
// puts into the spec how it would be.
func (h *Host) confinedAs(s *spec, d Defaults) bool {
	now := s.confine
	s.confine = s.Confine.over(d.Confine)
	return s.confine.same(now)
}

// differs reports whether defaults that agents are told have changed.
func (h *Host) differs(d Defaults) bool {
	old := h.defaults.Load()
	return old.Hostname != d.Hostname || !slices.Equal(old.Domains, d.Domains)
}

// Update takes new defaults over: running agents are told the accepted domains. An agent that
// refuses them goes on with the old ones and is named in the error.
func (h *Host) Update(ctx context.Context, d Defaults) error {
	ctx, done, err := h.operation(ctx)
	if err != nil {
		return err
	}
	defer done()
	tell := h.differs(d)
	before := h.defaults.Load().Confine
	h.setDefaults(d)
	var problems []error
	for _, a := range h.list() {
		e := a.entry.Load()
		if !e.Enabled || h.options.Offline || !h.serves(e.Service) {
			continue
		}
		switch s := h.spec(*e); {
		case !s.confine.same(e.Confine.over(before)): // only a new process can be confined otherwise
			problems = append(problems, a.sup.Load().confine(ctx, s))
		case tell:
			problems = append(problems, a.sup.Load().reconfigure(ctx, s, h.shop.home(e)))
		}
	}
	for _, role := range h.options.Services {
		h.onChange(role)
	}
	return errors.Join(problems...)
}

// Close ends all agents, politely but within little more than two seconds. Nothing of them
// is left then: no process, no goroutine, no socket. A second call does nothing; no other
// operation may follow.
func (h *Host) Close() error {
	h.stop() // lets an operation that is under way come to its end
	if !h.end() {
		return nil
	}
	h.ending.Wait()
	return h.shop.close()
}

// end ends all agents; it reports false where that was done before.
func (h *Host) end() bool {
	h.change.Lock()
	defer h.change.Unlock()
	if h.closed {
		return false
	}
	h.closed = true
	var all sync.WaitGroup
	for _, a := range h.list() {
		a.disarm()
		all.Go(func() {
			v := a.sup.Load()
			v.down.Store(true)
			v.halt(politeTime)
		})
	}
	all.Wait()
	h.settle(h.ctx)
	return true
}

func (h *Host) list() []*Agent {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.agents
}

func (h *Host) serves(role event.Role) bool { return slices.Contains(h.options.Services, role) }

// CheckService says why nothing can run in a service that is not configured.
func (h *Host) CheckService(role event.Role) error {
	if h.serves(role) {
		return nil
	}
	return fmt.Errorf("transport service %s is not configured; configured: %s", role, roleNames(h.options.Services))
}

func (h *Host) spec(e Entry) *spec {
	d := h.defaults.Load()
	return &spec{Entry: e, hostname: d.Hostname, version: h.options.Version, domains: d.Domains, confine: e.Confine.over(d.Confine)}
}

// launcher is how the supervisor of an agent starts a process.
func (h *Host) launcher(a *Agent, v *supervisor) launcher {
	return func(ctx context.Context, s *spec, generation uint64) (*instance, error) {
		return h.shop.launch(ctx, s, generation, a.log, v.heard)
	}
}
