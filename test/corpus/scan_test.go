package corpus

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestScan(t *testing.T) {
	limits := Limits{Header: 20, Message: 40, Received: 2}
	for _, test := range []struct {
		name, wire string
		want       []Defect
	}{
		{"nothing", "", nil},
		{"plain", "A: b\r\n\r\nc\r\n", nil},
		{"8-bit, dots, no colon", "\xe4\r\n\r\n.\r\n\xff\r\n", nil},
		{"bare CR", "A: b\rc\r\n", []Defect{{Kind: BareCR, Offset: 4, Count: 1}}},
		{"CR CR LF", "A: b\r\r\n", []Defect{{Kind: BareCR, Offset: 4, Count: 1}}},
		{"CR last", "a\r", []Defect{{Kind: BareCR, Offset: 1, Count: 1}}},
		{"LF first", "\na\r\n", []Defect{{Kind: BareLF, Offset: 0, Count: 1}}},
		{"bare LF and dot", "a\n.\n", []Defect{{Kind: BareLF, Offset: 1, Count: 2}}},
		{"LF CR", "a\n\r", []Defect{{Kind: BareLF, Offset: 1, Count: 1}, {Kind: BareCR, Offset: 2, Count: 1}}},
		{"NUL", "a\x00\x00\r\n", []Defect{{Kind: NUL, Offset: 1, Count: 2}}},
		{"header at the limit", strings.Repeat("h", 18) + "\r\n\r\nb\r\n", nil},
		{"header over the limit", strings.Repeat("h", 19) + "\r\n\r\nb\r\n", []Defect{{Kind: LargeHeader, Offset: 20, Count: 21}}},
		{"all is header", strings.Repeat("h\r\n", 7), []Defect{{Kind: LargeHeader, Offset: 20, Count: 21}}},
		{"message over the limit", "\r\n" + strings.Repeat("b", 39), []Defect{{Kind: LargeMessage, Offset: 40, Count: 41}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := limits.Scan([]byte(test.wire))
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Defect{}, "Text")); diff != "" {
				t.Errorf("Scan(%q) (-want +got):\n%s", test.wire, diff)
			}
			for _, d := range got {
				if d.Text == "" {
					t.Errorf("Scan(%q): %s without a text", test.wire, d.Kind)
				}
			}
		})
	}
}

func TestScanCountsReceivedFieldsOfTheHeaderSection(t *testing.T) {
	limits := Limits{Received: 2}
	for _, test := range []struct {
		name, wire string
		want       int
	}{
		{"at the limit", "Received: a\r\nReceived: b\r\n\r\n", 0},
		{"over it", "Received: a\r\nReceived: b\r\nReceived: c\r\n\r\n", 3},
		{"any case and space", "received: a\r\nRECEIVED : b\r\nReceived\t:c\r\nX: y\r\n", 3},
		{"other names", "Received: a\r\nReceived-SPF: b\r\nX-Received: c\r\nReceived\r\n Received: d\r\n", 0},
		{"in the body", "Received: a\r\n\r\nReceived: b\r\nReceived: c\r\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			count := 0
			for _, d := range limits.Scan([]byte(test.wire)) {
				if d.Kind == ManyHops {
					count = d.Count
				}
			}
			if count != test.want {
				t.Errorf("Scan(%q) found %d hops too many, want %d", test.wire, count, test.want)
			}
		})
	}
}

func TestGeneratedMessagesAreWhatTheirNamesSay(t *testing.T) {
	got := map[string][]Kind{}
	for _, m := range append(Generated(), GeneratedLarge()...) {
		wire := m.Wire()
		if string(wire) != string(m.Raw) {
			t.Errorf("%s is not ready for the wire", m.File)
		}
		for _, d := range Scan(wire) {
			got[m.File] = append(got[m.File], d.Kind)
		}
	}
	want := map[string][]Kind{
		"generated/header-over-limit":        {LargeHeader},
		"generated/header-line-over-limit":   {LargeHeader},
		"generated/no-empty-line-over-limit": {LargeHeader},
		"generated/message-over-limit":       {LargeMessage},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	header, _ := Split(Generated()[0].Wire())
	if n := len(FieldLines(header)); n != 1000 {
		t.Errorf("thousand-fields has %d fields", n)
	}
}

func TestReplyHasTheClassOfItsCode(t *testing.T) {
	for _, kind := range []Kind{BareCR, BareLF, NUL, LargeHeader, LargeMessage, ManyHops} {
		if code, enhanced := kind.Reply(); code/100 != 5 || enhanced[0] != '5' {
			t.Errorf("%s: %d %s is not permanent", kind, code, enhanced)
		}
	}
}

func TestHas8Bit(t *testing.T) {
	for wire, want := range map[string]bool{"": false, "a\x7f\r\n": false, "a\x80": true, "\xff": true} {
		if got := Has8Bit([]byte(wire)); got != want {
			t.Errorf("Has8Bit(%q) = %v, want %v", wire, got, want)
		}
	}
}
