package agents

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// serveByHand is an agent as docs/agents/protocol.md says, with no library but gRPC: the page's
// claims are its steps.
func serveByHand(how string) {
	if os.Getenv("RELAY_AGENT") != "relay.agent.v1" {
		fmt.Fprintln(os.Stderr, "this is an agent of a relay, which starts it by itself")
		os.Exit(1)
	}
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "byhand.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	end := func() { _ = os.Remove(path); os.Exit(0) }
	server := grpc.NewServer(grpc.MaxRecvMsgSize(8<<20), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		switch name, _ := grpc.MethodFromServerStream(s); name {
		case "/plugin.GRPCController/Shutdown":
			_ = s.RecvMsg(&emptypb.Empty{})
			_ = s.SendMsg(&emptypb.Empty{})
			time.AfterFunc(10*time.Millisecond, end)
		default: // plugin.GRPCStdio/StreamStdio, plugin.GRPCBroker/StartStream
			<-s.Context().Done()
		}
		return nil
	}))
	checks := health.NewServer()
	checks.SetServingStatus("plugin", healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(server, checks)
	agentv1.RegisterAgentServiceServer(server, byHand{how: how})
	stdout, err := syscall.Dup(1)
	if err == nil {
		err = syscall.Dup2(2, 1) // what is printed later is no handshake
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	line := os.NewFile(uintptr(stdout), "stdout")
	fmt.Fprintf(line, "1|1|unix|%s|grpc|\n", path)
	if err := server.Serve(listener); err != nil {
		os.Exit(1)
	}
}

type byHand struct {
	agentv1.UnimplementedAgentServiceServer
	how string
}

func (b byHand) subscriptions() []*agentv1.Subscription {
	if number, ok := strings.CutPrefix(b.how, "binds"); ok {
		n, _ := strconv.Atoi(number)
		return []*agentv1.Subscription{{Event: agentv1.EventType(n), Mode: agentv1.Subscription_MODE_DECIDE}}
	}
	return []*agentv1.Subscription{
		{Event: agentv1.EventType_EVENT_TYPE_MAIL_COMMAND, Mode: agentv1.Subscription_MODE_DECIDE},
		{Event: agentv1.EventType_EVENT_TYPE_END_OF_HEADERS, Mode: agentv1.Subscription_MODE_DECIDE, Content: agentv1.Subscription_CONTENT_HEADERS},
		{Event: agentv1.EventType_EVENT_TYPE_DISCONNECT, Mode: agentv1.Subscription_MODE_NOTIFY},
	}
}

func (b byHand) Describe(context.Context, *agentv1.DescribeRequest) (*agentv1.DescribeResponse, error) {
	return &agentv1.DescribeResponse{Factories: []*agentv1.Factory{{
		Name: "byhand", Subscriptions: b.subscriptions(),
		Permissions: []agentv1.Permission{agentv1.Permission_PERMISSION_READ_HEADERS, agentv1.Permission_PERMISSION_CHANGE_HEADERS, agentv1.Permission_PERMISSION_REJECT},
	}}}, nil
}

func (b byHand) Configure(context.Context, *agentv1.ConfigureRequest) (*agentv1.ConfigureResponse, error) {
	r := &agentv1.ConfigureResponse{Subscriptions: b.subscriptions()}
	if b.how == "newer" {
		r.Capabilities = []agentv1.Capability{99, agentv1.Capability_CAPABILITY_DEFERRED_EVENTS}
		unknown(r)
	}
	return r, nil
}

func (b byHand) Watch(q *agentv1.WatchRequest, s grpc.ServerStreamingServer[agentv1.AgentStatus]) error {
	for s.Context().Err() == nil {
		status := &agentv1.AgentStatus{State: agentv1.AgentStatus_STATE_READY}
		if b.how == "newer" {
			unknown(status)
		}
		if err := s.Send(status); err != nil {
			return err
		}
		time.Sleep(time.Duration(q.HeartbeatMs) * time.Millisecond)
	}
	return nil
}

func (b byHand) Session(s grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]) error {
	for {
		f, err := s.Recv()
		if err != nil {
			return nil
		}
		var answer *agentv1.AgentFrame
		switch frame := f.Frame.(type) {
		case *agentv1.HostFrame_Events:
			var all agentv1.Verdicts
			for _, e := range frame.Events.Events {
				if !e.Notify {
					all.Verdicts = append(all.Verdicts, b.judge(e))
				}
			}
			if len(all.Verdicts) == 0 {
				continue
			}
			answer = &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Verdicts{Verdicts: &all}}
		case *agentv1.HostFrame_End:
			answer = &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Ended{Ended: &agentv1.SessionEnded{}}}
		default: // SessionStart, and what this agent has not asked for
			continue
		}
		if b.how == "newer" {
			stranger := &agentv1.AgentFrame{}
			unknown(stranger)
			if err := s.Send(stranger); err != nil {
				return err
			}
		}
		if err := s.Send(answer); err != nil {
			return err
		}
	}
}

func (b byHand) judge(e *agentv1.Event) *agentv1.Verdict {
	v := &agentv1.Verdict{Seq: e.Seq}
	if strings.HasPrefix(e.GetMail().GetAddress(), "refuse@") {
		v.Action = agentv1.Action_ACTION_REJECT
		v.Reply = &agentv1.Reply{Code: 550, Enhanced: "5.7.1", Lines: []string{"not by hand"}}
	}
	if e.Type == agentv1.EventType_EVENT_TYPE_END_OF_HEADERS {
		v.Edits = []*agentv1.Edit{{Op: &agentv1.Edit_AddHeader{AddHeader: &agentv1.AddHeader{Name: "X-By-Hand", Value: []byte(" " + strconv.Itoa(len(e.Headers.GetEnd())))}}}}
	}
	if b.how == "newer" {
		unknown(v)
	}
	return v
}

// unknown gives a message a field of a version to come.
func unknown(m proto.Message) {
	field := protowire.AppendTag(nil, 4000, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendString(field, "later"))
}

// An agent made from docs/agents/protocol.md alone works, and so does one of a version to
// come: frames, fields and capabilities that this host does not know end nothing.
func TestAgentsWithoutOurSDK(t *testing.T) {
	for _, how := range []string{"byhand", "newer"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			c := r.enabled(t, how).Open("s1")
			state := newState("s1")
			if v, err := mailFrom(t, c, state, 1, "refuse", time.Minute); err != nil || v.Action != event.RejectIt || v.Reply.Text() != "not by hand" {
				t.Errorf("MAIL: %+v, %v", v, err)
			}
			state.Envelope, state.EnvelopeRevision = &mail.Envelope{ID: "m1"}, 1
			state.Header, state.HeaderRevision = mail.ParseHeader([]byte("Subject: s\r\nX-A: b\r\n")), 1
			v, err := c.Decide(t.Context(), []event.Event{{Seq: 2, Kind: event.EndOfHeaders}}, state, time.Minute)
			if err != nil || len(v.Edits) != 1 || string(v.Edits[0].Value) != " 2" {
				t.Errorf("OnEndOfHeaders: %+v, %v", v, err)
			}
			c.End([]event.Event{{Seq: 3, Kind: event.Disconnect}}, state, 0)
			c = r.Enabled(event.FrontEnd)[0].Open("s2") // the stream is used again
			if v, err := mailFrom(t, c, newState("s2"), 1, "alice", time.Minute); err != nil || v.Action != event.Continue {
				t.Errorf("the next session: %+v, %v", v, err)
			}
			c.End(nil, newState("s2"), 0)
		})
	}
}

// The events of services with a queue, each refused for the FrontEnd by name.
func TestInstallRefusesEventsOfTheQueueForTheFrontEnd(t *testing.T) {
	r := newRig(t)
	for _, k := range event.Hub.Events() {
		if event.FrontEnd.Has(k) {
			continue
		}
		name := fmt.Sprintf("binds%d", k)
		_, _, err := r.Install(t.Context(), InstallRequest{Name: name, Service: "FrontEnd", Path: program(t, name)})
		want := fmt.Sprintf("agent %s binds %s, which transport service FrontEnd does not have; it can be installed for Hub or Edge", name, k)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", k, err, want)
		}
	}
}

// protocolPage is the page that the agent by hand follows.
func protocolPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/agents/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The conversation of the page is played to the agent by hand, and its answers are the page's.
func TestDocsConversation(t *testing.T) {
	_, text, _ := strings.Cut(protocolPage(t), "### A whole conversation")
	_, text, _ = strings.Cut(text, "```\n")
	text, _, _ = strings.Cut(text, "```")
	s := &played{ctx: t.Context()}
	var want []*agentv1.AgentFrame
	for _, part := range strings.Split("\n"+text, "\nrelay: ")[1:] {
		frame, answer, answered := strings.Cut(part, "\nagent: ")
		host := &agentv1.HostFrame{}
		if err := prototext.Unmarshal([]byte(frame), host); err != nil {
			t.Fatalf("%q: %v", frame, err)
		}
		s.host = append(s.host, host)
		if answered {
			a := &agentv1.AgentFrame{}
			if err := prototext.Unmarshal([]byte(answer), a); err != nil {
				t.Fatalf("%q: %v", answer, err)
			}
			want = append(want, a)
		}
	}
	if err := (byHand{how: "byhand"}).Session(s); err != nil {
		t.Fatal(err)
	}
	if len(s.got) != len(want) || len(want) < 4 {
		t.Fatalf("%d answers, the page has %d", len(s.got), len(want))
	}
	for i := range want {
		if !proto.Equal(s.got[i], want[i]) {
			t.Errorf("answer %v, the page has %v", s.got[i], want[i])
		}
	}
}

// played is a stream that has its frames from the page.
type played struct {
	grpc.ServerStream
	ctx  context.Context
	host []*agentv1.HostFrame
	got  []*agentv1.AgentFrame
}

func (p *played) Recv() (*agentv1.HostFrame, error) {
	if len(p.host) == 0 {
		return nil, io.EOF
	}
	f := p.host[0]
	p.host = p.host[1:]
	return f, nil
}

func (p *played) Send(f *agentv1.AgentFrame) error {
	p.got = append(p.got, f)
	return nil
}

// What the page says in numbers and names is what the code has.
func TestDocsProtocol(t *testing.T) {
	page := protocolPage(t)
	facts := []string{
		"`" + agentv1.MagicCookieKey + "`", "`" + agentv1.MagicCookieValue + "`",
		fmt.Sprintf("`1|%d|unix|", agentv1.ProtocolVersion), fmt.Sprintf("within %d s of the start", int(handshakeTime.Seconds())),
		fmt.Sprintf("(%d)", agentv1.MaxFrameBytes), fmt.Sprintf("inline %d octets", agentv1.InlineContentBytes),
		fmt.Sprintf("%d edits", agentv1.MaxEdits), fmt.Sprintf("session %d octets", agentv1.MaxPropertyBytes),
		fmt.Sprintf("lines are cut at %d octets", maxLogLine), fmt.Sprintf("of more than %d a second", logLinesPerUnit),
		fmt.Sprintf("after %d s by SIGKILL", int(politeTime.Seconds())), fmt.Sprintf("silent for %d s", maxMissed*int(heartbeat.Seconds())),
	}
	for _, m := range []proto.Message{&agentv1.HostFrame{}, &agentv1.AgentFrame{}} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			facts = append(facts, "| `"+string(fields.Get(i).Name())+"` |")
		}
	}
	for _, fact := range facts {
		if !strings.Contains(page, fact) {
			t.Errorf("docs/agents/protocol.md does not say %q", fact)
		}
	}
}
