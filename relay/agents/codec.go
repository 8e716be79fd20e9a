package agents

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	protobuf "google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
)

// frameCodec is gRPC's own codec for protobuf with fewer objects for each event: what is sent
// is encoded into buffers that are used again, and the frame of verdicts of an agent is
// decoded into the one before it. On the wire nothing differs.
type frameCodec struct{ encoding.CodecV2 }

var codec = frameCodec{encoding.GetCodecV2(proto.Name)}

// pooled is a size from which gRPC gives buffers back to their pool.
const pooled = 4 << 10

// Marshal encodes a message.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*agentv1.HostFrame)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := protobuf.Size(f)
	pool := mem.DefaultBufferPool()
	buf := pool.Get(max(size, pooled))
	out, err := protobuf.MarshalOptions{UseCachedSize: true}.MarshalAppend((*buf)[:0], f)
	if err != nil {
		pool.Put(buf)
		return nil, err
	}
	*buf = out
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// Unmarshal decodes a message. An agent's frame is the receiver's until the next one.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*agentv1.AgentFrame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if old, ok := f.Frame.(*agentv1.AgentFrame_Verdicts); ok && old.Verdicts != nil {
		clear(old.Verdicts.Verdicts) // the verdicts themselves are the receiver's
		old.Verdicts.Verdicts = old.Verdicts.Verdicts[:0]
	} else {
		f.Reset()
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	// A frame that this host does not know leaves a frame of no verdicts, which is ignored like it.
	return protobuf.UnmarshalOptions{Merge: true, DiscardUnknown: true}.Unmarshal(buf.ReadOnlyData(), f)
}
