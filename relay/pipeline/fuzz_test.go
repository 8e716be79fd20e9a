package pipeline

import (
	"slices"
	"strings"
	"testing"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// FuzzHeaderEdits: whatever an agent asks for, the header section that leaves has, read again,
// exactly the fields that were there and those that were asked for, or is as it was; and our
// trace is in it, untouched.
func FuzzHeaderEdits(f *testing.F) {
	f.Add(section, []byte("\x00\x00X-A\x00 a\x01"), "Subject")
	f.Add("Received: x\r\nA: b\r\n", []byte("\x01\x02A: b\r\nC\x00 a\r\n b"), "A")
	f.Add(" odd\r\nSubject: x", []byte("\x00\x10X\x00v\r\n\tw\x01\x02\x00 b\x02\x02\x03"), "X")
	f.Add("A: 1\r\nno field\r\nB:2\n", []byte("\x00\x01X\x00 1\x00\x21Y\x00\r\n"), "no field")
	f.Fuzz(func(t *testing.T, raw string, script []byte, name string) {
		if raw == "" {
			return // there is always our trace
		}
		edits := decodeEdits(script, name)
		a := &fake{decide: answer(event.Verdict{Edits: edits})}
		_, s := open(event.FrontEnd, bind("a", a, event.EndOfHeaders))
		s.Begin(&mail.Envelope{})
		h := mail.ParseHeader([]byte(raw))
		trace, ours := fieldByID(h, 1)
		s.ProtectFields(1)
		s.SetHeader(h)
		want := model(h)
		if d := s.Fire(t.Context(), event.Event{Kind: event.EndOfHeaders}); d.Err == nil {
			want.apply(edits)
		}
		var again []string
		for f := range mail.ParseHeader(h.AppendTo(nil)).All() {
			again = append(again, string(f.Raw))
		}
		if got := want.raws(); !slices.Equal(again, got) {
			t.Errorf("edits %+v\nread again %q\nwant       %q", edits, again, got)
		}
		if now, there := fieldByID(h, 1); ours != there || string(now.Raw) != string(trace.Raw) {
			t.Errorf("our trace %q became %q", trace.Raw, now.Raw)
		}
	})
}

// decodeEdits reads edits out of bytes: operation, place, name, NUL, value, up to a byte that
// begins the next.
func decodeEdits(b []byte, name string) []event.Edit {
	ops := []event.Op{event.AddHeader, event.ReplaceHeader, event.RemoveHeader, event.RemoveHeaders}
	var edits []event.Edit
	for len(b) >= 2 && len(edits) < 20 {
		e := event.Edit{Op: ops[b[0]%4], Field: uint32(b[1] & 15)}
		switch b[1] >> 4 & 3 {
		case 1:
			e.Place.Bottom = true
		case 2:
			e.Place.Before = e.Field
		case 3:
			e.Place.After = e.Field
		}
		text := b[2:]
		end := len(text)
		for i, c := range text {
			if i > 0 && c > 0 && c < 4 {
				end = i
				break
			}
		}
		b = text[end:]
		n, v, two := strings.Cut(string(text[:end]), "\x00")
		if !two {
			n, v = name, n
		}
		e.Name, e.Value = n, []byte(v)
		edits = append(edits, e)
	}
	return edits
}

// sections is a header section written down a second time, as plainly as can be.
type sections []struct {
	id  uint32
	raw string
}

func model(h *mail.Header) *sections {
	m := &sections{}
	for f := range h.All() {
		*m = append(*m, struct {
			id  uint32
			raw string
		}{f.ID, string(f.Raw)})
	}
	return m
}

func (m *sections) raws() []string {
	var all []string
	for _, f := range *m {
		all = append(all, f.raw)
	}
	return all
}

func (m *sections) find(id uint32) int {
	for i, f := range *m {
		if f.id == id {
			return i
		}
	}
	return -1
}

func (m *sections) apply(edits []event.Edit) {
	last := uint32(0)
	for _, f := range *m {
		last = max(last, f.id)
	}
	for _, e := range edits {
		i := m.find(e.Field)
		switch e.Op {
		case event.AddHeader:
			switch {
			case e.Place.Bottom:
				i = len(*m)
			case e.Place.Before != 0:
			case e.Place.After != 0:
				i++
			default:
				i = 0
			}
			last++
			f := append(sections(nil), struct {
				id  uint32
				raw string
			}{last, e.Name + ":" + string(e.Value) + "\r\n"})
			*m = slices.Insert(*m, i, f...)
		case event.ReplaceHeader:
			before, _, _ := strings.Cut((*m)[i].raw, ":")
			if e.Name != "" {
				before = e.Name
			}
			(*m)[i].raw = before + ":" + string(e.Value) + "\r\n"
		case event.RemoveHeader:
			*m = slices.Delete(*m, i, i+1)
		case event.RemoveHeaders:
			kept := (*m)[:0]
			for _, f := range *m {
				if f.id == 1 || !(mail.Field{Raw: []byte(f.raw)}).Is(e.Name) {
					kept = append(kept, f)
				}
			}
			*m = kept
		}
	}
}
