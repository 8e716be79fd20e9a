package agentconformance

import (
	"context"
	"fmt"
	"mime"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
	agentv1 "example.org/relay/proto/agent/v1"
)

var words mime.WordDecoder

func rejected(code int) agent.Rejection {
	return agent.Rejection{
		Reply: agent.Reply{Code: code, Enhanced: "5.1.1", Lines: []string{"no"}}, Command: "RCPT TO:<nobody@example.org>",
		Recipient: "nobody@example.org", Cause: agent.CauseNextHop,
	}
}

// wire is the host's end of one stream, frame by frame.
type wire struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[agentv1.HostFrame, agentv1.AgentFrame]
	cancel context.CancelFunc
}

func configure(t *testing.T, p *agenttest.Program, settings string, only bool) *agentv1.ConfigureResponse {
	t.Helper()
	r, err := agentv1.NewAgentServiceClient(p.Conn).Configure(t.Context(), &agentv1.ConfigureRequest{
		AgentName: "probe", Role: "FrontEnd", Settings: []byte(settings), ValidateOnly: only, AcceptedDomains: []string{"example.org"},
		Capabilities: []agentv1.Capability{
			agentv1.Capability_CAPABILITY_DEFERRED_EVENTS, agentv1.Capability_CAPABILITY_RESUME, agentv1.Capability_CAPABILITY_LARGE_STATE, 9999,
		},
	})
	if err != nil || len(r.Errors) > 0 {
		t.Fatalf("Configure(%s) = %v, %v", settings, r, err)
	}
	return r
}

func open(t *testing.T, p *agenttest.Program) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := agentv1.NewAgentServiceClient(p.Conn).Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &wire{t, stream, cancel}
}

func (w *wire) send(f *agentv1.HostFrame) {
	w.t.Helper()
	if err := w.stream.Send(f); err != nil {
		w.t.Fatalf("send: %v", err)
	}
}

func (w *wire) start(id string, resumed bool) {
	w.t.Helper()
	w.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_Start{Start: &agentv1.SessionStart{SessionId: id, Resumed: resumed}}})
}

func (w *wire) events(list ...*agentv1.Event) {
	w.t.Helper()
	w.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_Events{Events: &agentv1.Events{Events: list, TimeoutMs: 10_000}}})
}

func (w *wire) end(list ...*agentv1.Event) {
	w.t.Helper()
	w.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_End{End: &agentv1.SessionEnd{Reason: agentv1.SessionEnd_REASON_QUIT, Events: list}}})
	if f := w.recv(); f.GetEnded() == nil {
		w.t.Fatalf("after the end of the session: %v", f)
	}
}

func (w *wire) recv() *agentv1.AgentFrame {
	w.t.Helper()
	f, err := w.stream.Recv()
	if err != nil {
		w.t.Fatalf("receive: %v", err)
	}
	return f
}

// verdict returns the only one of the next frame, which must be for the event.
func (w *wire) verdict(seq uint32) *agentv1.Verdict {
	w.t.Helper()
	f := w.recv()
	if list := f.GetVerdicts().GetVerdicts(); len(list) == 1 && list[0].Seq == seq {
		return list[0]
	}
	w.t.Fatalf("for event %d: %v", seq, f)
	return nil
}

func connect(seq uint32, ip ...byte) *agentv1.Event {
	return &agentv1.Event{Seq: seq, Type: agentv1.EventType_EVENT_TYPE_CONNECT, Notify: true, Connection: &agentv1.ConnectionInfo{RemoteIp: ip}}
}

func mail(seq uint32, from string) *agentv1.Event {
	return &agentv1.Event{Seq: seq, Type: agentv1.EventType_EVENT_TYPE_MAIL_COMMAND, Detail: &agentv1.Event_Mail{Mail: &agentv1.Mailbox{Address: from}}}
}

func help(seq uint32) *agentv1.Event {
	return &agentv1.Event{Seq: seq, Type: agentv1.EventType_EVENT_TYPE_HELP_COMMAND, Detail: &agentv1.Event_Command{Command: &agentv1.CommandDetail{}}}
}

// TestWire is what hosts of this and later versions may send.
func TestWire(t *testing.T) {
	each(t, func(t *testing.T, path string) {
		p := agenttest.Launch(t, path)
		t.Run("a session before Configure", func(t *testing.T) {
			w := open(t, p)
			w.start("early", false)
			if _, err := w.stream.Recv(); status.Code(err) != codes.FailedPrecondition {
				t.Errorf("error = %v, want FailedPrecondition", err)
			}
		})
		r := configure(t, p, "", false)
		for _, c := range r.Capabilities {
			if c == 9999 || c == agentv1.Capability_CAPABILITY_UNSPECIFIED {
				t.Errorf("it uses the capability %v", c)
			}
		}
		for _, tc := range []struct {
			name string
			test func(*testing.T, *agenttest.Program)
		}{
			{"sessions one after the other on a stream", sessionAfterSession}, {"unknown frames, fields and events", unknown},
			{"events before a session", eventsBeforeStart}, {"large state in chunks", chunks}, {"settings", settings},
			{"many events without a pause", flood}, {"two hundred sessions at once", crowd}, {"a stream cancelled in mid-event", cancelled},
		} {
			t.Run(tc.name, func(t *testing.T) { tc.test(t, p) })
		}
		if p.Stdout() != "" {
			t.Errorf("on standard output after the handshake: %q", p.Stdout())
		}
	})
}

func sessionAfterSession(t *testing.T, p *agenttest.Program) {
	w := open(t, p)
	w.start("one", false)
	w.events(connect(1, 192, 0, 2, 1), mail(2, "bag@example.com"))
	v := w.verdict(2)
	if got := v.Reply.GetLines(); len(got) == 0 || got[0] != "192.0.2.1" {
		t.Errorf("the watching handler of the same frame had not run: %v", v)
	}
	if len(v.Edits) != 1 || v.Edits[0].GetSetProperty().GetProperty().GetKey() != "connected" {
		t.Errorf("what it set did not come with the verdict: %v", v)
	}
	w.end()
	w.start("two", true)
	w.events(mail(1, "bag@example.com"))
	if got := w.verdict(1).Reply.GetLines(); len(got) > 0 && got[0] != "" {
		t.Errorf("the second session sees what the first one set: %q", got)
	}
	w.events(mail(2, "resumed@example.com"))
	if got := w.verdict(2).Reply.GetLines(); len(got) != 1 || got[0] != "true" {
		t.Errorf("resumed = %v", got)
	}
	w.end(&agentv1.Event{Seq: 3, Type: agentv1.EventType_EVENT_TYPE_DISCONNECT,
		Detail: &agentv1.Event_Disconnect{Disconnect: &agentv1.DisconnectDetail{Reason: agentv1.SessionEnd_REASON_QUIT}}})
	says(t, p, "ended by QUIT")
	if err := w.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.stream.Recv(); status.Code(err) != codes.Unknown && err.Error() != "EOF" {
		t.Errorf("after the host's end of the stream: %v, want EOF", err)
	}
}

func unknown(t *testing.T, p *agenttest.Program) {
	later := protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "of a later version")
	w := open(t, p)
	frame := &agentv1.HostFrame{}
	frame.ProtoReflect().SetUnknown(later)
	w.send(frame)
	w.start("one", false)
	w.send(frame)
	e := mail(1, "reject@example.com")
	e.ProtoReflect().SetUnknown(later)
	e.GetMail().ProtoReflect().SetUnknown(later)
	w.events(&agentv1.Event{Seq: 900, Type: 900, Notify: true}, e)
	if v := w.verdict(1); v.Action != agentv1.Action_ACTION_REJECT {
		t.Errorf("verdict = %v", v)
	}
	w.events(&agentv1.Event{Seq: 2, Type: 900})
	if v := w.verdict(2); v.Action != agentv1.Action_ACTION_CONTINUE || v.Failure != nil {
		t.Errorf("to an event it does not know it answers %v", v)
	}
	w.end()
}

func eventsBeforeStart(t *testing.T, p *agenttest.Program) {
	w := open(t, p)
	w.events(mail(1, "a@example.com"))
	if _, err := w.stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("error = %v, want InvalidArgument", err)
	}
}

func chunks(t *testing.T, p *agenttest.Program) {
	w := open(t, p)
	w.start("large", false)
	w.events(mail(1, "a@example.com"))
	w.verdict(1)
	raw := "X-Raw: \xe9"
	for len(raw) < 3<<20 {
		raw += "\r\n " + string(make([]byte, 60_000))
	}
	block, err := proto.Marshal(&agentv1.HeaderBlock{Raw: []byte(raw + "\r\n"), End: []uint32{uint32(len(raw) + 2)}, Id: []uint32{7}})
	if err != nil {
		t.Fatal(err)
	}
	for len(block) > 0 {
		n := min(len(block), 900_000)
		w.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_State{State: &agentv1.StateChunk{
			Part: agentv1.StateChunk_PART_HEADERS, Data: block[:n], Last: n == len(block)}}})
		block = block[n:]
	}
	w.events(&agentv1.Event{Seq: 2, Type: agentv1.EventType_EVENT_TYPE_END_OF_HEADERS})
	// The new value does not fit a frame: the agent says so itself, and the next message is another matter.
	if v := w.verdict(2); v.Failure == nil || len(v.Edits) != 0 {
		t.Errorf("verdict = %.300v, want a failure", v)
	}
	w.events(mail(3, "a@example.com"))
	w.verdict(3)
	w.events(&agentv1.Event{Seq: 4, Type: agentv1.EventType_EVENT_TYPE_END_OF_HEADERS,
		Headers: &agentv1.HeaderBlock{Raw: []byte("X-Raw: \xe9\r\n"), End: []uint32{10}, Id: []uint32{9}}})
	v := w.verdict(4)
	if len(v.Edits) != 1 || v.Edits[0].GetReplaceHeader().GetId() != 9 || string(v.Edits[0].GetReplaceHeader().GetValue()) != " \xe9!" {
		t.Errorf("verdict = %v", v)
	}
	w.end()
}

// settings: tried out they change nothing; taken into use they are for the next transaction.
func settings(t *testing.T, p *agenttest.Program) {
	configure(t, p, `{"mark": "old"}`, false)
	w := open(t, p)
	w.start("one", false)
	ask := func(seq uint32, want string) {
		t.Helper()
		w.events(help(seq))
		if got := w.verdict(seq).Reply.GetLines(); len(got) != 1 || got[0] != want {
			t.Errorf("HELP is answered %q, want %q", got, want)
		}
	}
	ask(1, "old")
	configure(t, p, `{"mark": "tried"}`, true)
	w.events(mail(2, "a@example.com"))
	w.verdict(2)
	ask(3, "old")
	configure(t, p, `{"mark": "new"}`, false)
	ask(4, "old")
	w.events(mail(5, "a@example.com"))
	w.verdict(5)
	ask(6, "new")
	w.end()
}

// flood: the host does not wait for an agent that is only told.
func flood(t *testing.T, p *agenttest.Program) {
	w := open(t, p)
	w.start("flood", false)
	const n = 900
	for i := range uint32(n) {
		w.events(connect(i+1, 192, 0, 2, byte(i)))
	}
	w.events(mail(n+1, "bag@example.com"))
	v := w.verdict(n + 1)
	if got, want := v.Reply.GetLines(), fmt.Sprintf("192.0.2.%d", (n-1)%256); len(got) == 0 || got[0] != want {
		t.Errorf("the last one told was %q, want %s (%.300v)", got, want, v)
	}
	w.cancel()
}

func crowd(t *testing.T, p *agenttest.Program) {
	streams := make([]*wire, 200)
	for i := range streams {
		streams[i] = open(t, p)
		streams[i].start(fmt.Sprint("crowd-", i), false)
		streams[i].events(connect(1, 198, 51, 100, byte(i)))
	}
	var all sync.WaitGroup
	for i, w := range streams { // each has been open while all others are
		all.Go(func() {
			if err := w.stream.Send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_Events{Events: &agentv1.Events{
				Events: []*agentv1.Event{mail(2, "bag@example.com")}, TimeoutMs: 10_000}}}); err != nil {
				t.Error(err)
				return
			}
			f, err := w.stream.Recv()
			if err != nil {
				t.Error(err)
				return
			}
			list := f.GetVerdicts().GetVerdicts()
			if want := fmt.Sprintf("198.51.100.%d", byte(i)); len(list) != 1 || list[0].Reply.GetLines()[0] != want {
				t.Errorf("session %d is told %v, want %s", i, list, want)
			}
		})
	}
	all.Wait()
	for _, w := range streams {
		w.cancel()
	}
}

func cancelled(t *testing.T, p *agenttest.Program) {
	slow, other := open(t, p), open(t, p)
	slow.start("slow", false)
	slow.events(mail(1, "slow@example.com"))
	other.start("other", false)
	other.events(mail(1, "print@example.com")) // meanwhile; also: what is printed goes to the log
	other.verdict(1)
	slow.cancel()
	says(t, p, "the slow one was cancelled")
	says(t, p, "printed by the agent")
	other.events(mail(2, "a@example.com"))
	other.verdict(2)
	other.end()
}
