package main

import (
	"bytes"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// tampered makes a verdict whose reason tells the stream below what to make of it: the SDK
// itself says nothing that breaks the protocol.
func tampered(how string) func(*faulty, *agent.Message) agent.Verdict {
	return func(*faulty, *agent.Message) agent.Verdict { return agent.Continue().Because(tamper + how) }
}

const (
	tamper = "tamper: "
	huge   = 5 << 20
)

type tamperer struct{ agentv1.AgentServiceServer }

func (t tamperer) Session(stream grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]) error {
	return t.AgentServiceServer.Session(&tamperedStream{stream})
}

type tamperedStream struct {
	grpc.BidiStreamingServer[agentv1.HostFrame, agentv1.AgentFrame]
}

// SendMsg breaks the verdicts that ask for it.
func (s *tamperedStream) SendMsg(m any) error {
	frame, ok := m.(*agentv1.AgentFrame)
	if !ok || len(frame.GetVerdicts().GetVerdicts()) == 0 {
		return s.BidiStreamingServer.SendMsg(m)
	}
	list := frame.GetVerdicts()
	v := list.Verdicts[len(list.Verdicts)-1]
	how, ok := strings.CutPrefix(v.Reason, tamper)
	if !ok {
		return s.BidiStreamingServer.SendMsg(m)
	}
	broken := proto.CloneOf(frame)
	v = broken.GetVerdicts().Verdicts[len(list.Verdicts)-1]
	switch how {
	case "huge":
		v.Reason = strings.Repeat("x", huge)
	case "huge-edit":
		v.Edits = append(v.Edits, &agentv1.Edit{Op: &agentv1.Edit_AddHeader{AddHeader: &agentv1.AddHeader{
			Name: "X-Huge", Value: bytes.Repeat([]byte("x"), huge)}}})
	case "seq":
		v.Seq += 1000
	case "twice":
		broken.GetVerdicts().Verdicts = append(broken.GetVerdicts().Verdicts, v)
	case "class":
		v.Action, v.Reply = agentv1.Action_ACTION_REJECT, &agentv1.Reply{Code: 250, Lines: []string{"ok"}}
	case "defer":
		v.Action = agentv1.Action_ACTION_DEFER
	case "ungranted":
		v.Edits = append(v.Edits, &agentv1.Edit{Op: &agentv1.Edit_SetSender{SetSender: &agentv1.Mailbox{Address: "other@example.org"}}})
	case "gone":
		v.Edits = append(v.Edits, &agentv1.Edit{Op: &agentv1.Edit_RemoveHeader{RemoveHeader: &agentv1.RemoveHeader{
			Which: &agentv1.RemoveHeader_Id{Id: 9999}}}})
	case "many":
		for range 10_000 {
			v.Edits = append(v.Edits, &agentv1.Edit{Op: &agentv1.Edit_AddHeader{AddHeader: &agentv1.AddHeader{Name: "X-Many", Value: []byte(" 1")}}})
		}
	case "close":
		return io.EOF
	}
	return s.BidiStreamingServer.SendMsg(broken)
}
