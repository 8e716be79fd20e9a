package mail_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"example.org/relay/relay/mail"
)

// odd are header sections that parsers like to mend. None may change.
var odd = map[string]struct {
	raw   string
	names []string // of the fields; "" for one without a name
}{
	"plain":                  {"From: a@example.org\r\nSubject: x\r\n", []string{"From", "Subject"}},
	"empty":                  {"", nil},
	"case, order, repeats":   {"b: 1\r\nA: 2\r\nB: 3\r\n", []string{"b", "A", "B"}},
	"folding":                {"Subject: a\r\n b\r\n\tc\r\nTo: x\r\n", []string{"Subject", "To"}},
	"trailing blanks":        {"Subject: a  \t\r\nTo: x\r\n", []string{"Subject", "To"}},
	"space before the colon": {"Subject : a\r\nTo\t:x\r\n", []string{"Subject", "To"}},
	"8-bit value":            {"Subject: \xfc\xff\r\n", []string{"Subject"}},
	"8-bit name":             {"Sübject: a\r\n", []string{""}},
	"NUL in a value":         {"Subject: a\x00b\r\n", []string{"Subject"}},
	"bare CR":                {"Subject: a\rb\r\n", []string{"Subject"}},
	"CR CR LF":               {"Subject: a\r\r\nTo: x\r\n", []string{"Subject", "To"}},
	"bare LF":                {"Subject: a\nTo: x\n b\n", []string{"Subject", "To"}},
	"fold of white space":    {"Subject: a\r\n \r\n\t\r\nTo: x\r\n", []string{"Subject", "To"}},
	"empty value":            {"Subject:\r\nTo: \r\n", []string{"Subject", "To"}},
	"long line":              {"Subject: " + strings.Repeat("x", 20_000) + "\r\n", []string{"Subject"}},
	"no line end":            {"Subject: a", []string{"Subject"}},
	"no name":                {": a\r\nTo: x\r\n", []string{"", "To"}},
	"no colon":               {"nothing\r\nTo: x\r\n", []string{"", "To"}},
	"mbox line":              {"From a@example.org Mon Jan 1 10:00\r\nTo: x\r\n", []string{"", "To"}},
	"quoted mbox line":       {">From a@example.org\r\nTo: x\r\n", []string{"", "To"}},
	"fold first":             {" Subject: a\r\nTo: x\r\n", []string{"", "To"}},
	"space in a name":        {"My Subject: a\r\nTo: x\r\n", []string{"", "To"}},
	"colon on the next line": {"Subject\r\n : a\r\nTo: x\r\n", []string{"", "To"}},
	"line of CR":             {"\r\r\nTo: x\r\n", []string{"", "To"}},
	"white space alone":      {" \t\r\n", []string{""}},
}

func TestHeaderKeepsEveryOctet(t *testing.T) {
	for name, c := range odd {
		t.Run(name, func(t *testing.T) {
			h := mail.ParseHeader([]byte(c.raw))
			if got := string(h.AppendTo(nil)); got != c.raw {
				t.Errorf("AppendTo = %q, want %q", got, c.raw)
			}
			if h.Size() != len(c.raw) {
				t.Errorf("Size = %d, want %d", h.Size(), len(c.raw))
			}
			var names []string
			for f := range h.All() {
				names = append(names, f.Name())
				if f.Name() == "" && f.Value() != nil {
					t.Errorf("value %q without a name", f.Value())
				}
				if f.Name() != "" && !f.Is(strings.ToUpper(f.Name())) {
					t.Errorf("%q is not what it is called", f.Raw)
				}
			}
			if !slices.Equal(names, c.names) || h.Len() != len(c.names) {
				t.Errorf("names = %q, want %q", names, c.names)
			}
		})
	}
}

func TestFieldValue(t *testing.T) {
	for raw, want := range map[string]string{
		"Subject: a\r\n": " a", "Subject:a\n": "a", "Subject : a:b": " a:b", "Subject: a\r\n b\r\n": " a\r\n b", "Subject:\r\n": "",
	} {
		if got := (mail.Field{Raw: []byte(raw)}).Value(); string(got) != want {
			t.Errorf("Value of %q = %q, want %q", raw, got, want)
		}
	}
}

func TestFieldIs(t *testing.T) {
	f := mail.Field{Raw: []byte("Subject \t: a\r\n")}
	for name, want := range map[string]bool{
		"Subject": true, "sUBJECT": true, "": false, "Sub": false, "Subject ": true, "Subjects": false, "Subject : a": false,
		"\u017fubject": false, // a letter that folds to s, but not in ASCII
	} {
		if f.Is(name) != want {
			t.Errorf("Is(%q) = %v, want %v", name, f.Is(name), want)
		}
	}
}

func parse(raw string) *mail.Header { return mail.ParseHeader([]byte(raw)) }

func TestHeaderEdits(t *testing.T) {
	const raw = "A: 1\r\nb : 2\r\n\t3\r\nbad line\r\nA: 4\r\n" // IDs 1 to 4
	for _, c := range []struct {
		name string
		edit func(h *mail.Header) error
		want string // "" : refused
	}{
		{"add at the top", add(mail.Top, "X", " y"), "X: y\r\n" + raw},
		{"add at the bottom", add(mail.Place{Bottom: true}, "X", " y"), raw + "X: y\r\n"},
		{"add before", add(mail.Place{Before: 3}, "X", " y"), "A: 1\r\nb : 2\r\n\t3\r\nX: y\r\nbad line\r\nA: 4\r\n"},
		{"add after", add(mail.Place{After: 1}, "X", " y"), "A: 1\r\nX: y\r\nb : 2\r\n\t3\r\nbad line\r\nA: 4\r\n"},
		{"add after the last", add(mail.Place{After: 4}, "X", " y"), raw + "X: y\r\n"},
		{"add folded", add(mail.Top, "X", " y\r\n\tz"), "X: y\r\n\tz\r\n" + raw},
		{"add before what is not there", add(mail.Place{Before: 5}, "X", " y"), ""},
		{"add after what is not there", add(mail.Place{After: 5}, "X", " y"), ""},
		{"add a bad field", add(mail.Top, "X Y", " y"), ""},
		{"replace the value", replace(2, "", " new"), "A: 1\r\nb : new\r\nbad line\r\nA: 4\r\n"},
		{"replace name and value", replace(2, "C", " new"), "A: 1\r\nC: new\r\nbad line\r\nA: 4\r\n"},
		{"replace a line that is no field", replace(3, "C", " new"), "A: 1\r\nb : 2\r\n\t3\r\nC: new\r\nA: 4\r\n"},
		{"replace the value of no field", replace(3, "", " new"), ""},
		{"replace what is not there", replace(9, "C", " new"), ""},
		{"replace by a bad value", replace(2, "", " new\r\nX: y"), ""},
		{"remove", func(h *mail.Header) error { return h.Remove(3) }, "A: 1\r\nb : 2\r\n\t3\r\nA: 4\r\n"},
		{"remove what is not there", func(h *mail.Header) error { return h.Remove(0) }, ""},
		{"remove all", func(h *mail.Header) error { h.RemoveAll("a"); return nil }, "b : 2\r\n\t3\r\nbad line\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := parse(raw)
			err := c.edit(h)
			want, revision := c.want, uint64(1)
			if want == "" {
				want, revision = raw, 0
			}
			if (err == nil) != (c.want != "") {
				t.Errorf("error %v", err)
			}
			if got := string(h.AppendTo(nil)); got != want || h.Revision != revision {
				t.Errorf("revision %d, %q, want %d, %q", h.Revision, got, revision, want)
			}
		})
	}
}

func add(at mail.Place, name, value string) func(*mail.Header) error {
	return func(h *mail.Header) error { _, err := h.Add(at, name, []byte(value)); return err }
}

func replace(id uint32, name, value string) func(*mail.Header) error {
	return func(h *mail.Header) error { return h.Replace(id, name, []byte(value)) }
}

func TestFieldIDsAreNeverUsedAgain(t *testing.T) {
	h := parse("A: 1\r\nB: 2\r\n")
	if err := h.Remove(2); err != nil {
		t.Fatal(err)
	}
	id, err := h.Add(mail.Place{Bottom: true}, "C", []byte(" 3"))
	if err != nil || id != 3 {
		t.Errorf("Add = %d, %v, want 3", id, err)
	}
	if err := h.Remove(2); !errors.Is(err, mail.ErrNoField) {
		t.Errorf("Remove of a removed field = %v, want ErrNoField", err)
	}
	if n := h.RemoveAll("none"); n != 0 || h.Revision != 2 {
		t.Errorf("RemoveAll(none) = %d, revision %d", n, h.Revision)
	}
}

func TestFirstAndCount(t *testing.T) {
	h := parse("A: 1\r\nb: 2\r\na : 3\r\n")
	if f, ok := h.First("a"); !ok || f.ID != 1 {
		t.Errorf("First(a) = %+v, %v", f, ok)
	}
	if _, ok := h.First("c"); ok {
		t.Error("First(c) finds one")
	}
	if n := h.Count("A"); n != 2 {
		t.Errorf("Count(A) = %d", n)
	}
}

func TestCloneSharesNoEdits(t *testing.T) {
	h := parse("A: 1\r\nB: 2\r\nC: 3\r\n")
	c := h.Clone()
	_ = c.Remove(1)
	_ = c.Replace(2, "", []byte(" x"))
	h.RemoveAll("c")
	if got := string(h.AppendTo(nil)); got != "A: 1\r\nB: 2\r\n" {
		t.Errorf("the original is %q", got)
	}
	if got := string(c.AppendTo(nil)); got != "B: x\r\nC: 3\r\n" {
		t.Errorf("the copy is %q", got)
	}
}

func TestCheckField(t *testing.T) {
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{"X", " y", true},
		{"X", "", true},
		{"X", " a\r\n b\r\n\tc", true},
		{"X", " \xfcml", true},
		{strings.Repeat("n", 70), "", true},
		{"", " y", false},
		{strings.Repeat("n", 71), "", false},
		{"X Y", "", false},
		{"X:", "", false},
		{"X\r\nY", "", false},
		{"Xü", "", false},
		{"X\x7f", "", false},
		{"X", " a\r\nY: b", false},
		{"X", " a\r\n\r\nbody", false},
		{"X", " a\r\n", false},
		{"X", " a\r", false},
		{"X", " a\rb", false},
		{"X", " a\n b", false},
		{"X", "\n", false},
		{"X", " a\x00", false},
	} {
		if err := mail.CheckField(c.name, []byte(c.value)); (err == nil) != c.ok {
			t.Errorf("CheckField(%q, %q) = %v", c.name, c.value, err)
		}
	}
}

func TestLookingForAFieldDoesNotAllocate(t *testing.T) {
	h := parse(strings.Repeat("X-Some-Rather-Long-Field-Name-Of-Somebody: x\r\n", 20) + "Subject: y\r\n")
	if n := testing.AllocsPerRun(100, func() {
		h.First("subject")
		h.Count("x-some-rather-long-field-name-of-somebody")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHeaderFirst(b *testing.B) {
	h := parse(strings.Repeat("X-Some-Rather-Long-Field-Name-Of-Somebody: x\r\n", 20) + "Subject: y\r\n")
	for b.Loop() {
		h.First("subject")
	}
}

// FuzzHeader proves that a section leaves as it came, and that an edit changes no octet
// of any other field, and makes one field.
func FuzzHeader(f *testing.F) {
	for _, c := range odd {
		f.Add([]byte(c.raw), "X-Tag", []byte(" y"), uint8(0))
	}
	f.Add([]byte("A: 1\r\nB: 2\r\n"), "X", []byte(" a\r\nB: c"), uint8(3))
	f.Add([]byte("A: 1\r\nB: 2\r\n"), "X", []byte(" a\r\n\tc"), uint8(7))
	f.Fuzz(func(t *testing.T, raw []byte, name string, value []byte, how uint8) {
		h := mail.ParseHeader(raw)
		if got := h.AppendTo(nil); !bytes.Equal(got, raw) {
			t.Fatalf("%q came out as %q", raw, got)
		}
		before := slices.Collect(h.All())
		id := uint32(how/4)%uint32(h.Len()+1) + 1
		var err error
		switch how % 4 {
		case 0:
			id, err = h.Add(mail.Top, name, value)
		case 1:
			id, err = h.Add(mail.Place{After: id}, name, value)
		case 2:
			err = h.Replace(id, name, value)
		case 3:
			err = h.Remove(id)
		}
		if err != nil {
			id = 0
		}
		var others []mail.Field
		for f := range h.All() {
			if f.ID != id {
				others = append(others, f)
				continue
			}
			if again := mail.ParseHeader(f.Raw); again.Len() != 1 || f.Name() == "" {
				t.Errorf("an edit made %q, which is %d fields", f.Raw, again.Len())
			}
		}
		before = slices.DeleteFunc(before, func(f mail.Field) bool { return f.ID == id })
		if !slices.EqualFunc(before, others, func(a, b mail.Field) bool { return a.ID == b.ID && bytes.Equal(a.Raw, b.Raw) }) {
			t.Errorf("other fields changed: %+v, %+v", before, others)
		}
	})
}
