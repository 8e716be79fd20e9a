package agents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// misbehaviours are what an agent can do wrong in its answer to an event, each at every event
// and under both policies. The answer begins with edits that would be good: none of them may
// be made.
var misbehaviours = []struct {
	name string
	do   func(v visit, e *agentv1.Event) []*agentv1.AgentFrame // nil: the stream ends
	want error                                                 // of event.Err…
	// later: the fault is found at the next event of the session only.
	later bool
	// survives: nothing has happened that the client or the message could notice.
	survives bool
	// poison: the policy does not count.
	poison bool
	// time is what the agent has for it; 0: enough.
	time time.Duration
}{
	{name: "late verdict", do: visit.never, want: event.ErrTimeout, time: 60 * time.Millisecond},
	{name: "two verdicts in a frame", want: event.ErrProtocol, do: func(_ visit, e *agentv1.Event) []*agentv1.AgentFrame {
		return frames(verdictsOf(harm(e), harm(e)))
	}},
	{name: "a second verdict behind the first", later: true, want: event.ErrProtocol, do: func(_ visit, e *agentv1.Event) []*agentv1.AgentFrame {
		return frames(verdictsOf(&agentv1.Verdict{Seq: e.Seq}), verdictsOf(harm(e)))
	}},
	{name: "wrong sequence", want: event.ErrProtocol, do: func(_ visit, e *agentv1.Event) []*agentv1.AgentFrame {
		v := harm(e)
		v.Seq += 7
		return frames(verdictsOf(v))
	}},
	{name: "reply of another class", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) {
		v.Action, v.Reply = agentv1.Action_ACTION_REJECT, &agentv1.Reply{Code: 250, Lines: []string{"ok"}}
	})},
	{name: "action of another service", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) { v.Action = agentv1.Action_ACTION_DEFER })},
	{name: "unknown action", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) { v.Action = 77 })},
	{name: "ungranted action", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) { v.Action = agentv1.Action_ACTION_DISCARD })},
	{name: "ungranted edit", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) {
		v.Edits = append(v.Edits, &agentv1.Edit{Op: &agentv1.Edit_SetSender{SetSender: &agentv1.Mailbox{Address: "x@example.org"}}})
	})},
	{name: "edit of a field that is gone", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) {
		v.Edits = append(v.Edits, &agentv1.Edit{Op: &agentv1.Edit_RemoveHeader{RemoveHeader: &agentv1.RemoveHeader{Which: &agentv1.RemoveHeader_Id{Id: 99}}}})
	})},
	{name: "edit of nothing", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) { v.Edits = append(v.Edits, &agentv1.Edit{}) })},
	{name: "10,000 edits", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) {
		for range 10_000 {
			v.Edits = append(v.Edits, v.Edits[0])
		}
	})},
	{name: "a property of 100 KiB", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) {
		v.Edits = append(v.Edits, setProperty("big", bytes.Repeat([]byte("x"), 100<<10)))
	})},
	{name: "header injection in a reply", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) {
		v.Action, v.Reply = agentv1.Action_ACTION_REJECT, &agentv1.Reply{Code: 550, Lines: []string{"no\r\n250 ok"}}
	})},
	{name: "frame of 5 MiB", want: event.ErrProtocol, do: answers(func(v *agentv1.Verdict) { v.Reason = strings.Repeat("x", 5<<20) })},
	{name: "frame that was not agreed on", want: event.ErrProtocol, do: func(visit, *agentv1.Event) []*agentv1.AgentFrame {
		return frames(&agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Read{Read: &agentv1.ReadContent{}}})
	}},
	{name: "stream closed", want: event.ErrProtocol, do: func(visit, *agentv1.Event) []*agentv1.AgentFrame { return nil }},
	{name: "its own failure", want: event.ErrFailed, do: answers(func(v *agentv1.Verdict) { v.Failure = &agentv1.Failure{Detail: "database away"} })},
	{name: "process stopped", survives: true, do: visit.stop, time: time.Minute},
	{name: "process killed", survives: true, do: visit.die},
	{name: "process killed by this message", poison: true, want: event.ErrPoison, do: visit.dieAlways},
}

// harm is a verdict whose edits are good in themselves.
func harm(e *agentv1.Event) *agentv1.Verdict {
	return &agentv1.Verdict{Seq: e.Seq, Edits: []*agentv1.Edit{setProperty("mark", []byte("1"))}}
}

func setProperty(key string, value []byte) *agentv1.Edit {
	return &agentv1.Edit{Op: &agentv1.Edit_SetProperty{SetProperty: &agentv1.SetProperty{
		Property: &agentv1.Property{Scope: agentv1.Property_SCOPE_SESSION, Key: key, Value: value},
	}}}
}

func verdictsOf(v ...*agentv1.Verdict) *agentv1.AgentFrame {
	return &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Verdicts{Verdicts: &agentv1.Verdicts{Verdicts: v}}}
}

func frames(f ...*agentv1.AgentFrame) []*agentv1.AgentFrame { return f }

func answers(spoil func(*agentv1.Verdict)) func(visit, *agentv1.Event) []*agentv1.AgentFrame {
	return func(_ visit, e *agentv1.Event) []*agentv1.AgentFrame {
		v := harm(e)
		spoil(v)
		return frames(verdictsOf(v))
	}
}

// rogue is an agent in this process that misbehaves at one event of one session, the one whose
// id begins with "bad", and is a good one for all others.
type rogue struct {
	agentv1.UnimplementedAgentServiceServer
	at      event.Kind
	do      func(visit, *agentv1.Event) []*agentv1.AgentFrame
	done    *atomic.Int64 // times, in all processes
	stopped atomic.Bool
	kill    func()
}

// visit is an event on a stream of the agent.
type visit struct {
	*rogue
	ctx context.Context // of the stream
}

func (v visit) never(*agentv1.Event) []*agentv1.AgentFrame {
	<-v.ctx.Done()
	return nil
}

// stop is SIGSTOP: no heartbeat, no answer.
func (v visit) stop(e *agentv1.Event) []*agentv1.AgentFrame {
	v.stopped.Store(true)
	return v.never(e)
}

func (v visit) die(e *agentv1.Event) []*agentv1.AgentFrame {
	v.kill()
	return v.never(e)
}

func (v visit) dieAlways(e *agentv1.Event) []*agentv1.AgentFrame {
	v.done.Store(0)
	return v.die(e)
}

func (r *rogue) Watch(_ *agentv1.WatchRequest, w grpc.ServerStreamingServer[agentv1.AgentStatus]) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if r.stopped.Load() {
			<-w.Context().Done()
			return nil
		}
		if err := w.Send(&agentv1.AgentStatus{State: agentv1.AgentStatus_STATE_READY}); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-w.Context().Done():
			return nil
		}
	}
}

func (r *rogue) Session(stream grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]) error {
	bad := false
	for {
		in, err := stream.Recv()
		if err != nil {
			return nil
		}
		switch f := in.Frame.(type) {
		case *agentv1.HostFrame_Start:
			bad = strings.HasPrefix(f.Start.SessionId, "bad")
		case *agentv1.HostFrame_End:
			if err := stream.Send(sessionEndedFrame); err != nil {
				return err
			}
		case *agentv1.HostFrame_Events:
			for _, e := range f.Events.Events {
				if e.Notify {
					continue
				}
				all := frames(verdictsOf(&agentv1.Verdict{Seq: e.Seq}))
				if bad && event.Kind(e.Type) == r.at && r.done.Add(1) == 1 {
					all = r.do(visit{r, stream.Context()}, e)
				}
				if all == nil {
					return nil
				}
				for _, f := range all {
					if err := stream.Send(f); err != nil {
						return err
					}
				}
			}
		}
	}
}

var sessionEndedFrame = &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Ended{Ended: &agentv1.SessionEnded{}}}

// process starts the rogue in this process and connects to it.
func (r *rogue) process(log *slog.Logger, granted event.Permissions) (*instance, error) {
	listener := bufconn.Listen(64 << 10)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(8 << 20))
	agentv1.RegisterAgentServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///agent",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(agentv1.MaxFrameBytes), grpc.ForceCodecV2(codec)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		return nil, err
	}
	p := &rogueProcess{server: server, conn: conn, gone: make(chan struct{})}
	r.kill = func() { go p.end(0) }
	t := &terms{deferred: true, resume: true, largeState: true, subs: []event.Subscription{{Kind: r.at}}}
	i := newInstance("rogue", agentv1.NewAgentServiceClient(conn), p, t, log)
	if err := i.watch(context.Background(), func(*agentv1.AgentStatus) {}); err != nil {
		i.fail(err)
		return nil, err
	}
	return i, nil
}

// rogueProcess is the process of a rogue.
type rogueProcess struct {
	server *grpc.Server
	conn   *grpc.ClientConn
	gone   chan struct{}
	once   sync.Once
}

func (p *rogueProcess) exited() <-chan struct{} { return p.gone }

func (p *rogueProcess) end(time.Duration) {
	p.once.Do(func() {
		close(p.gone)
		_ = p.conn.Close()
		go p.server.Stop() // waits for handlers, of whom one may be who has called
	})
}

// shownTo is an agent as the pipeline calls it.
type shownTo struct{ *Agent }

func (a shownTo) Open(session string) pipeline.Conversation { return a.Agent.Open(session) }

// Whatever an agent does wrong, at whatever event: the client is told what the policy says,
// nothing of the answer is applied, and the next session has a good agent.
func TestAgentMisbehavesAtEachEventUnderEachPolicy(t *testing.T) {
	for _, m := range misbehaviours {
		for _, k := range event.FrontEnd.Events() {
			if k == event.Disconnect {
				continue // nobody waits for an answer
			}
			for _, policy := range []pipeline.Policy{pipeline.TempFail, pipeline.Continue} {
				t.Run(fmt.Sprintf("%s/%s/%s", m.name, k, policy), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRogueRig(t, k, m.do, policy, m.time)
						s := r.open("bad")
						r.check(t, s, k, policy, m.want, m.later, m.survives, m.poison)
						s.Close(event.DisconnectQuit)

						next := r.open("next")
						if d := next.Fire(t.Context(), r.event(next)); d.Refusal() != nil || d.Err != nil {
							t.Errorf("the next session was told %v: %v", d.Reply, d.Err)
						}
						next.Close(event.DisconnectQuit)
					})
				})
			}
		}
	}
}

// rogueRig is a pipeline with a rogue in it.
type rogueRig struct {
	agents *pipeline.Pipeline
	agent  *Agent
	at     event.Kind
	header []byte
}

func newRogueRig(t *testing.T, at event.Kind, do func(visit, *agentv1.Event) []*agentv1.AgentFrame, policy pipeline.Policy, limit time.Duration) *rogueRig {
	t.Helper()
	registry, err := OpenRegistry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{Registry: registry, Services: []event.Role{event.FrontEnd}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	granted := event.Permissions(0).With(event.ReadHeaders).With(event.ChangeHeaders).With(event.ChangeRecipients).With(event.MayReject)
	e := Entry{Name: "rogue", Service: event.FrontEnd, Enabled: true, Granted: granted}
	a := newAgent(h, e)
	done := new(atomic.Int64)
	v := a.supervisor(h.spec(e))
	v.launch = func(context.Context, *spec, uint64) (*instance, error) {
		return (&rogue{at: at, do: do, done: done}).process(a.log, granted)
	}
	a.sup.Store(v)
	go v.run()
	t.Cleanup(func() {
		v.halt(0)
		if err := errors.Join(h.Close(), registry.Close()); err != nil {
			t.Error(err)
		}
	})
	p := pipeline.New(event.FrontEnd, mail.NewDomains("example.org"))
	p.Set([]pipeline.Binding{{
		Name: "rogue", Agent: shownTo{a}, Subscriptions: []event.Subscription{{Kind: at}}, Granted: granted,
		ChangesRecipientsAt: event.EndOfHeaders, Timeout: limit, OnFailure: policy,
	}})
	return &rogueRig{agents: p, agent: a, at: at, header: []byte("Subject: hello\r\nX-One: 1\r\n")}
}

// open begins a session that stands where the event comes, with a message at its end.
func (r *rogueRig) open(id string) *pipeline.Session {
	s := r.agents.Open(id, &event.Connection{})
	env := &mail.Envelope{ID: id + "-1", From: mail.Path{Local: id, Domain: "example.com"}}
	env.Add(mail.Recipient{Path: mail.Path{Local: "b", Domain: "example.org"}})
	s.Begin(env)
	s.SetHeader(mail.ParseHeader(r.header))
	return s
}

func (r *rogueRig) event(s *pipeline.Session) event.Event {
	ev := event.Event{Kind: r.at, From: s.State.Envelope.From}
	if r.at == event.RcptCommand {
		ev.Recipient = s.State.Envelope.Recipients[0]
	}
	return ev
}

func (r *rogueRig) check(t *testing.T, s *pipeline.Session, k event.Kind, policy pipeline.Policy, want error, later, survives, poison bool) {
	t.Helper()
	d := s.Fire(t.Context(), r.event(s))
	if later {
		if d.Refusal() != nil {
			t.Errorf("told %v at once: %v", d.Reply, d.Err)
		}
		d = s.Fire(t.Context(), r.event(s))
	}
	refused := (policy == pipeline.TempFail || poison) && !survives && k != event.Reject
	switch {
	case refused && (d.Action != event.TempFail || d.Reply.Code != 451 && d.Reply.Code != 421 || !errors.Is(d.Err, want)):
		t.Errorf("came to %s, %v: %v; want the tempfail of %v", d.Action, d.Reply, d.Err, want)
	case !refused && d.Refusal() != nil:
		t.Errorf("came to %s, %v: %v; want it to go on", d.Action, d.Reply, d.Err)
	}
	if text := d.Reply.Text(); strings.Contains(text, "rogue") || strings.Contains(text, "database") {
		t.Errorf("the client is told %q", text)
	}
	found := false
	for _, e := range s.TakeEntries() {
		found = found || errors.Is(e.Err, want) && e.Agent == "rogue" && e.At == k
	}
	if found == survives {
		t.Errorf("a failure of %v is noted: %v", want, found)
	}
	if len(s.State.Bag) > 0 || !bytes.Equal(s.State.Header.AppendTo(nil), r.header) {
		t.Errorf("part of the answer was applied: %v, %q", s.State.Bag, s.State.Header.AppendTo(nil))
	}
	if e := s.State.Envelope; e.From.String() != "bad@example.com" || !refused && len(e.Recipients) != 1 {
		t.Errorf("the envelope became %v", e)
	}
}
