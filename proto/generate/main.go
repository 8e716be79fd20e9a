// Command generate compiles the .proto files below its folder into Go, without
// protoc and without a network: protocompile parses, and the two generators run
// as the tools that go.mod pins.
//
// Beside the Go code of the contract with agents it writes agent.binpb, the contract as a
// FileDescriptorSet: what a language needs to build its stubs where there is no protoc. With
// -release the same is written as released.binpb, which a test holds later versions against:
// a step of each release, and of nothing else.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// A source is registered under a path of its own in every binary that links it:
// two files of one path panic at start.
var sources = map[string]string{
	"relay/agent/v1/agent.proto":     "agent/v1/agent.proto",
	"relay/control/v1/control.proto": "control/v1/control.proto",
}

// What is also committed as a descriptor set, by its source file.
var descriptorSets = map[string]string{
	"agent/v1/agent.proto": "agent/v1/agent.binpb",
}

// Folders that are copied to servers as they are have a copy of the descriptor set in them.
var copies = map[string][]string{
	"agent/v1/agent.binpb": {"plugins/examples/python/relayagent", "plugins/examples/node/relayagent"},
}

func main() {
	log.SetFlags(0)
	root := flag.String("root", "proto", "the folder that holds agent/v1 and control/v1")
	release := flag.Bool("release", false, "take the contract with agents as released")
	repository := flag.String("copies", ".", "the folder below which the copies go; empty: none are made")
	flag.Parse()
	for path, file := range sources {
		if err := generate(*root, path, file); err != nil {
			log.Fatalf("generate %s: %v", file, err)
		}
	}
	if *release {
		if err := freeze(*root); err != nil {
			log.Fatal(err)
		}
	}
	if *repository == "" {
		return
	}
	for set, dirs := range copies {
		for _, dir := range dirs {
			if err := copyInto(filepath.Join(*repository, dir), filepath.Join(*root, set)); err != nil {
				log.Fatal(err)
			}
		}
	}
}

func copyInto(dir, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o644)
}

func generate(root, path, file string) error {
	src, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return err
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{path: string(src)}),
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), path)
	if err != nil {
		return err
	}
	descriptor := protodesc.ToFileDescriptorProto(files[0])
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{path},
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{descriptor},
	}
	for _, tool := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := run(tool, request, filepath.Dir(filepath.Join(root, file))); err != nil {
			return fmt.Errorf("%s: %w", tool, err)
		}
	}
	if set, ok := descriptorSets[file]; ok {
		return writeSet(filepath.Join(root, set), descriptor)
	}
	return nil
}

// writeSet writes the file as a FileDescriptorSet, as protoc --descriptor_set_out does:
// without the comments, which are for readers of the .proto.
func writeSet(name string, descriptor *descriptorpb.FileDescriptorProto) error {
	descriptor = proto.CloneOf(descriptor)
	descriptor.SourceCodeInfo = nil
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{descriptor}}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

func freeze(root string) error {
	data, err := os.ReadFile(filepath.Join(root, "agent/v1/agent.binpb"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "agent/v1/released.binpb"), data, 0o644)
}

// run feeds the request to a generator and writes the files it answers with.
func run(tool string, request *pluginpb.CodeGeneratorRequest, dir string) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.Command("go", "tool", tool)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out.Bytes(), &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, f := range response.File {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f.GetName())), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
