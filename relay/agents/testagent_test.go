package agents

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
)

// TestMain is also the agent: started by a host, under the name of the way it is to behave.
func TestMain(m *testing.M) {
	if os.Getenv(agentv1.MagicCookieKey) == agentv1.MagicCookieValue {
		behave(filepath.Base(os.Args[0]))
		return
	}
	if dir := os.Getenv("AGENTS_TEST_HOST"); dir != "" {
		hostUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// program makes an agent program of the test binary that behaves as its name says.
func program(t *testing.T, behaviour string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), behaviour)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func behave(how string) {
	if how == "byhand" || how == "newer" || strings.HasPrefix(how, "binds") {
		serveByHand(how)
		return
	}
	switch how {
	case "exit":
		syscall.Exit(3)
	case "mistyped":
		fmt.Fprint(os.Stderr, "reading settings\none\n\ntwo\x1b[2J\x9b\nOnEndOfHeader fits no event; the nearest is OnEndOfHeaders")
		syscall.Exit(1)
	case "panics":
		panic("no such table")
	case "blank":
		fmt.Println()
	case "babble":
		fmt.Println("hello, I am no agent")
		time.Sleep(time.Minute)
	case "version9":
		fmt.Println("1|9|unix|/nowhere|grpc|")
		time.Sleep(time.Minute)
	case "remote":
		fmt.Println("1|1|tcp|127.0.0.1:9|grpc|")
		time.Sleep(time.Minute)
	case "astray":
		fmt.Println("1|1|unix|/dev/null|grpc|")
		time.Sleep(time.Minute)
	case "linked":
		path := filepath.Join(os.Getenv(plugin.EnvUnixSocketDir), "s")
		_ = os.Symlink("/dev/null", path) // without it the start fails for another reason
		fmt.Println("1|1|unix|" + path + "|grpc|")
		time.Sleep(time.Minute)
	case "poisonlog":
		fmt.Fprintln(os.Stderr, `{"@message":5}`)
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 100_000))
	}
	most := 8 << 20
	if how == "frames" {
		most = agentv1.MaxFrameBytes
	}
	stdout := os.Stdout
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: agentv1.ProtocolVersion, MagicCookieKey: agentv1.MagicCookieKey, MagicCookieValue: agentv1.MagicCookieValue,
		},
		Plugins: plugin.PluginSet{agentv1.PluginName: glue{service: &testService{how: how, stdout: stdout}}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxRecvMsgSize(most))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

type glue struct {
	plugin.NetRPCUnsupportedPlugin
	service *testService
}

func (g glue) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	agentv1.RegisterAgentServiceServer(s, g.service)
	return nil
}

func (glue) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// testService is an agent that behaves as the sender's local part says.
type testService struct {
	agentv1.UnimplementedAgentServiceServer
	how    string
	stdout *os.File
}

func (s *testService) subs() []*agentv1.Subscription {
	decide := func(e agentv1.EventType, c agentv1.Subscription_Content) *agentv1.Subscription {
		return &agentv1.Subscription{Event: e, Mode: agentv1.Subscription_MODE_DECIDE, Content: c}
	}
	subs := []*agentv1.Subscription{
		decide(agentv1.EventType_EVENT_TYPE_MAIL_COMMAND, agentv1.Subscription_CONTENT_NONE),
		decide(agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, agentv1.Subscription_CONTENT_NONE),
		decide(agentv1.EventType_EVENT_TYPE_END_OF_HEADERS, agentv1.Subscription_CONTENT_HEADERS),
		{Event: agentv1.EventType_EVENT_TYPE_DISCONNECT, Mode: agentv1.Subscription_MODE_NOTIFY},
	}
	if s.how == "wants-more" {
		subs = append(subs, decide(agentv1.EventType_EVENT_TYPE_EHLO_COMMAND, agentv1.Subscription_CONTENT_NONE))
	}
	if s.how == "endofdata" {
		subs = append(subs, decide(agentv1.EventType_EVENT_TYPE_END_OF_DATA, agentv1.Subscription_CONTENT_NONE))
	}
	return subs
}

func (s *testService) Describe(context.Context, *agentv1.DescribeRequest) (*agentv1.DescribeResponse, error) {
	f := &agentv1.Factory{
		Name: "test", Description: "behaves as told", Subscriptions: s.subs(),
		Permissions: []agentv1.Permission{agentv1.Permission_PERMISSION_READ_HEADERS, agentv1.Permission_PERMISSION_REJECT},
	}
	if s.how == "wants-more" {
		f.Permissions = append(f.Permissions, agentv1.Permission_PERMISSION_CHANGE_RECIPIENTS, agentv1.Permission_PERMISSION_SUBMIT)
		f.ChangesRecipientsAt = agentv1.EventType_EVENT_TYPE_END_OF_HEADERS
	}
	r := &agentv1.DescribeResponse{AgentVersion: "1.0", Factories: []*agentv1.Factory{f}}
	if s.how == "two" {
		g := proto.Clone(f).(*agentv1.Factory)
		g.Name = "other"
		r.Factories = append(r.Factories, g)
	}
	return r, nil
}

func (s *testService) Configure(_ context.Context, q *agentv1.ConfigureRequest) (*agentv1.ConfigureResponse, error) {
	if !q.ValidateOnly {
		fmt.Fprintln(os.Stderr, "configured for good")
	}
	r := &agentv1.ConfigureResponse{AgentVersion: "1.0", Subscriptions: s.subs(), Capabilities: q.Capabilities}
	if strings.Contains(string(q.Settings), "bad") || slices.Contains(q.AcceptedDomains, "bad.example") {
		r.Errors = []*agentv1.FieldError{{Field: "separator", Problem: "must be one character"}}
	}
	if strings.Contains(string(q.Settings), "idle") {
		r.Subscriptions = nil
	}
	if s.how == "plain" {
		r.Capabilities = nil
	}
	if s.how == "onesession" {
		r.MaxConcurrentSessions = 1
	}
	if s.how == "stdoutline" {
		go fmt.Fprintln(s.stdout, strings.Repeat("y", 1<<20))
	}
	return r, nil
}

func (s *testService) Watch(_ *agentv1.WatchRequest, w grpc.ServerStreamingServer[agentv1.AgentStatus]) error {
	for {
		state := agentv1.AgentStatus_STATE_READY
		if s.how == "unwell" {
			state = agentv1.AgentStatus_STATE_RESTART_ME
		}
		if err := w.Send(&agentv1.AgentStatus{State: state, Detail: "no table"}); err != nil {
			return err
		}
		select {
		case <-time.After(heartbeat):
		case <-w.Context().Done():
			return nil
		}
	}
}

// Session answers each event with a reason that tells what the agent has seen.
func (s *testService) Session(stream grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]) error {
	if s.how == "deaf" {
		<-stream.Context().Done()
		return nil
	}
	var seen sight
	for {
		in, err := stream.Recv()
		if err != nil {
			return nil
		}
		switch f := in.Frame.(type) {
		case *agentv1.HostFrame_Start:
			seen = sight{session: f.Start.SessionId, resumed: f.Start.Resumed}
		case *agentv1.HostFrame_State:
			seen.chunks++
		case *agentv1.HostFrame_End:
			for _, e := range f.End.Events {
				seen.look(e)
				fmt.Fprintln(os.Stderr, "told at the end:", seen.session, e.Type, e.GetDisconnect().GetReason())
			}
			if s.how == "returns" {
				return nil
			}
			if err := stream.Send(&agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Ended{Ended: &agentv1.SessionEnded{}}}); err != nil {
				return err
			}
		case *agentv1.HostFrame_Events:
			if n := len(f.Events.Events); n > 1 && s.how == "plain" {
				return fmt.Errorf("%d events in a frame", n)
			}
			for _, e := range f.Events.Events {
				seen.look(e)
				if e.Notify {
					continue
				}
				answer := s.judge(stream, e, &seen)
				if answer == nil {
					return nil
				}
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
		}
	}
}

// sight is what an agent has been shown of a session.
type sight struct {
	session string
	resumed bool
	events  int
	chunks  int
	parts   string // of the last event: attached parts, in short
}

func (s *sight) look(e *agentv1.Event) {
	s.events++
	s.parts = ""
	for _, p := range []struct {
		there bool
		name  string
	}{{e.Connection != nil, "C"}, {e.Client != nil, "c"}, {e.Envelope != nil, "e"}, {e.Headers != nil, "h"}, {len(e.Properties) > 0, "p"}} {
		if p.there {
			s.parts += p.name
		}
	}
}

func (s *testService) judge(stream grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame], e *agentv1.Event, seen *sight) *agentv1.AgentFrame {
	v := &agentv1.Verdict{Seq: e.Seq, Reason: fmt.Sprintf("%s resumed=%t events=%d parts=%s chunks=%d pid=%d",
		seen.session, seen.resumed, seen.events, seen.parts, seen.chunks, os.Getpid())}
	all := []*agentv1.Verdict{v}
	if s.how == "shaky" {
		syscall.Exit(5)
	}
	local, _, _ := strings.Cut(e.GetMail().GetAddress(), "@")
	switch local {
	case "crash":
		syscall.Exit(4)
	case "hog":
		v.Reason = fmt.Sprint(len(bytes.Repeat([]byte("x"), 400<<20)))
	case "look":
		look()
	case "spawn":
		child := exec.Command("sleep", "1000")
		if err := child.Start(); err != nil {
			panic(err)
		}
		v.Reason = fmt.Sprint(child.Process.Pid)
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-stream.Context().Done() // threads stop one after the other: no verdict meanwhile
		return nil
	case "slow":
		select {
		case <-time.After(100 * time.Millisecond):
		case <-stream.Context().Done():
		}
	case "flood":
		line := strings.Repeat("w", 1<<20) + "\n"
		for range 16 {
			_, _ = os.Stderr.WriteString(line)
			_, _ = os.Stderr.WriteString(strings.Repeat("\x1b[2J\n", 1<<12))
		}
	case "never":
		<-stream.Context().Done()
		return nil
	case "large":
		v.Reason = strings.Repeat("z", 5<<20)
	case "wrongseq":
		v.Seq += 7
	case "twice":
		all = append(all, v)
	case "ends":
		fmt.Fprintln(os.Stderr, "shown and ended")
		return nil
	case "unknown":
		v.Action = 77
	case "read":
		return &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Read{Read: &agentv1.ReadContent{}}}
	case "submit":
		v.Reason = submitOne(stream)
	case "fails":
		v.Failure = &agentv1.Failure{Detail: "database away"}
	case "reject":
		v.Action = agentv1.Action_ACTION_REJECT
		v.Reply = &agentv1.Reply{Code: 550, Enhanced: "5.7.1", Lines: []string{"no"}}
	}
	return &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Verdicts{Verdicts: &agentv1.Verdicts{Verdicts: all}}}
}
