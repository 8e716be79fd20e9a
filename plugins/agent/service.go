package agent

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "example.org/relay/proto/agent/v1"
)

const defaultHeartbeat = time.Second

// service answers the host for the factories of a program.
type service struct {
	agentv1.UnimplementedAgentServiceServer
	factories []Factory
	log       *slog.Logger
	watches   watches

	configure sync.Mutex // one Configure at a time
	current   atomic.Pointer[instance]
}

// instance is an agent value with what a session needs of it. Immutable.
type instance struct {
	name  string
	value any
	calls [64]handler // by event type
	log   *slog.Logger

	agreed  []agentv1.Capability // in force on the wire
	granted []Permission
}

type handler struct {
	call    call
	decides bool
	name    string
}

// NewService returns the service that Serve puts behind the handshake, for tests that play
// the relay. It fails as Check does.
func NewService(log *slog.Logger, factories ...Factory) (agentv1.AgentServiceServer, error) {
	if err := Check(factories...); err != nil {
		return nil, err
	}
	return &service{factories: factories, log: log}, nil
}

func (p *service) Describe(context.Context, *agentv1.DescribeRequest) (*agentv1.DescribeResponse, error) {
	r := &agentv1.DescribeResponse{AgentVersion: p.factories[0].version}
	for i := range p.factories {
		r.Factories = append(r.Factories, p.factories[i].proto())
	}
	return r, nil
}

func (p *service) Configure(_ context.Context, q *agentv1.ConfigureRequest) (*agentv1.ConfigureResponse, error) {
	p.configure.Lock()
	defer p.configure.Unlock()
	f, err := p.factory(q.Factory)
	if err != nil {
		return &agentv1.ConfigureResponse{Errors: []*agentv1.FieldError{{Field: "", Problem: err.Error()}}}, nil
	}
	r := &agentv1.ConfigureResponse{AgentVersion: f.version, Subscriptions: f.subscriptions(), Capabilities: agreed(q.Capabilities)}
	made, err := p.instance(f, q)
	if err != nil {
		r.Errors = fieldErrors(err)
		return r, nil
	}
	r.Subscriptions = f.bound(made.value)
	if !q.ValidateOnly {
		p.current.Store(made)
	}
	return r, nil
}

func (p *service) factory(name string) (*Factory, error) {
	if name == "" && len(p.factories) == 1 {
		return &p.factories[0], nil
	}
	var names []string
	for i := range p.factories {
		if p.factories[i].name == name {
			return &p.factories[i], nil
		}
		names = append(names, p.factories[i].name)
	}
	return nil, fmt.Errorf("the program has no factory %q; it has %q", name, names)
}

// instance makes the agent value. A constructor that panics refuses its settings.
func (p *service) instance(f *Factory, q *agentv1.ConfigureRequest) (made *instance, err error) {
	log := p.log.With("agent", q.AgentName)
	defer func() {
		if r := recover(); r != nil {
			log.Error("panic in the constructor", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in the constructor: %v", r)
		}
	}()
	setup := Setup{
		Name: q.AgentName, Role: q.Role, Hostname: q.Hostname, AcceptedDomains: q.AcceptedDomains,
		StateDir: q.StateDir, Log: log, settings: q.Settings,
	}
	for _, g := range q.Granted {
		setup.Granted = append(setup.Granted, Permission(g))
	}
	value, err := f.build(setup)
	if err != nil {
		return nil, err
	}
	made = &instance{name: q.AgentName, value: value, log: log, agreed: agreed(q.Capabilities), granted: setup.Granted}
	for i := range bindings {
		b := &bindings[i]
		if c, decides := b.bind(value); c != nil {
			made.calls[b.event] = handler{c, decides, b.name}
		}
	}
	return made, nil
}

// may reports whether the operator has granted p.
func (i *instance) may(p Permission) bool { return slices.Contains(i.granted, p) }

func (p *service) Watch(q *agentv1.WatchRequest, stream grpc.ServerStreamingServer[agentv1.AgentStatus]) error {
	p.watches.begin()
	defer p.watches.end()
	every := time.Duration(q.HeartbeatMs) * time.Millisecond
	if every <= 0 {
		every = defaultHeartbeat
	}
	beat := time.NewTicker(every)
	defer beat.Stop()
	ready := &agentv1.AgentStatus{State: agentv1.AgentStatus_STATE_READY}
	for {
		if err := stream.Send(ready); err != nil {
			return err
		}
		select {
		case <-beat.C:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (p *service) Session(stream grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]) error {
	if p.current.Load() == nil {
		return status.Error(codes.FailedPrecondition, "a session before Configure")
	}
	return newConversation(p, stream).run()
}

// watches counts the Watch streams. The host holds one as long as it lives.
type watches struct {
	mu   sync.Mutex
	open int
	gone func() // called when the last one has ended and none came in its place
	wait *time.Timer
}

// orphaned is how long the host may be without a Watch before the process ends.
const orphaned = 10 * time.Second

func (w *watches) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
	if w.wait != nil {
		w.wait.Stop()
		w.wait = nil
	}
}

func (w *watches) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open--
	if w.open == 0 && w.gone != nil {
		w.wait = time.AfterFunc(orphaned, w.gone)
	}
}

func (w *watches) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open > 0
}
