package agentv1

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The promises at the top of agent.proto: whatever was released is still there, under its
// number, with its name and its type. What is new is welcome. released.binpb is moved forward
// at a release, and only then: go run ./proto/generate -release.
func TestContractKeepsWhatWasReleased(t *testing.T) {
	released := readSet(t, "released.binpb").File[0]
	for _, problem := range broken(released, present()) {
		t.Error(problem)
	}
}

func present() *descriptorpb.FileDescriptorProto {
	return protodesc.ToFileDescriptorProto(File_relay_agent_v1_agent_proto)
}

// broken says what a program made from the old contract would not find in the new one.
func broken(old, now *descriptorpb.FileDescriptorProto) []string {
	var c comparison
	if old.GetPackage() != now.GetPackage() {
		c.add("package %s is now %s", old.GetPackage(), now.GetPackage())
	}
	c.messages("", old.MessageType, now.MessageType)
	c.enums("", old.EnumType, now.EnumType)
	byName(&c, "service ", old.Service, now.Service, func(name string, old, now *descriptorpb.ServiceDescriptorProto) {
		byName(&c, "method "+name+".", old.Method, now.Method, c.method)
	})
	return c.problems
}

type comparison struct{ problems []string }

func (c *comparison) add(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// byName compares each old element with the new one of its name.
func byName[E interface{ GetName() string }](c *comparison, what string, old, now []E, compare func(name string, old, now E)) {
	for _, o := range old {
		found := false
		for _, n := range now {
			if n.GetName() == o.GetName() {
				found = true
				compare(what[strings.Index(what, " ")+1:]+o.GetName(), o, n)
			}
		}
		if !found {
			c.add("%s%s is gone", what, o.GetName())
		}
	}
}

func (c *comparison) messages(in string, old, now []*descriptorpb.DescriptorProto) {
	byName(c, "message "+in, old, now, func(name string, old, now *descriptorpb.DescriptorProto) {
		for _, f := range old.Field {
			c.field(name, f, old, now)
		}
		c.messages(name+".", old.NestedType, now.NestedType)
		c.enums(name+".", old.EnumType, now.EnumType)
	})
}

func (c *comparison) field(message string, f *descriptorpb.FieldDescriptorProto, old, now *descriptorpb.DescriptorProto) {
	for _, n := range now.Field {
		if n.GetNumber() != f.GetNumber() {
			continue
		}
		was, is := shape(f, old), shape(n, now)
		if was != is {
			c.add("field %d of %s was %q and is now %q", f.GetNumber(), message, was, is)
		}
		return
	}
	c.add("field %d of %s, %q, is gone", f.GetNumber(), message, shape(f, old))
}

// shape is all of a field that the wire or generated code knows it by.
func shape(f *descriptorpb.FieldDescriptorProto, in *descriptorpb.DescriptorProto) string {
	s := strings.ToLower(strings.TrimPrefix(f.GetLabel().String(), "LABEL_")) + " "
	switch {
	case f.GetProto3Optional():
		s += "presence "
	case f.OneofIndex != nil:
		s += "oneof " + in.OneofDecl[f.GetOneofIndex()].GetName() + " "
	}
	kind := strings.ToLower(strings.TrimPrefix(f.GetType().String(), "TYPE_"))
	if f.TypeName != nil {
		kind += " " + f.GetTypeName()
	}
	return s + kind + " " + f.GetName()
}

func (c *comparison) enums(in string, old, now []*descriptorpb.EnumDescriptorProto) {
	byName(c, "enum "+in, old, now, func(name string, old, now *descriptorpb.EnumDescriptorProto) {
		byName(c, "value "+name+".", old.Value, now.Value, func(value string, o, n *descriptorpb.EnumValueDescriptorProto) {
			if o.GetNumber() != n.GetNumber() {
				c.add("value %s was %d and is now %d", value, o.GetNumber(), n.GetNumber())
			}
		})
	})
}

func (c *comparison) method(name string, old, now *descriptorpb.MethodDescriptorProto) {
	was, is := proto.CloneOf(old), proto.CloneOf(now)
	was.Options, is.Options = nil, nil
	if !proto.Equal(was, is) {
		c.add("method %s was %v and is now %v", name, was, is)
	}
}

// The comparison sees what it is there for, and minds no addition.
func TestComparisonOfContracts(t *testing.T) {
	message := func(f *descriptorpb.FileDescriptorProto, name string) *descriptorpb.DescriptorProto {
		for _, m := range f.MessageType {
			if m.GetName() == name {
				return m
			}
		}
		t.Fatalf("no message %s", name)
		return nil
	}
	type file = *descriptorpb.FileDescriptorProto
	for _, tc := range []struct {
		name   string
		mutate func(f file)
		want   string // empty: no problem
	}{
		{"nothing", func(file) {}, ""},
		{"field added", func(f file) {
			m := message(f, "Verdict")
			m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{Name: proto.String("new"), Number: proto.Int32(99),
				Type: descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()})
		}, ""},
		{"enum value added", func(f file) {
			f.EnumType[0].Value = append(f.EnumType[0].Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String("NEW"), Number: proto.Int32(99)})
		}, ""},
		{"message and method added", func(f file) {
			f.MessageType = append(f.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("New")})
			f.Service[0].Method = append(f.Service[0].Method, &descriptorpb.MethodDescriptorProto{Name: proto.String("New")})
		}, ""},
		{"fields reordered", func(f file) { m := message(f, "Reply").Field; m[0], m[1] = m[1], m[0] }, ""},
		{"module renamed", func(f file) { f.Options.GoPackage = proto.String("mail.example.net/agent/v1") }, ""},
		{"field removed", func(f file) { m := message(f, "Reply"); m.Field = m.Field[1:] },
			`field 1 of Reply, "optional uint32 code", is gone`},
		{"field renumbered", func(f file) { message(f, "Reply").Field[0].Number = proto.Int32(7) },
			`field 1 of Reply, "optional uint32 code", is gone`},
		{"field retyped", func(f file) { message(f, "Reply").Field[0].Type = descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum() },
			`field 1 of Reply was "optional uint32 code" and is now "optional int64 code"`},
		{"message of a field exchanged", func(f file) { message(f, "Submit").Field[1].TypeName = proto.String(".relay.agent.v1.Route") },
			`field 2 of Submit was "optional message .relay.agent.v1.Mailbox from" and is now "optional message .relay.agent.v1.Route from"`},
		{"field renamed", func(f file) { message(f, "Reply").Field[0].Name = proto.String("status") },
			`field 1 of Reply was "optional uint32 code" and is now "optional uint32 status"`},
		{"cardinality", func(f file) {
			message(f, "Reply").Field[2].Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
		}, `field 3 of Reply was "repeated string lines" and is now "optional string lines"`},
		{"out of its oneof", func(f file) { message(f, "ContentSource").Field[1].OneofIndex = nil },
			`field 2 of ContentSource was "optional oneof from uint32 upload_id" and is now "optional uint32 upload_id"`},
		{"presence", func(f file) {
			m := message(f, "Filter")
			m.Field[2].Proto3Optional, m.Field[2].OneofIndex = nil, nil
		}, `field 3 of Filter was "optional presence bool authenticated" and is now "optional bool authenticated"`},
		{"message removed", func(f file) { message(f, "Reply").Name = proto.String("Answer") }, "message Reply is gone"},
		{"nested enum removed", func(f file) { message(f, "Failure").EnumType = nil }, "enum Failure.Kind is gone"},
		{"enum value removed", func(f file) { f.EnumType[0].Value = f.EnumType[0].Value[1:] },
			"value Capability.CAPABILITY_UNSPECIFIED is gone"},
		{"enum value renumbered", func(f file) { f.EnumType[0].Value[1].Number = proto.Int32(77) },
			"value Capability.CAPABILITY_DEFERRED_EVENTS was 1 and is now 77"},
		{"service removed", func(f file) { f.Service = nil }, "service AgentService is gone"},
		{"method removed", func(f file) { f.Service[0].Method = f.Service[0].Method[1:] }, "method AgentService.Describe is gone"},
		{"method no stream any more", func(f file) { f.Service[0].Method[3].ServerStreaming = nil }, "method AgentService.Session was "},
		{"package", func(f file) { f.Package = proto.String("relay.agent.v2") }, "package relay.agent.v1 is now relay.agent.v2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := present()
			tc.mutate(now)
			got := broken(present(), now)
			switch {
			case tc.want == "" && len(got) != 0:
				t.Errorf("an addition is a problem: %q", got)
			case tc.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tc.want)):
				t.Errorf("problems %q, want %q", got, tc.want)
			}
		})
	}
}
