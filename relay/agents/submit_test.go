package agents

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// submitOne is an agent that submits a message and tells what it heard.
func submitOne(stream grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]) string {
	err := stream.Send(&agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Submit{Submit: &agentv1.Submit{
		SubmitId: 7, From: &agentv1.Mailbox{Address: "robot@example.org", Params: []*agentv1.EsmtpParam{{Key: "RET", Value: "HDRS"}}},
		Recipients: []*agentv1.Mailbox{{Address: "a@example.org"}, {Address: "b@example.org"}}, Message: []byte("From: x\r\n\r\n"),
	}}})
	if err != nil {
		return err.Error()
	}
	in, err := stream.Recv()
	if err != nil {
		return err.Error()
	}
	r := in.GetSubmitResult()
	return fmt.Sprintf("%d %s %d %s %s: %s", r.GetSubmitId(), r.GetMessageId(), r.GetReply().GetCode(), r.GetReply().GetEnhanced(),
		r.GetFailure().GetKind(), r.GetFailure().GetDetail())
}

// post is who takes submissions, after a time.
type post struct {
	takes    time.Duration
	deadline time.Time
	result   event.Submitted
	got      *event.Submission
}

func (p *post) Deadline() time.Time { return p.deadline }

func (p *post) Submit(_ context.Context, m *event.Submission) event.Submitted {
	p.got = m
	<-time.After(p.takes)
	return p.result
}

func TestSubmissionIsServedWhileTheEventWaits(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	later := time.Now().Add(time.Minute)
	for _, tt := range []struct {
		name string
		by   event.Submitter
		want string
	}{
		{"taken", &post{deadline: later, result: event.Submitted{ID: "m.1", Reply: reply.New(250, reply.Enhanced{Subject: 6}, "ok")}}, "7 m.1 250 2.6.0 KIND_UNSPECIFIED: "},
		{"refused", &post{deadline: later, result: event.Submitted{ID: "m.1", Reply: reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "no")}}, "7 m.1 550 5.1.1 KIND_UNSPECIFIED: "},
		{"not reached", &post{deadline: later, result: event.Submitted{ID: "m.1", Err: errors.New("nobody there"), Later: true}}, "7 m.1 0  KIND_TRANSIENT: nobody there"},
		{"not granted", &post{deadline: later, result: event.Submitted{Err: errors.New("no")}}, "7  0  KIND_CONFIG: no"},
		{"nobody takes any", nil, "7  0  KIND_CONFIG: nothing can be submitted here"},
		{"longer than the agent has", &post{deadline: later, takes: time.Second, result: event.Submitted{ID: "m.1"}}, "7 m.1 0  KIND_UNSPECIFIED: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, state := a.Open("s"), newState("s")
			defer c.End(nil, state, event.DisconnectQuit)
			state.Submitter = tt.by
			v, err := mailFrom(t, c, state, 1, "submit", 500*time.Millisecond)
			if err != nil || strings.TrimSpace(v.Reason) != strings.TrimSpace(tt.want) {
				t.Errorf("%q, %v, want %q", v.Reason, err, tt.want)
			}
			if p, ok := tt.by.(*post); ok && (p.got == nil || p.got.From.Mailbox != "robot@example.org" || p.got.From.Params.String() != " RET=HDRS" ||
				len(p.got.To) != 2 || string(p.got.Message) != "From: x\r\n\r\n") {
				t.Errorf("taken was %+v", p.got)
			}
			if v, err := mailFrom(t, c, state, 2, "a", 5*time.Second); err != nil || !strings.Contains(v.Reason, "events=2 ") {
				t.Errorf("the next event: %q, %v", v.Reason, err)
			}
		})
	}
}

// The event's chain ends when it ends, whoever is to blame.
func TestSubmissionDoesNotMakeTheChainLonger(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("s"), newState("s")
	defer c.End(nil, state, event.DisconnectQuit)
	d := deliberation{ctx: t.Context(), state: state, deadline: time.Now().Add(time.Minute)}
	if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	chain := time.Now().Add(time.Minute + time.Millisecond)
	state.Submitter = &post{deadline: chain, takes: 20 * time.Millisecond}
	c.stream.arm(time.Minute)
	if err := c.stream.submit(&d, &agentv1.Submit{}); err != nil || !d.deadline.Equal(chain) {
		t.Errorf("%v, the agent has until %v, want %v", err, d.deadline, chain)
	}
	c.stream.disarm()
}

func TestSubmissionThatWasNotAgreedOnBreaksTheContract(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "plain").Open("s"), newState("s")
	defer c.End(nil, state, event.DisconnectQuit)
	if _, err := mailFrom(t, c, state, 1, "submit", 5*time.Second); !errors.Is(err, event.ErrProtocol) || !strings.Contains(err.Error(), "submission") {
		t.Errorf("error %v", err)
	}
}
