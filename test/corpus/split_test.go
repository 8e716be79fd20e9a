package corpus

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for _, test := range []struct{ name, wire, header, rest string }{
		{"empty", "", "", ""},
		{"only an empty line", "\r\n", "", "\r\n"},
		{"begins with an empty line", "\r\nb\r\n\r\n", "", "\r\nb\r\n\r\n"},
		{"ordinary", "A: b\r\n\r\nc\r\n\r\n", "A: b\r\n", "\r\nc\r\n\r\n"},
		{"no body", "A: b\r\n\r\n", "A: b\r\n", "\r\n"},
		{"no empty line", "A: b\r\nC: d\r\n", "A: b\r\nC: d\r\n", ""},
		{"cut", "A: b", "A: b", ""},
		{"lines without colon belong to it", "prose\r\n\r\nc\r\n", "prose\r\n", "\r\nc\r\n"},
		{"white space is not empty", "A: b\r\n \r\n\t\r\n\r\nc", "A: b\r\n \r\n\t\r\n", "\r\nc"},
		{"LF LF is not an empty line", "A: b\n\nc\r\n", "A: b\n\nc\r\n", ""},
		{"CR and an octet at the end are not an empty line", "A: b\r\n\r0", "A: b\r\n\r0", ""},
		{"CR CR LF is not an empty line", "A: b\r\n\r\r\nc\r\n", "A: b\r\n\r\r\nc\r\n", ""},
		{"LF before CRLF is not an empty line", "A: b\r\n\n\r\nc\r\n", "A: b\r\n\n\r\nc\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			header, rest := Split([]byte(test.wire))
			if string(header) != test.header || string(rest) != test.rest {
				t.Errorf("Split(%q) = %q, %q, want %q, %q", test.wire, header, rest, test.header, test.rest)
			}
		})
	}
}

func TestFieldLines(t *testing.T) {
	for _, test := range []struct {
		name, header string
		want         []string
	}{
		{"none", "", nil},
		{"one", "A: b\r\n", []string{"A: b\r\n"}},
		{"folded", "A: b\r\n c\r\n\td\r\nE: f\r\n", []string{"A: b\r\n c\r\n\td\r\n", "E: f\r\n"}},
		{"white space only", "A:\r\n \r\nB:\r\n", []string{"A:\r\n \r\n", "B:\r\n"}},
		{"begins with a continuation", " x\r\n\ty\r\nA: b\r\n", []string{" x\r\n\ty\r\n", "A: b\r\n"}},
		{"without colon", "A: b\r\nprose\r\n more\r\nC: d\r\n", []string{"A: b\r\n", "prose\r\n more\r\n", "C: d\r\n"}},
		{"bare CR and LF end nothing", "A: b\rC: d\nE: f\r\n", []string{"A: b\rC: d\nE: f\r\n"}},
		{"cut", "A: b\r\nC: d", []string{"A: b\r\n", "C: d"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, span := range FieldLines([]byte(test.header)) {
				got = append(got, string(span))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("FieldLines(%q) (-want +got):\n%s", test.header, diff)
			}
		})
	}
}

func TestReplaceSubject(t *testing.T) {
	const changed = "Subject: [tag] new\r\n"
	for _, test := range []struct {
		name, header string
		place        Place
		want         string
	}{
		{"in the middle", "A: b\r\nSubject: old\r\nC: d\r\n", Top, "A: b\r\n" + changed + "C: d\r\n"},
		{"folded", "Subject: old\r\n more\r\n \r\nC: d\r\n", Top, changed + "C: d\r\n"},
		{"odd name", "A: b\r\nsUBJECT \t: old\r\n", Top, "A: b\r\n" + changed},
		{"the first of two", "Subject: 1\r\nSubject: 2\r\n", Top, changed + "Subject: 2\r\n"},
		{"neighbours stay", "X-Subject: 1\r\nSubject\r\nSubject-X: 2\r\n Subject: 3\r\nSubject: 4\r\n", Top,
			"X-Subject: 1\r\nSubject\r\nSubject-X: 2\r\n Subject: 3\r\n" + changed},
		{"missing, at the top", "A: b\r\n", Top, changed + "A: b\r\n"},
		{"missing, at the bottom", "A: b\r\n c\r\n", Bottom, "A: b\r\n c\r\n" + changed},
		{"empty header section", "", Bottom, changed},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := []byte(test.header)
			if got := string(ReplaceSubject(header, []byte(changed), test.place)); got != test.want {
				t.Errorf("ReplaceSubject(%q) = %q, want %q", test.header, got, test.want)
			}
			if string(header) != test.header {
				t.Errorf("ReplaceSubject changed its header to %q", header)
			}
		})
	}
}

func TestContinuesTrace(t *testing.T) {
	for wire, want := range map[string]bool{"": false, " a\r\n": true, "\ta\r\n": true, "A: b\r\n c\r\n": false, "\r\n a": false} {
		if got := ContinuesTrace([]byte(wire)); got != want {
			t.Errorf("ContinuesTrace(%q) = %v, want %v", wire, got, want)
		}
	}
}

// FuzzSplit: what is cut is put together again, and a Subject replaced by itself changes nothing.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		"", "\r\n", "A: b\r\n\r\nc\r\n", " x\r\nSubject: y\r\n z\r\n", "Subject : a\rb\nc\r\n\r\r\n\r\n\r\n", "\x00:\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		header, rest := Split(wire)
		if joined := string(header) + string(rest); joined != string(wire) {
			t.Errorf("Split(%q) together is %q", wire, joined)
		}
		if i := bytes.Index(header, []byte("\r\n\r\n")); i >= 0 || bytes.HasPrefix(header, []byte("\r\n")) {
			t.Errorf("Split(%q): an empty line in the header section %q", wire, header)
		}
		if rest != nil && !bytes.HasPrefix(rest, []byte("\r\n")) {
			t.Errorf("Split(%q): rest %q begins without an empty line", wire, rest)
		}
		if joined := bytes.Join(FieldLines(header), nil); !bytes.Equal(joined, header) {
			t.Errorf("FieldLines(%q) together is %q", header, joined)
		}
		if subject := Find(header, "subject"); subject != nil {
			if same := ReplaceSubject(header, subject, Top); !bytes.Equal(same, header) {
				t.Errorf("ReplaceSubject(%q) by itself is %q", header, same)
			}
		}
		for _, d := range Scan(wire) {
			if d.Offset < 0 || d.Offset >= len(wire) || d.Count < 1 {
				t.Errorf("Scan(%q): %+v", wire, d)
			}
		}
	})
}
