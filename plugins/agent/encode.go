package agent

import (
	"encoding/base64"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

const (
	maxLine        = 78  // RFC 5322 §2.1.1: should be no longer
	longestLine    = 998 // RFC 5322 §2.1.1: must be no longer
	maxEncodedLine = 76  // RFC 2047 §2: a line with encoded words
	maxEncodedWord = 75  // RFC 2047 §2
)

var words = mime.WordDecoder{CharsetReader: charset.Reader}

// decode unfolds a raw value and decodes its encoded words.
func decode(raw string) string {
	text := strings.Trim(unfold(raw), " \t")
	if !strings.Contains(text, "=?") {
		return text
	}
	decoded, err := words.DecodeHeader(text)
	if err != nil {
		return text
	}
	return decoded
}

// unfold takes the line breaks out and leaves the white space (RFC 5322 §2.2.3).
func unfold(raw string) string {
	if !strings.ContainsAny(raw, "\r\n") {
		return raw
	}
	return strings.NewReplacer("\r\n", "", "\n", "", "\r", "").Replace(raw)
}

// encode makes the raw value of a field: a space, the text with encoded words where it needs
// them, folded where there is white space to fold at.
func encode(name, text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	start, end := mustEncode(text)
	f := folder{column: len(name) + 1}
	f.plain(" " + text[:start])
	if start < end {
		f.encoded(text[start:end])
		f.plain(text[end:])
	}
	return f.String()
}

// mustEncode finds the span of words from the first that needs encoding to the last; white
// space between encoded words would be lost, so that the span is encoded whole. Trailing
// white space would be lost as well.
func mustEncode(text string) (start, end int) {
	first, last := -1, -1
	for i := 0; i < len(text); {
		if text[i] == ' ' || text[i] == '\t' {
			i++
			continue
		}
		n := strings.IndexAny(text[i:], " \t")
		if n < 0 {
			n = len(text) - i
		}
		if needsEncoding(text[i : i+n]) {
			if first < 0 {
				first = i
			}
			last = i + n
		}
		i += n
	}
	if first < 0 {
		return len(text), len(text)
	}
	return first, last
}

// needsEncoding: 8-bit and control characters, what could be taken for an encoded word, and
// what no line could hold.
func needsEncoding(word string) bool {
	if strings.Contains(word, "=?") || len(word) > 900 {
		return true
	}
	for i := range len(word) {
		if c := word[i]; c < ' ' || c > '~' {
			return true
		}
	}
	return false
}

// folder writes a value and keeps its lines short.
type folder struct {
	strings.Builder
	column int
}

// plain writes ASCII text, breaking before the last space that lets a word fit. A line of
// white space only would end the header section for some readers: a break comes only where
// the line has something and something follows.
func (f *folder) plain(text string) {
	for text != "" {
		blank := len(text) - len(strings.TrimLeft(text, " \t"))
		n := strings.IndexAny(text[blank:], " \t")
		if n < 0 {
			n = len(text) - blank
		}
		chunk := text[:blank+n]
		text = text[blank+n:]
		if blank > 0 && n > 0 && f.Len() > 0 && f.column+len(chunk) > maxLine && !f.blankLine() {
			f.WriteString("\r\n")
			f.column = 0
		}
		f.WriteString(chunk)
		f.column += len(chunk)
	}
}

// blankLine reports whether the line so far has nothing but white space.
func (f *folder) blankLine() bool {
	s := f.String()
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return strings.Trim(s, " \t") == ""
}

// encoded writes text as encoded words: in Q, which people can read, unless B is a third
// shorter. No character is split between words (RFC 2047 §5).
func (f *folder) encoded(text string) {
	q := 2*quotedLength(text) <= 3*base64.StdEncoding.EncodedLen(len(text))
	const overhead = len("=?utf-8?q?") + len("?=")
	for first := true; text != ""; first = false {
		if !first || f.column+overhead+12 > maxEncodedLine && !f.blankLine() {
			f.breakLine(first)
		}
		room := min(maxEncodedWord, maxEncodedLine-f.column) - overhead
		n := fit(text, max(room, 12), q)
		word := text[:n]
		text = text[n:]
		before := f.Len()
		if q {
			f.WriteString("=?utf-8?q?")
			writeQuoted(&f.Builder, word)
		} else {
			f.WriteString("=?utf-8?b?")
			f.WriteString(base64.StdEncoding.EncodeToString([]byte(word)))
		}
		f.WriteString("?=")
		f.column += f.Len() - before
	}
}

// breakLine starts a line for the next encoded word. Before the first one the space that
// parts it from the plain text is already there and moves to the new line.
func (f *folder) breakLine(first bool) {
	if !first {
		f.WriteString("\r\n ")
		f.column = 1
		return
	}
	s := f.String()
	if !strings.HasSuffix(s, " ") {
		return
	}
	f.Reset()
	f.WriteString(s[:len(s)-1] + "\r\n ")
	f.column = 1
}

// fit returns how many bytes of text, whole characters, fit into room once encoded; at
// least one character.
func fit(text string, room int, q bool) int {
	used, n := 0, 0
	for n < len(text) {
		_, size := utf8.DecodeRuneInString(text[n:])
		if q {
			used += quotedLength(text[n : n+size])
		} else {
			used = base64.StdEncoding.EncodedLen(n + size)
		}
		if used > room && n > 0 {
			break
		}
		n += size
	}
	return n
}

func quotedLength(s string) int {
	n := 0
	for i := range len(s) {
		n++
		if s[i] != ' ' && !safe(s[i]) {
			n += 2
		}
	}
	return n
}

func writeQuoted(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('_')
		case safe(c):
			b.WriteByte(c)
		default:
			b.WriteByte('=')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}

// safe are the characters that need no encoding anywhere, also in a phrase (RFC 2047 §5 (3)).
func safe(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!*+-/", c) >= 0
}
