package agent

import (
	"mime"
	"strings"
	"testing"
)

func TestAnswersToATaggedMessage(t *testing.T) {
	for _, tc := range []struct {
		text   string
		tagged bool
	}{
		{"[EXTERNAL] Hello", true},
		{"Re: [EXTERNAL] Hello", true},
		{"re:[EXTERNAL] Hello", true},
		{"AW: Re[2]: Fwd: [EXTERNAL] Hello", true},
		{"Réf: [EXTERNAL] Hello", true},
		{"回复: [EXTERNAL] Hello", true},
		{"Re: [EXTERNAL]", true},
		{"Re: [EXTERNAL]ist", false},
		{"Hello [EXTERNAL] world", false},
		{"Hello: [EXTERNAL] world", false},
		{"Re[x]: [EXTERNAL] Hello", false},
		{": [EXTERNAL] Hello", false},
		{"R2: [EXTERNAL] Hello", false},
		{"", false},
	} {
		if got := begins(withoutAnswers(tc.text), "[EXTERNAL] "); got != tc.tagged {
			t.Errorf("%q is taken as tagged: %v, want %v", tc.text, got, tc.tagged)
		}
	}
}

func FuzzTagSubject(f *testing.F) {
	for _, s := range [][2]string{{"shop", " Hello"}, {"büro", " =?utf-8?q?h?="}, {"=?", "\r\n Hello"}, {"a\r\nb", " x\r\n\ty"}, {"\xff", ""}, {"?=_", " \xe9"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, tag, raw string) {
		if strings.ContainsAny(strings.NewReplacer("\r\n ", "", "\r\n\t", "").Replace(raw), "\r\n") {
			return // no header field
		}
		mark := "[" + Showable(tag) + "] "
		got := prefix(9, mark, raw)
		if strings.ContainsAny(strings.NewReplacer("\r\n ", "", "\r\n\t", "").Replace(got), "\r\n") {
			t.Fatalf("prefix(%q, %q) = %q breaks the header section", mark, raw, got)
		}
		rest := strings.TrimLeft(raw, " \t")
		if !strings.HasSuffix(got, rest) {
			t.Fatalf("prefix(%q, %q) = %q changed the original", mark, raw, got)
		}
		head := strings.NewReplacer("\r\n", "").Replace(strings.TrimSuffix(got, rest))
		shown, err := new(mime.WordDecoder).DecodeHeader(head)
		if err != nil || strings.TrimSpace(shown) != strings.TrimSpace(mark) {
			t.Errorf("prefix(%q, %q) = %q shows %q", mark, raw, got, shown)
		}
	})
}
