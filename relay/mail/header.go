package mail

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
)

// Header is the header section of a message as it came, byte for byte. Edits are
// made field by field; a field that is not edited leaves exactly as it came in, odd
// or not: a line that is no header field is kept as a field without a name.
// Not safe for concurrent use.
type Header struct {
	fields []Field
	lastID uint32 // Invariant: ≥ every Field.ID ever given out.

	// Revision rises with each edit. Whoever shows the header on keeps the revision shown.
	Revision uint64
}

// Field is one header field, or one line that cannot be read as one.
type Field struct {
	// ID is stable over edits and never used again in this header; the first is 1.
	ID uint32
	// Raw is the whole field: name, colon, value, folding, line ends. Not to be changed.
	Raw []byte
}

// ParseHeader splits a header section, which is everything before the empty line
// (which does not belong to it), into its fields. It keeps raw and never fails: what
// is no field becomes a field without a name.
func ParseHeader(raw []byte) *Header {
	h := &Header{fields: make([]Field, 0, bytes.Count(raw, []byte{'\n'}))}
	for len(raw) > 0 {
		end := fieldEnd(raw)
		h.lastID++
		h.fields = append(h.fields, Field{ID: h.lastID, Raw: raw[:end:end]})
		raw = raw[end:]
	}
	return h
}

// fieldEnd returns where the field at the start of raw ends: before the first line
// that does not begin with white space (RFC 5322 §2.2.3).
func fieldEnd(raw []byte) int {
	end := 0
	for {
		i := bytes.IndexByte(raw[end:], '\n')
		if i < 0 {
			return len(raw)
		}
		end += i + 1
		if end == len(raw) || (raw[end] != ' ' && raw[end] != '\t') {
			return end
		}
	}
}

// Name returns the field's name as it is written, without white space before the
// colon, or "" where the line cannot be read as a field (RFC 5322 §2.2, §4.5).
func (f Field) Name() string { return string(f.Raw[:f.nameLen()]) }

// nameLen returns how long the name is, 0 where there is none.
func (f Field) nameLen() int {
	name := bytes.TrimRight(f.Raw[:max(0, bytes.IndexByte(f.Raw, ':'))], " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return 0
		}
	}
	return len(name)
}

// Is reports whether the field has this name, whatever the case.
func (f Field) Is(name string) bool {
	raw := f.Raw
	if name == "" || len(raw) <= len(name) {
		return false
	}
	for i := range len(name) {
		if lower(raw[i]) != lower(name[i]) {
			return false
		}
	}
	rest := raw[len(name):]
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		rest = rest[1:]
	}
	return len(rest) > 0 && rest[0] == ':'
}

// lower is the small letter of an ASCII one: other characters are not in a name.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Value returns what follows the colon, folding included, without the last line end;
// nil where the line cannot be read as a field.
func (f Field) Value() []byte {
	if f.nameLen() == 0 {
		return nil
	}
	i := bytes.IndexByte(f.Raw, ':')
	return bytes.TrimSuffix(bytes.TrimSuffix(f.Raw[i+1:], []byte{'\n'}), []byte{'\r'})
}

// Len returns how many fields there are.
func (h *Header) Len() int { return len(h.fields) }

// Size returns how many octets the section has.
func (h *Header) Size() int {
	n := 0
	for i := range h.fields {
		n += len(h.fields[i].Raw)
	}
	return n
}

// All yields the fields from top to bottom. The header must not be edited meanwhile.
func (h *Header) All() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for i := range h.fields {
			if !yield(h.fields[i]) {
				return
			}
		}
	}
}

// First returns the topmost field of this name.
func (h *Header) First(name string) (Field, bool) {
	for i := range h.fields {
		if h.fields[i].Is(name) {
			return h.fields[i], true
		}
	}
	return Field{}, false
}

// Count returns how many fields have this name.
func (h *Header) Count(name string) int {
	n := 0
	for i := range h.fields {
		if h.fields[i].Is(name) {
			n++
		}
	}
	return n
}

// ErrNoField says that an edit names a field that is not there.
var ErrNoField = errors.New("no header field with this id")

// Place says where an added field goes.
type Place struct {
	Bottom bool
	Before uint32 // a field's ID
	After  uint32 // a field's ID
}

// Top is the place above all other fields: the zero Place.
var Top = Place{}

// Add writes a new field, name ":" value CRLF, and returns its ID. The value brings
// its own leading space and folding.
func (h *Header) Add(at Place, name string, value []byte) (uint32, error) {
	if err := CheckField(name, value); err != nil {
		return 0, err
	}
	i := 0
	switch {
	case at.Bottom:
		i = len(h.fields)
	case at.Before != 0:
		if i = h.index(at.Before); i < 0 {
			return 0, ErrNoField
		}
	case at.After != 0:
		if i = h.index(at.After); i < 0 {
			return 0, ErrNoField
		}
		i++
	}
	h.lastID++
	f := Field{ID: h.lastID, Raw: field(name, value)}
	h.fields = append(h.fields, Field{})
	copy(h.fields[i+1:], h.fields[i:])
	h.fields[i] = f
	h.Revision++
	return f.ID, nil
}

// Replace gives the field with this ID a new value and, where name is not empty, a
// new name. Its place and its ID stay; with an empty name, so does all that stands
// before the value.
func (h *Header) Replace(id uint32, name string, value []byte) error {
	i := h.index(id)
	if i < 0 {
		return ErrNoField
	}
	prefix := []byte(name + ":")
	if name == "" {
		if name = h.fields[i].Name(); name == "" {
			return fmt.Errorf("field %d has no name to keep", id)
		}
		prefix = h.fields[i].Raw[:bytes.IndexByte(h.fields[i].Raw, ':')+1]
	}
	if err := CheckField(name, value); err != nil {
		return err
	}
	raw := make([]byte, 0, len(prefix)+len(value)+2)
	raw = append(append(append(raw, prefix...), value...), '\r', '\n')
	h.fields[i].Raw = raw
	h.Revision++
	return nil
}

// Remove takes the field with this ID out.
func (h *Header) Remove(id uint32) error {
	i := h.index(id)
	if i < 0 {
		return ErrNoField
	}
	h.fields = append(h.fields[:i], h.fields[i+1:]...)
	h.Revision++
	return nil
}

// RemoveAll takes all fields of this name out and returns how many there were.
func (h *Header) RemoveAll(name string) int {
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !f.Is(name) {
			kept = append(kept, f)
		}
	}
	n := len(h.fields) - len(kept)
	h.fields = kept
	if n > 0 {
		h.Revision++
	}
	return n
}

// Clone returns a copy; edits of one do not show in the other.
func (h *Header) Clone() *Header {
	c := *h
	c.fields = append([]Field(nil), h.fields...)
	return &c
}

// AppendTo appends the section, without the empty line, to b.
func (h *Header) AppendTo(b []byte) []byte {
	for i := range h.fields {
		b = append(b, h.fields[i].Raw...)
	}
	return b
}

func (h *Header) index(id uint32) int {
	for i := range h.fields {
		if h.fields[i].ID == id {
			return i
		}
	}
	return -1
}

func field(name string, value []byte) []byte {
	raw := make([]byte, 0, len(name)+len(value)+3)
	raw = append(append(append(raw, name...), ':'), value...)
	return append(raw, '\r', '\n')
}

// CheckField says what is wrong with a field that is to be written. A name is 1 to 70
// printable ASCII characters without a colon (RFC 5322 §2.2). In a value a line end is
// CRLF before white space only, and NUL is not allowed: anything else would let a value
// end the field, or the header section, and start something of its own.
func CheckField(name string, value []byte) error {
	if name == "" || len(name) > 70 {
		return fmt.Errorf("header field name %.80q: must have 1 to 70 characters", name)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return fmt.Errorf("header field name %q: must be printable ASCII without space and colon", name)
		}
	}
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case 0:
			return fmt.Errorf("value of header field %s: NUL", name)
		case '\n':
			return fmt.Errorf("value of header field %s: line feed without carriage return", name)
		case '\r':
			if i+2 >= len(value) || value[i+1] != '\n' || (value[i+2] != ' ' && value[i+2] != '\t') {
				return fmt.Errorf("value of header field %s: a line may end only in CRLF before white space", name)
			}
			i++
		}
	}
	return nil
}
