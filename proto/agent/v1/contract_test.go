package agentv1

import (
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Agents in other languages build their stubs from agent.binpb: it must say what the Go code
// says.
func TestDescriptorSetIsTheContract(t *testing.T) {
	set := readSet(t, "agent.binpb")
	if len(set.File) != 1 {
		t.Fatalf("%d files, want 1", len(set.File))
	}
	if want := protodesc.ToFileDescriptorProto(File_relay_agent_v1_agent_proto); !proto.Equal(set.File[0], want) {
		t.Error("agent.binpb is not what agent.pb.go was made from: run 'make generate'")
	}
}

func readSet(t *testing.T, name string) *descriptorpb.FileDescriptorSet {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	return &set
}
