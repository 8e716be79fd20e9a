package agent

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Header is the header section of a message, in its order and byte for byte. Edits leave
// every field they do not name as it came. Names are compared without regard to case.
//
// The agent must have asked for [ChangeHeaders] to edit. A text given to an edit is encoded
// and folded as it needs (RFC 2047, RFC 5322 §2.2.3), line breaks in it become spaces; a raw
// value is sent as it is and refused by the relay where it would break the header section.
type Header struct {
	m      *Message
	block  *agentv1.HeaderBlock // parsed when first asked for
	fields []*Field
	saved  uint64 // the turn that has noted the fields for rollBack
}

// Field is one header field.
type Field struct {
	h    *Header
	id   uint32 // 0: an edit made it, the relay has not numbered it yet
	name string
	raw  string // what stands after the colon, with its folding, without the line end
	line []byte // the whole field with its line end
	open bool   // it came without a line end
	edit *agentv1.Edit
	turn uint64 // when edit was made
}

func (h *Header) take(b *agentv1.HeaderBlock) { h.block, h.fields = b, nil }

// Fields returns the fields from top to bottom. The slice is the caller's.
func (h *Header) Fields() []*Field { return slices.Clone(h.all()) }

// Bytes returns the header section as it is shown to the agent and edited by it, byte for
// byte, without the empty line: what a signature is made of. See [Headers], which shows a part.
func (h *Header) Bytes() []byte {
	var all []byte
	for _, f := range h.all() {
		all = append(all, f.line...)
	}
	return all
}

// Field returns the first field of the name, nil if there is none.
func (h *Header) Field(name string) *Field {
	for _, f := range h.all() {
		if strings.EqualFold(f.name, name) {
			return f
		}
	}
	return nil
}

// Has reports whether there is a field of the name.
func (h *Header) Has(name string) bool { return h.Field(name) != nil }

// Text returns the decoded text of the first field of the name; "" if there is none.
func (h *Header) Text(name string) string {
	if f := h.Field(name); f != nil {
		return f.Text()
	}
	return ""
}

// Raw returns what stands after the colon of the first field of the name, byte for byte
// without the line end; "" if there is none.
func (h *Header) Raw(name string) string {
	if f := h.Field(name); f != nil {
		return f.raw
	}
	return ""
}

// SetText changes the first field of the name in its place; where there is none it adds one
// at the top, where there is always room: a section that ends without a line end takes
// nothing at its bottom.
func (h *Header) SetText(name, text string) {
	if f := h.Field(name); f != nil {
		f.SetText(text)
		return
	}
	h.Add(name, text)
}

// SetRaw is SetText with a raw value, which brings its own leading space.
func (h *Header) SetRaw(name, value string) {
	if f := h.Field(name); f != nil {
		f.SetRaw(value)
		return
	}
	h.AddRaw(name, value)
}

// Add adds a field at the top, as trace fields are added.
func (h *Header) Add(name, text string) { h.insert(false, name, encode(name, text)) }

// AddRaw is Add with a raw value, which brings its own leading space.
func (h *Header) AddRaw(name, value string) { h.insert(false, name, value) }

// AddLast adds a field at the bottom; where the section ends in the middle of a line, which only
// an agent that is shown all fields can see, at the top.
func (h *Header) AddLast(name, text string) {
	all := h.all()
	h.insert(len(all) == 0 || !all[len(all)-1].open, name, encode(name, text))
}

// Remove removes every field of the name, with one edit, and returns how many there were.
func (h *Header) Remove(name string) int {
	h.change()
	before := len(h.fields)
	h.fields = slices.DeleteFunc(slices.Clone(h.fields), func(f *Field) bool { return strings.EqualFold(f.name, name) })
	n := before - len(h.fields)
	if n > 0 {
		h.m.s.record(&agentv1.Edit{Op: &agentv1.Edit_RemoveHeader{RemoveHeader: &agentv1.RemoveHeader{
			Which: &agentv1.RemoveHeader_AllNamed{AllNamed: name}}}})
	}
	return n
}

// Name returns the name as it is written.
func (f *Field) Name() string { return f.name }

// Raw returns what stands after the colon, byte for byte without the line end.
func (f *Field) Raw() string { return f.raw }

// Text returns the value unfolded, with encoded words decoded and without the white space
// around it. Encoded words that cannot be decoded stay as they are, as do 8-bit characters.
func (f *Field) Text() string { return decode(f.raw) }

// SetText changes the value, in the field's place and under the name as it is written.
func (f *Field) SetText(text string) { f.SetRaw(encode(f.name, text)) }

// SetRaw is SetText with a raw value, which brings its own leading space.
func (f *Field) SetRaw(value string) {
	f.h.change()
	f.raw = value
	written, _, _ := bytes.Cut(f.line, []byte(":")) // with the white space of an obsolete field
	f.line = fmt.Appendf(nil, "%s:%s\r\n", written, value)
	if f.edit != nil && f.turn == f.h.m.s.turn {
		if add := f.edit.GetAddHeader(); add != nil {
			add.Value = []byte(value)
		} else {
			f.edit.GetReplaceHeader().Value = []byte(value)
		}
		return
	}
	f.numbered()
	f.record(&agentv1.Edit{Op: &agentv1.Edit_ReplaceHeader{ReplaceHeader: &agentv1.ReplaceHeader{Id: f.id, Value: []byte(value)}}})
}

// Rename gives the field another name. Its place and its value stay, byte for byte, but for what
// cannot be written anew: a NUL, or a line end that is none, becomes a space.
func (f *Field) Rename(name string) {
	f.h.change()
	f.name, f.raw = name, writable(f.raw)
	f.line = fmt.Appendf(nil, "%s:%s\r\n", name, f.raw)
	if f.edit != nil && f.turn == f.h.m.s.turn {
		if add := f.edit.GetAddHeader(); add != nil {
			add.Name = name
		} else {
			f.edit.GetReplaceHeader().Name = name
		}
		return
	}
	f.numbered()
	f.record(&agentv1.Edit{Op: &agentv1.Edit_ReplaceHeader{ReplaceHeader: &agentv1.ReplaceHeader{Id: f.id, Name: name, Value: []byte(f.raw)}}})
}

// Remove removes the field.
func (f *Field) Remove() {
	h := f.h
	h.change()
	s := h.m.s
	if f.edit != nil && f.turn == s.turn {
		s.edits = slices.DeleteFunc(s.edits, func(e *agentv1.Edit) bool { return e == f.edit })
	}
	added := f.id == 0 && f.turn == s.turn
	if !added {
		f.numbered()
		f.record(&agentv1.Edit{Op: &agentv1.Edit_RemoveHeader{RemoveHeader: &agentv1.RemoveHeader{
			Which: &agentv1.RemoveHeader_Id{Id: f.id}}}})
	}
	h.fields = slices.DeleteFunc(h.fields, func(o *Field) bool { return o == f })
}

func (f *Field) record(e *agentv1.Edit) {
	f.edit, f.turn = e, f.h.m.s.turn
	f.h.m.s.record(e)
}

// numbered panics where the relay could not know which field an edit means.
func (f *Field) numbered() {
	if f.id == 0 {
		panic("header: " + f.name + ": the relay has not numbered this field yet")
	}
}

func (h *Header) insert(bottom bool, name, value string) {
	h.change()
	add, at := &agentv1.AddHeader{Name: name, Value: []byte(value)}, 0
	if bottom {
		add.At, at = &agentv1.AddHeader_Bottom{Bottom: true}, len(h.fields)
	}
	f := &Field{h: h, name: name, raw: value, line: fmt.Appendf(nil, "%s:%s\r\n", name, value)}
	f.record(&agentv1.Edit{Op: &agentv1.Edit_AddHeader{AddHeader: add}})
	h.fields = slices.Insert(h.fields, at, f)
}

// change prepares an edit: it notes the fields as they are before the handler's first.
func (h *Header) change() {
	s := h.m.s
	s.mayEdit()
	if h.m.replaced == s.turn {
		panic("header: the handler has put another message in the place of this one")
	}
	h.all()
	if h.saved == s.turn {
		return
	}
	h.saved = s.turn
	fields, values := slices.Clone(h.fields), make([]Field, len(h.fields))
	for i, f := range fields {
		values[i] = *f
	}
	s.onFailure(func() {
		for i, f := range fields {
			*f = values[i]
		}
		h.fields = fields
	})
}

// all parses the block the relay sent when it is first needed: many handlers never look.
func (h *Header) all() []*Field {
	if h.block == nil {
		return h.fields
	}
	b := h.block
	h.block = nil
	fields := make([]Field, len(b.End))
	h.fields = make([]*Field, len(b.End))
	start := uint32(0)
	for i, end := range b.End {
		end = min(end, uint32(len(b.Raw)))
		start = min(start, end)
		f := &fields[i]
		f.h, f.id = h, uint32(i+1)
		if i < len(b.Id) {
			f.id = b.Id[i]
		}
		f.line = b.Raw[start:end]
		f.name, f.raw = part(f.line)
		f.open = end == start || b.Raw[end-1] != '\n'
		h.fields[i] = f
		start = end
	}
	return h.fields
}

// writable returns a raw value as the relay writes one: without NUL, with line breaks before
// white space only (RFC 5322 §2.2.3).
func writable(raw string) string {
	if !strings.ContainsAny(raw, "\r\n\x00") {
		return raw
	}
	b := []byte(raw)
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\r' && i+2 < len(b) && b[i+1] == '\n' && (b[i+2] == ' ' || b[i+2] == '\t'):
			i += 2
		case b[i] == '\r' || b[i] == '\n' || b[i] == 0:
			b[i] = ' '
		}
	}
	return string(b)
}

// part splits a field into its name and what stands after the colon. A line that is no field
// (RFC 5322 §2.2) has no name, and no edit by name reaches it.
func part(field []byte) (name, raw string) {
	field = bytes.TrimSuffix(field, []byte("\n"))
	field = bytes.TrimSuffix(field, []byte("\r"))
	before, after, ok := bytes.Cut(field, []byte(":"))
	before = bytes.TrimRight(before, " \t") // "Subject :" is obsolete, RFC 5322 §4.5.8
	notInName := func(r rune) bool { return r <= ' ' || r > '~' }
	if !ok || bytes.ContainsFunc(before, notInName) {
		return "", string(field)
	}
	return string(before), string(after)
}
