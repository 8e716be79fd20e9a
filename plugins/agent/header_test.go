package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	agentv1 "example.org/relay/proto/agent/v1"
)

// A line that is no field has no name, and the fields around it can still be edited.
func TestLinesThatAreNoFields(t *testing.T) {
	s := &Session{turn: 1}
	m := newMessage(s)
	raw := " starts: folded\r\nFrom me@x: no\r\nno colon\r\nSubject: s\r\nX-Unterminated: t"
	var ends []uint32
	for i := range raw {
		if raw[i] == '\n' {
			ends = append(ends, uint32(i+1))
		}
	}
	m.header.take(&agentv1.HeaderBlock{Raw: []byte(raw), End: append(ends, uint32(len(raw)))})
	var got []string
	for _, f := range m.Header().Fields() {
		got = append(got, f.Name()+"|"+f.Raw())
	}
	if want := "| starts: folded, |From me@x: no, |no colon, Subject| s, X-Unterminated| t"; strings.Join(got, ", ") != want {
		t.Errorf("fields %q, want %s", got, want)
	}
	m.Header().SetText("Subject", "changed")
	if len(s.edits) != 1 || s.edits[0].GetReplaceHeader().Id != 4 {
		t.Errorf("edits %v", s.edits)
	}
}

func TestAddLastToASectionThatEndsInALine(t *testing.T) {
	for raw, bottom := range map[string]bool{"": true, "A: b\r\n": true, "A: b": false} {
		s := &Session{turn: 1}
		m := newMessage(s)
		b := &agentv1.HeaderBlock{Raw: []byte(raw)}
		if raw != "" {
			b.End = []uint32{uint32(len(raw))}
		}
		m.header.take(b)
		m.Header().AddLast("X", "y")
		if got := s.edits[0].GetAddHeader().GetBottom(); got != bottom {
			t.Errorf("behind %q: at the bottom %v, want %v", raw, got, bottom)
		}
	}
}

// A value that goes through as it came cannot be written anew as it is: the relay would refuse
// the edit, and with it the message.
func TestWritable(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", " a": " a", " a\r\n b": " a\r\n b", " a\r\n\tb\r\n c": " a\r\n\tb\r\n c",
		" a\x00b": " a b", " a\rb": " a b", " a\nb": " a b", " a\r\nb": " a  b", " a\r\n": " a  ", " a\n b": " a  b", " \r\r\n b": "  \r\n b",
	} {
		if got := writable(raw); got != want {
			t.Errorf("writable(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestAFieldWithoutANumberCannotBeEditedLater(t *testing.T) {
	s := &Session{turn: 1}
	m := newMessage(s)
	m.Header().Add("X-A", "b")
	s.nextTurn() // the verdict went out; the relay has not shown the header since
	defer func() {
		if r := recover(); r != "header: X-A: the relay has not numbered this field yet" {
			t.Errorf("recovered %v", r)
		}
	}()
	m.Header().SetText("X-A", "c")
}

// meddle edits whatever it finds.
type meddle struct{}

func (meddle) OnEndOfHeaders(_ context.Context, m *Message) Verdict {
	h := m.Header()
	for i, f := range h.Fields() {
		_ = f.Text()
		switch i % 3 {
		case 0:
			f.SetRaw(f.Raw() + "x")
		case 1:
			f.Remove()
		}
	}
	h.SetText("Subject", h.Text("Subject"))
	for _, r := range m.Recipients() {
		m.ReplaceRecipient(r, r.Address(), Join(r.Local(), r.Domain()))
	}
	return Verdict{}
}

// Whatever a host sends, the agent answers each event once and does not fall over.
func FuzzHostState(f *testing.F) {
	f.Add([]byte("Subject: a\r\nX: b\r\n"), uint32(12), uint32(18), "a@example.org", uint32(1))
	f.Add([]byte(""), uint32(7), uint32(3), `"a b`, uint32(0))
	f.Add([]byte(":\r\n"), uint32(3), uint32(1<<31), "", uint32(9))
	f.Fuzz(func(t *testing.T, raw []byte, end1, end2 uint32, rcpt string, id uint32) {
		p, err := NewService(slog.New(slog.DiscardHandler), New("x", meddle{}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Configure(t.Context(), &agentv1.ConfigureRequest{}); err != nil {
			t.Fatal(err)
		}
		e := &agentv1.Event{
			Seq: 7, Type: agentv1.EventType_EVENT_TYPE_END_OF_HEADERS,
			Envelope: &agentv1.Envelope{MessageId: "m", Recipients: []*agentv1.Mailbox{{Address: rcpt, Id: id}}},
			Headers:  &agentv1.HeaderBlock{Raw: raw, End: []uint32{end1, end2}, Id: []uint32{id}},
		}
		s := &script{ctx: t.Context(), host: []*agentv1.HostFrame{start("s"), events(e), end()}}
		if err := p.Session(s); err != nil {
			t.Fatal(err)
		}
		v := s.got[0].GetVerdicts().GetVerdicts()
		if len(s.got) != 2 || len(v) != 1 || v[0].Seq != 7 {
			t.Fatalf("answered %v", s.got)
		}
		if v[0].Failure != nil && len(v[0].Edits) > 0 {
			t.Errorf("a failure with edits: %v", v[0])
		}
	})
}

func TestHeaderBytesAreTheSectionAsItIsEdited(t *testing.T) {
	raw := "Subject : one\r\n two \r\nno field\r\nX-A: b\nX-C: d"
	m := newMessage(&Session{turn: 1})
	m.header.take(&agentv1.HeaderBlock{Raw: []byte(raw), End: []uint32{22, 32, 39, 45}})
	h := m.Header()
	if got := string(h.Bytes()); got != raw {
		t.Errorf("%q, want %q", got, raw)
	}
	h.SetText("Subject", "other")
	h.Field("X-A").Rename("X-B")
	h.Add("X-New", "top")
	h.Remove("X-C")
	if got, want := string(h.Bytes()), "X-New: top\r\nSubject : other\r\nno field\r\nX-B: b\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
