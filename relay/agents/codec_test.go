package agents

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
)

func decodeInto(t *testing.T, f *agentv1.AgentFrame, wire []byte) {
	t.Helper()
	if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, f); err != nil {
		t.Fatal(err)
	}
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func verdictFrame(v ...*agentv1.Verdict) *agentv1.AgentFrame {
	return &agentv1.AgentFrame{Frame: &agentv1.AgentFrame_Verdicts{Verdicts: &agentv1.Verdicts{Verdicts: v}}}
}

// Nothing of the frame before is in the next one, whatever they are; and what was read of the
// one before stays as it was.
func TestCodecDecodesEachFrameAfresh(t *testing.T) {
	frames := []*agentv1.AgentFrame{
		verdictFrame(&agentv1.Verdict{Seq: 1, Action: agentv1.Action_ACTION_REJECT, Reason: "one", Edits: []*agentv1.Edit{
			{Op: &agentv1.Edit_RemoveHeader{RemoveHeader: &agentv1.RemoveHeader{Which: &agentv1.RemoveHeader_Id{Id: 3}}}},
		}}),
		verdictFrame(&agentv1.Verdict{Seq: 2}),
		verdictFrame(&agentv1.Verdict{Seq: 3}, &agentv1.Verdict{Seq: 4, Reason: "four"}),
		{Frame: &agentv1.AgentFrame_Progress{Progress: &agentv1.Progress{ExtendMs: 5}}},
		{Frame: &agentv1.AgentFrame_Ended{Ended: &agentv1.SessionEnded{}}},
		verdictFrame(),
		verdictFrame(&agentv1.Verdict{Seq: 6}),
	}
	for _, first := range frames {
		for _, second := range frames {
			f := &agentv1.AgentFrame{}
			decodeInto(t, f, encoded(t, first))
			kept := f.GetVerdicts().GetVerdicts()
			kept = append([]*agentv1.Verdict(nil), kept...)
			decodeInto(t, f, encoded(t, second))
			if !proto.Equal(f, second) {
				t.Errorf("after %v: %v, want %v", first, f, second)
			}
			for i, v := range kept {
				if want := first.GetVerdicts().Verdicts[i]; !proto.Equal(v, want) {
					t.Errorf("a verdict that was read before %v became %v, was %v", second, v, want)
				}
			}
		}
	}
}

// Frames that this host does not know are none, and pile up nowhere.
func TestCodecForgetsUnknownFrames(t *testing.T) {
	f := &agentv1.AgentFrame{}
	decodeInto(t, f, encoded(t, verdictFrame(&agentv1.Verdict{Seq: 1})))
	unknown := protowire.AppendTag(nil, 999, protowire.BytesType)
	unknown = protowire.AppendBytes(unknown, bytes.Repeat([]byte("x"), 1000))
	for range 3 {
		decodeInto(t, f, unknown)
		if n := len(f.GetVerdicts().GetVerdicts()); n != 0 {
			t.Fatalf("%d verdicts in an unknown frame", n)
		}
		if n := len(f.ProtoReflect().GetUnknown()) + len(f.GetVerdicts().ProtoReflect().GetUnknown()); n != 0 {
			t.Fatalf("%d octets of unknown frames are kept", n)
		}
	}
}

func TestCodecWritesWhatProtobufWrites(t *testing.T) {
	for _, size := range []int{0, 100, 5000, 900_000} {
		f := &agentv1.HostFrame{Frame: &agentv1.HostFrame_State{State: &agentv1.StateChunk{Data: bytes.Repeat([]byte("x"), size)}}}
		for range 3 {
			data, err := codec.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(data.Materialize(), encoded(t, f)) {
				t.Errorf("%d octets: not what protobuf writes", size)
			}
			data.Free()
		}
	}
}
