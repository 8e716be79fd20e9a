package agent

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
)

// script is a Session stream that plays the host's frames and keeps the agent's.
type script struct {
	ctx  context.Context
	host []*agentv1.HostFrame
	got  []*agentv1.AgentFrame
}

func (s *script) Context() context.Context     { return s.ctx }
func (s *script) SetHeader(metadata.MD) error  { return nil }
func (s *script) SendHeader(metadata.MD) error { return nil }
func (s *script) SetTrailer(metadata.MD)       {}
func (s *script) Recv() (*agentv1.HostFrame, error) {
	f := &agentv1.HostFrame{}
	return f, s.RecvMsg(f)
}
func (s *script) Send(f *agentv1.AgentFrame) error { return s.SendMsg(f) }
func (s *script) RecvMsg(m any) error {
	if len(s.host) == 0 {
		return io.EOF
	}
	proto.Reset(m.(proto.Message))
	proto.Merge(m.(proto.Message), s.host[0])
	s.host = s.host[1:]
	return nil
}
func (s *script) SendMsg(m any) error {
	s.got = append(s.got, proto.Clone(m.(proto.Message)).(*agentv1.AgentFrame))
	return nil
}

func start(id string, properties ...*agentv1.Property) *agentv1.HostFrame {
	return &agentv1.HostFrame{Frame: &agentv1.HostFrame_Start{Start: &agentv1.SessionStart{SessionId: id, Resumed: true, Properties: properties}}}
}

func events(list ...*agentv1.Event) *agentv1.HostFrame {
	return &agentv1.HostFrame{Frame: &agentv1.HostFrame_Events{Events: &agentv1.Events{Events: list, TimeoutMs: 1000}}}
}

func end(list ...*agentv1.Event) *agentv1.HostFrame {
	return &agentv1.HostFrame{Frame: &agentv1.HostFrame_End{End: &agentv1.SessionEnd{Events: list}}}
}

func configured(t testing.TB, value any) *service {
	t.Helper()
	s, err := NewService(slog.New(slog.NewTextHandler(t.Output(), nil)), New("x", value))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Configure(t.Context(), &agentv1.ConfigureRequest{AgentName: "me"}); err != nil || len(r.Errors) > 0 {
		t.Fatal(r, err)
	}
	return s.(*service)
}

// teller rejects with what it sees.
type teller struct{}

var word = SessionKey[string]("word")

func (teller) OnRcptCommand(_ context.Context, m *Message, rcpt Recipient) Verdict {
	return Reject(m.ID(), rcpt.Address(), word.Get(m))
}

func (teller) OnEndOfHeaders(_ context.Context, m *Message) Verdict {
	return Reject(m.ID(), m.From().Address(), m.Header().Text("Subject"))
}

func TestStreamServesOneSessionAfterTheOther(t *testing.T) {
	s := &script{ctx: t.Context()}
	envelope := &agentv1.Envelope{From: &agentv1.Mailbox{Address: "s@example.com"}, MessageId: "m1"}
	headers := &agentv1.HeaderBlock{Raw: []byte("Subject: large\r\n"), End: []uint32{16}}
	whole, err := proto.Marshal(headers)
	if err != nil {
		t.Fatal(err)
	}
	chunk := func(data []byte, last bool) *agentv1.HostFrame {
		return &agentv1.HostFrame{Frame: &agentv1.HostFrame_State{State: &agentv1.StateChunk{
			Part: agentv1.StateChunk_PART_HEADERS, Data: data, Last: last}}}
	}
	s.host = []*agentv1.HostFrame{
		start("s1", &agentv1.Property{Scope: agentv1.Property_SCOPE_SESSION, Key: "me/word", Value: []byte(`"w"`)}),
		// Two decisions in one frame, and an event nobody bound.
		events(
			&agentv1.Event{Seq: 1, Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, Envelope: envelope, Detail: &agentv1.Event_Rcpt{Rcpt: &agentv1.Mailbox{Address: "a@example.org"}}},
			&agentv1.Event{Seq: 2, Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, Detail: &agentv1.Event_Rcpt{Rcpt: &agentv1.Mailbox{Address: "b@example.org"}}},
			&agentv1.Event{Seq: 3, Type: 200}),
		chunk(whole[:5], false), chunk(whole[5:], true),
		events(&agentv1.Event{Seq: 4, Type: agentv1.EventType_EVENT_TYPE_END_OF_HEADERS}),
		{}, // a frame of a later version
		end(),
		start("s2"),
		events(&agentv1.Event{Seq: 1, Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, Detail: &agentv1.Event_Rcpt{Rcpt: &agentv1.Mailbox{Address: "c@example.org"}}}),
		end(),
	}
	if err := configured(t, teller{}).Session(s); err != nil {
		t.Fatal(err)
	}
	reject := func(seq uint32, lines ...string) *agentv1.Verdict {
		return &agentv1.Verdict{Seq: seq, Action: agentv1.Action_ACTION_REJECT, Reply: &agentv1.Reply{Code: 550, Enhanced: "5.7.1", Lines: lines}}
	}
	verdicts := func(list ...*agentv1.Verdict) *agentv1.AgentFrame {
		return &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Verdicts{Verdicts: &agentv1.Verdicts{Verdicts: list}}}
	}
	want := []*agentv1.AgentFrame{
		verdicts(reject(1, "m1", "a@example.org", "w"), reject(2, "m1", "b@example.org", "w"), &agentv1.Verdict{Seq: 3}),
		verdicts(reject(4, "m1", "s@example.com", "large")),
		sessionEnded,
		verdicts(reject(1, "c@example.org")),
		sessionEnded,
	}
	if len(s.got) != len(want) {
		t.Fatalf("got %d frames, want %d: %v", len(s.got), len(want), s.got)
	}
	for i := range want {
		if !proto.Equal(s.got[i], want[i]) {
			t.Errorf("frame %d = %v, want %v", i, s.got[i], want[i])
		}
	}
}

// hoarder makes more edits than a frame can take.
type hoarder struct{}

func (hoarder) OnEndOfHeaders(_ context.Context, m *Message) Verdict {
	m.Header().AddRaw("X-Large", string(bytes.Repeat([]byte("x"), 2<<20)))
	return Verdict{}
}

func TestEditsTooLargeForAFrameAreAFailureWithTheirSize(t *testing.T) {
	s := &script{ctx: t.Context(), host: []*agentv1.HostFrame{start("s1"), events(&agentv1.Event{Seq: 1, Type: agentv1.EventType_EVENT_TYPE_END_OF_HEADERS})}}
	if err := configured(t, hoarder{}).Session(s); err != nil {
		t.Fatal(err)
	}
	v := s.got[0].GetVerdicts().Verdicts[0]
	if want := "edits of 2097171 bytes; a verdict may have 1044480"; v.Failure.GetDetail() != want || len(v.Edits) != 0 {
		t.Errorf("failure %q with %d edits, want %q", v.Failure.GetDetail(), len(v.Edits), want)
	}
}

func TestEventsBeforeASessionAreAnError(t *testing.T) {
	s := &script{ctx: t.Context(), host: []*agentv1.HostFrame{events(&agentv1.Event{})}}
	if err := configured(t, teller{}).Session(s); err == nil {
		t.Error("taken")
	}
}

func TestSettingsChangeForNewSessionsOnly(t *testing.T) {
	type settings struct {
		Text string `json:"text"`
	}
	p, err := NewService(slog.New(slog.DiscardHandler), Build("x", func(s Setup) (speaker, error) {
		var v settings
		err := s.Settings(&v)
		return speaker{v.Text}, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	configure := func(json string, only bool) int {
		r, err := p.Configure(t.Context(), &agentv1.ConfigureRequest{Settings: []byte(json), ValidateOnly: only})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Errors)
	}
	configure(`{"text":"old"}`, false)
	s := &script{ctx: t.Context(), host: []*agentv1.HostFrame{start("s1")}}
	c := newConversation(p.(*service), s)
	if err := c.run(); err != nil {
		t.Fatal(err)
	}
	if n := configure(`{"text":1}`, false); n != 1 {
		t.Errorf("%d errors, want 1", n)
	}
	configure(`{"text":"tried out"}`, true)
	connect := &agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_CONNECT}
	s.host = []*agentv1.HostFrame{events(connect)}
	_ = c.run()
	configure(`{"text":"new"}`, false)
	s.host = []*agentv1.HostFrame{events(connect), start("s2"), events(connect)}
	_ = c.run()
	for i, want := range []string{"old", "old", "new"} {
		if got := s.got[i].GetVerdicts().Verdicts[0].Reply.Lines[0]; got != want {
			t.Errorf("answer %d = %s, want %s", i, got, want)
		}
	}
}

type speaker struct{ text string }

func (s speaker) OnConnect(context.Context, *Session) Verdict { return Reject(s.text) }

// passer decides and does nothing: what an event costs the agent's side, but for the wire.
type passer struct{}

func (passer) OnRcptCommand(context.Context, *Message, Recipient) Verdict { return Verdict{} }

func TestADecidedEventAllocatesLittle(t *testing.T) {
	s := &sink{script{ctx: t.Context()}}
	c := newConversation(configured(t, passer{}), s)
	c.begin(&agentv1.SessionStart{})
	c.session.message = newMessage(c.session)
	f := events(&agentv1.Event{Seq: 1, Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, Detail: &agentv1.Event_Rcpt{Rcpt: &agentv1.Mailbox{Address: "a@example.org"}}}).GetEvents()
	got := testing.AllocsPerRun(100, func() {
		if err := c.answer(f); err != nil {
			t.Fatal(err)
		}
	})
	if got > 1 { // the deadline
		t.Errorf("%v allocations an event, want at most 1", got)
	}
}

// sink takes the agent's frames and drops them.
type sink struct{ script }

func (*sink) SendMsg(any) error { return nil }

// bodyReader reads the body with what the host sends.
type bodyReader struct{}

func (bodyReader) OnEndOfData(_ context.Context, m *Message) Verdict {
	all, err := io.ReadAll(m.Body())
	if err != nil {
		return Fail(err)
	}
	return Continue().Because(string(all))
}

// A host of a version to come, and one that breaks the contract in the middle of a handler.
func TestReadingABodyFromAnyHost(t *testing.T) {
	chunk := func(offset uint64, data string, last bool) *agentv1.HostFrame {
		return &agentv1.HostFrame{Frame: &agentv1.HostFrame_Content{Content: &agentv1.ContentChunk{Offset: offset, Data: []byte(data), Last: last}}}
	}
	stranger := &agentv1.HostFrame{}
	stranger.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 4000, protowire.VarintType), 1))
	for _, tc := range []struct {
		name     string
		host     []*agentv1.HostFrame
		ref      *agentv1.ContentRef
		reason   string
		failure  string
		streamOK bool
	}{
		{"frames of a later version between", []*agentv1.HostFrame{stranger, chunk(0, "bo", false), stranger, chunk(2, "dy", true)}, nil, "body", "", true},
		{"a failure", []*agentv1.HostFrame{{Frame: &agentv1.HostFrame_Content{Content: &agentv1.ContentChunk{
			Last: true, Failure: &agentv1.Failure{Detail: "disk"}}}}}, nil, "", "body: the relay cannot read it: disk", true},
		{"too short", []*agentv1.HostFrame{chunk(0, "bo", true)}, nil, "", "unexpected EOF", true},
		{"another place", []*agentv1.HostFrame{chunk(1, "ody", true)}, nil, "", "body: the relay sent octets from 1 on, asked were those from 0", true},
		{"a way of a later version", nil, &agentv1.ContentRef{BodySize: 4}, "",
			"body: the relay gives it in a way that this version of the package does not know", true},
		{"a file that is not there", nil, &agentv1.ContentRef{BodySize: 4, Where: &agentv1.ContentRef_File{File: &agentv1.FileRef{Path: "/nowhere/message"}}}, "",
			"body: the file that the relay has named: open /nowhere/message: no such file or directory", true},
		{"events before the verdict", []*agentv1.HostFrame{events()}, nil, "", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.ref == nil {
				tc.ref = &agentv1.ContentRef{BodySize: 4, Where: &agentv1.ContentRef_OnDemand{OnDemand: true}}
			}
			s := &script{ctx: t.Context(), host: append([]*agentv1.HostFrame{start("s1"),
				events(&agentv1.Event{Seq: 1, Type: agentv1.EventType_EVENT_TYPE_END_OF_DATA, Content: tc.ref})}, tc.host...)}
			p := configured(t, bodyReader{})
			_, err := p.Configure(t.Context(), &agentv1.ConfigureRequest{
				AgentName: "me", Capabilities: []agentv1.Capability{99, agentv1.Capability_CAPABILITY_CONTENT_READ},
				Granted: []agentv1.Permission{agentv1.Permission_PERMISSION_READ_BODY},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Session(s); (err == nil) != tc.streamOK {
				t.Fatalf("the stream: %v", err)
			}
			if !tc.streamOK {
				return
			}
			v := s.got[len(s.got)-1].GetVerdicts().Verdicts[0]
			if v.Reason != tc.reason || v.Failure.GetDetail() != tc.failure {
				t.Errorf("reason %q, failure %q", v.Reason, v.Failure.GetDetail())
			}
		})
	}
}

// What both sides can is in force, whatever else a host names.
func TestCapabilitiesAreNegotiated(t *testing.T) {
	p := configured(t, passer{})
	q := &agentv1.ConfigureRequest{Capabilities: []agentv1.Capability{99, agentv1.Capability_CAPABILITY_UPLOAD_FILE, agentv1.Capability_CAPABILITY_RESUME}}
	q.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 4000, protowire.VarintType), 1))
	r, err := p.Configure(t.Context(), q)
	if err != nil || len(r.Errors) > 0 {
		t.Fatal(r, err)
	}
	if len(r.Capabilities) != 1 || r.Capabilities[0] != agentv1.Capability_CAPABILITY_RESUME {
		t.Errorf("capabilities %v", r.Capabilities)
	}
}
