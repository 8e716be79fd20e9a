package agents

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// voice is an agent without a process or a connection, for synctest bubbles: its sessions are
// method calls. It answers each event with its name and what it has seen of the session.
type voice struct {
	agentv1.AgentServiceClient
	name string
	inst *instance

	mu      sync.Mutex
	fails   bool     // it says that it cannot judge
	mute    bool     // it never answers
	lethal  string   // it dies of this sender
	answers int      // of Configure with restart_required to come
	told    []string // settings taken, with validate_only marked
	broken  error    // what Configure comes to, but for validate_only
}

// play makes an instance of a voice that is well.
func play(name string, s *spec) *voice {
	a := &voice{name: name}
	t := &terms{resume: true, deferred: true}
	t.subs = append(t.subs, s.Described.Subscriptions...)
	a.inst = newInstance("a", a, &fakeProcess{make(chan struct{})}, t, slog.New(slog.DiscardHandler))
	a.inst.program = s.program()
	a.inst.edition.Store(s.Edition)
	a.inst.health.heard(&agentv1.AgentStatus{State: agentv1.AgentStatus_STATE_READY})
	return a
}

func (a *voice) Configure(_ context.Context, q *agentv1.ConfigureRequest, _ ...grpc.CallOption) (*agentv1.ConfigureResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what := string(q.Settings)
	if q.ValidateOnly {
		what = "tried " + what
	}
	a.told = append(a.told, what)
	if a.broken != nil && !q.ValidateOnly {
		return nil, a.broken
	}
	return &agentv1.ConfigureResponse{
		Subscriptions: []*agentv1.Subscription{{Event: agentv1.EventType_EVENT_TYPE_MAIL_COMMAND}},
		Capabilities:  q.Capabilities, RestartRequired: a.answers > 0,
	}, nil
}

func (a *voice) Session(ctx context.Context, _ ...grpc.CallOption) (grpc.BidiStreamingClient[agentv1.HostFrame, agentv1.AgentFrame], error) {
	return &line{voice: a, ctx: ctx, out: make(chan *agentv1.AgentFrame, 8)}, nil
}

// line is one stream of a voice.
type line struct {
	grpc.ClientStream
	voice   *voice
	ctx     context.Context
	out     chan *agentv1.AgentFrame
	resumed bool
	bag     []string
	events  int
}

func (l *line) Context() context.Context { return l.ctx }

func (l *line) Recv() (*agentv1.AgentFrame, error) {
	m := &agentv1.AgentFrame{}
	return m, l.RecvMsg(m)
}

func (l *line) RecvMsg(m any) error {
	select {
	case f := <-l.out:
		into := m.(*agentv1.AgentFrame)
		proto.Reset(into)
		proto.Merge(into, f)
		return nil
	case <-l.ctx.Done():
		return status.Error(codes.Canceled, "cancelled")
	}
}

func (l *line) Send(f *agentv1.HostFrame) error {
	a := l.voice
	switch f := f.Frame.(type) {
	case *agentv1.HostFrame_Start:
		l.resumed, l.events, l.bag = f.Start.Resumed, 0, nil
		for _, p := range f.Start.Properties {
			l.bag = append(l.bag, p.Key+"="+string(p.Value))
		}
	case *agentv1.HostFrame_End:
		l.out <- &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Ended{Ended: &agentv1.SessionEnded{}}}
	case *agentv1.HostFrame_Events:
		for _, e := range f.Events.Events {
			l.events++
			a.mu.Lock()
			fails, mute, lethal := a.fails, a.mute, a.lethal
			a.mu.Unlock()
			switch {
			case lethal != "" && strings.HasPrefix(e.GetMail().GetAddress(), lethal+"@"):
				go a.inst.fail(fmt.Errorf("%s died", a.name))
				return nil
			case e.Notify || mute:
				continue
			}
			v := &agentv1.Verdict{Seq: e.Seq, Reason: fmt.Sprintf("%s resumed=%t events=%d bag=%s", a.name, l.resumed, l.events, strings.Join(l.bag, ","))}
			if fails {
				v.Failure = &agentv1.Failure{Detail: "database away"}
			}
			l.out <- &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Verdicts{Verdicts: &agentv1.Verdicts{Verdicts: []*agentv1.Verdict{v}}}}
		}
	}
	return nil
}

func (a *voice) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// stage is an agent whose processes are voices.
type stage struct {
	*Agent
	v     *supervisor
	log   *logBuffer
	cast  []*voice     // in the order they were started
	undid []uint64     // editions that were rolled back
	next  func(*voice) // makes of the next ones what they are to be
}

// edition makes a spec; the program is named by the edition.
func edition(n uint64) *spec {
	e := Entry{Name: "a", Service: event.FrontEnd, Path: "/nowhere/a", SHA256: fmt.Sprintf("%064d", n), Edition: n}
	e.Described.Subscriptions = []event.Subscription{{Kind: event.MailCommand}}
	return &spec{Entry: e}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Agent: &Agent{}, log: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.Agent.log = log
	first := edition(1)
	s.entry.Store(&first.Entry)
	s.v = newSupervisor(first, log, &s.stats, &s.gen)
	s.v.patience = probationTime
	s.v.onRollBack = func(n uint64, _ *spec) { s.undid = append(s.undid, n) }
	s.v.launch = func(_ context.Context, sp *spec, n uint64) (*instance, error) {
		a := play(fmt.Sprintf("v%d.%d", sp.Edition, len(s.cast)+1), sp)
		a.inst.generation = n
		if s.next != nil {
			s.next(a)
		}
		s.cast = append(s.cast, a)
		return a.inst, nil
	}
	s.sup.Store(s.v)
	go s.v.run()
	s.v.running(t)
	return s
}

// close ends the agent; nothing of it may be left.
func (s *stage) close(t *testing.T) {
	t.Helper()
	s.v.halt(politeTime)
	for _, a := range s.cast {
		if !a.inst.isGone() {
			t.Errorf("process %s is left", a.name)
		}
	}
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	if s.v.probation != nil {
		t.Error("the probation goes on")
	}
}

func (s *stage) swap(t *testing.T, n uint64) {
	t.Helper()
	if err := s.v.swap(t.Context(), edition(n)); err != nil {
		t.Fatal(err)
	}
}

// who asks about MAIL and returns the name of the process that has answered, and all it says.
func who(t *testing.T, c *Conversation, state *event.State, seq uint32) (name, says string) {
	t.Helper()
	v, err := mailFrom(t, c, state, seq, "a", 10*time.Second)
	if err != nil {
		t.Errorf("event %d: %v", seq, err)
	}
	name, _, _ = strings.Cut(v.Reason, " ")
	return name, v.Reason
}

func (v *supervisor) specNow() *spec {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.spec
}
