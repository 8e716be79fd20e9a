package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
	agentv1 "example.org/relay/proto/agent/v1"
)

func marker(t *testing.T) agent.Factory {
	t.Helper()
	for _, f := range factories() {
		if f.Name() == "marker" {
			return f
		}
	}
	t.Fatal("no factory marker")
	return agent.Factory{}
}

func TestTheProgramIsServable(t *testing.T) {
	if err := agent.Check(factories()...); err != nil {
		t.Error(err)
	}
}

func TestTheSubjectNamesTheFault(t *testing.T) {
	var refused string
	h := agenttest.Start(t, marker(t), agenttest.Config{Refused: func(p string) { refused = p }})
	for _, tc := range []struct{ subject, action, failure, refused string }{
		{"Hello", "continue", "", ""},
		{"fault: sleep 1ms", "continue", "", ""},
		{"fault: panic", "continue", "panic in OnEndOfHeaders: fault on demand", ""},
		{"fault: fail", "continue", "fault on demand", ""},
		{"fault: reject", "reject", "", ""},
		{"fault: inject", "continue", "", "the header value"},
		{"fault: late", "continue", "", "an edit of recipients at OnEndOfHeaders that the factory does not declare"},
	} {
		refused = ""
		got := h.Connect("192.0.2.1").Mail("").EndOfHeaders("Subject: " + tc.subject + "\r\n")
		if got.Verdict.Action != tc.action || got.Verdict.Failure != tc.failure || !strings.HasPrefix(refused, tc.refused) || (refused == "") != (tc.refused == "") {
			t.Errorf("%s: %+v, refused %q", tc.subject, got, refused)
		}
		passed := strings.HasPrefix(got.Header, "X-Fault-Agent: passed\r\n")
		if want := tc.failure == "" && tc.refused == ""; passed != want {
			t.Errorf("%s: passed = %v", tc.subject, passed)
		}
	}
}

// wire keeps what the tampered stream sends.
type wire struct{ sent *agentv1.AgentFrame }

func (*wire) Context() context.Context           { return context.Background() }
func (*wire) SetHeader(metadata.MD) error        { return nil }
func (*wire) SendHeader(metadata.MD) error       { return nil }
func (*wire) SetTrailer(metadata.MD)             {}
func (*wire) Recv() (*agentv1.HostFrame, error)  { return nil, io.EOF }
func (w *wire) Send(f *agentv1.AgentFrame) error { return w.SendMsg(f) }
func (*wire) RecvMsg(any) error                  { return io.EOF }
func (w *wire) SendMsg(m any) error              { w.sent = m.(*agentv1.AgentFrame); return nil }

func TestTamperedVerdicts(t *testing.T) {
	for how, broken := range map[string]func(list []*agentv1.Verdict) bool{
		"huge":      func(l []*agentv1.Verdict) bool { return len(l[0].Reason) == huge },
		"huge-edit": func(l []*agentv1.Verdict) bool { return len(l[0].Edits) == 1 },
		"seq":       func(l []*agentv1.Verdict) bool { return l[0].Seq == 1007 },
		"twice":     func(l []*agentv1.Verdict) bool { return len(l) == 2 },
		"class":     func(l []*agentv1.Verdict) bool { return l[0].Reply.Code == 250 },
		"defer":     func(l []*agentv1.Verdict) bool { return l[0].Action == agentv1.Action_ACTION_DEFER },
		"ungranted": func(l []*agentv1.Verdict) bool { return l[0].Edits[0].GetSetSender() != nil },
		"gone":      func(l []*agentv1.Verdict) bool { return l[0].Edits[0].GetRemoveHeader() != nil },
		"many":      func(l []*agentv1.Verdict) bool { return len(l[0].Edits) == 10_000 },
	} {
		w := &wire{}
		frame := &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Verdicts{Verdicts: &agentv1.Verdicts{
			Verdicts: []*agentv1.Verdict{{Seq: 7, Reason: tamper + how}}}}}
		if err := (&tamperedStream{w}).SendMsg(frame); err != nil || !broken(w.sent.GetVerdicts().Verdicts) {
			t.Errorf("%s: not broken (%v)", how, err)
		}
	}
}
