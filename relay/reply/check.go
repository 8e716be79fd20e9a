package reply

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// What a reply may be. RFC 5321 §4.5.3.1.5 has 512 octets for a line with its CRLF; the
// number of lines is ours: nobody reads more, and a client has to buffer them.
const (
	maxLine  = 510
	maxLines = 50
)

// Check says what keeps r from being told to a client: a code that is none, or whose class
// (2 to 5) is not among the classes, where any are given; too many or too long lines; and
// whatever would end a line and start another.
func Check(r Reply, classes ...int) error {
	if r.Code < 200 || r.Code > 599 {
		return fmt.Errorf("reply code %d: must be from 200 to 599", r.Code)
	}
	if len(classes) > 0 && !slices.Contains(classes, r.Class()) {
		return fmt.Errorf("reply code %d: its first digit must be one of %v", r.Code, classes)
	}
	if e := r.Enhanced; !e.None && (e.Subject < 0 || e.Subject > 999 || e.Detail < 0 || e.Detail > 999) {
		return fmt.Errorf("enhanced status code %d.%d.%d: must have numbers from 0 to 999", r.Class(), e.Subject, e.Detail)
	}
	if len(r.Lines) == 0 || len(r.Lines) > maxLines {
		return fmt.Errorf("reply has %d lines: must be 1 to %d", len(r.Lines), maxLines)
	}
	room := r.room()
	for _, l := range r.Lines {
		if len(l) > room {
			return fmt.Errorf("reply line %.40q… has %d octets: must be at most %d", l, len(l), room)
		}
		if strings.IndexFunc(l, isControl) >= 0 {
			return fmt.Errorf("reply line %.40q: control character", l)
		}
	}
	return nil
}

// room is how many octets of text fit on a line beside the codes.
func (r Reply) room() int {
	room := maxLine - len("250 ")
	if e := r.EnhancedString(); e != "" {
		room -= len(e) + 1
	}
	return room
}

// isControl: RFC 5321 §4.2 has textstring of tab and the printable characters.
func isControl(c rune) bool { return c < ' ' && c != '\t' || c >= 0x7f && c < 0xa0 }

// FromLines makes a reply of a code and lines of text as a server sends them, each perhaps
// with the enhanced code before it (RFC 2034 §4). A code that does not fit the class stays
// text. Control characters become "?", long lines are cut, many lines end at the 50th.
func FromLines(code int, lines []string) Reply {
	r := Reply{Code: code, Enhanced: None}
	for _, l := range lines[:min(len(lines), maxLines)] {
		e, text, ok := cutEnhanced(l, r.Class())
		switch {
		case !ok:
			text = l
		case r.Enhanced.None:
			r.Enhanced = e
		case r.Enhanced != e:
			text = l // another one than on the lines before: nobody can say which it is
		}
		r.Lines = append(r.Lines, strings.Map(visible, strings.ToValidUTF8(text, "?")))
	}
	if r.Lines == nil {
		r.Lines = []string{""}
	}
	room := r.room()
	for i, l := range r.Lines {
		r.Lines[i] = cut(l, room)
	}
	return r
}

func visible(c rune) rune {
	if isControl(c) {
		return '?'
	}
	return c
}

// cut shortens a text without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cutEnhanced cuts "5.1.1 " of this class off a line (RFC 3463 §2).
func cutEnhanced(line string, class int) (e Enhanced, text string, ok bool) {
	word, text, _ := strings.Cut(line, " ")
	first, rest, _ := strings.Cut(word, ".")
	subject, detail, _ := strings.Cut(rest, ".")
	if len(first) != 1 || int(first[0]-'0') != class || class == 3 {
		return Enhanced{}, "", false
	}
	var okSubject, okDetail bool
	e.Subject, okSubject = number(subject)
	e.Detail, okDetail = number(detail)
	return e, text, okSubject && okDetail
}

// number reads 1 to 3 digits without leading zeros.
func number(s string) (n int, ok bool) {
	if s == "" || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
