package main

import (
	"mime"
	"strings"
	"unicode"

	"example.org/relay/plugins/agent"
)

const (
	maxEncodedLine = 76  // RFC 2047 §2
	maxLine        = 998 // RFC 5322 §2.1.1
)

// mark puts the tag before the Subject.
func (c *catchall) mark(h *agent.Header, tag string) {
	if tag = clean(tag); tag == "" {
		return // nothing of it can be shown
	}
	mark := strings.ReplaceAll(c.settings.TagFormat, placeholder, tag)
	alone := strings.TrimRight(mark, " ")
	subject := h.Field("Subject")
	switch {
	case subject == nil:
		h.Add("Subject", alone)
	case subject.Text() == "":
		subject.SetText(alone)
	case begins(subject.Text(), mark):
		// Marked already: an answer to a marked message, say.
	default:
		subject.SetRaw(prefix(len(subject.Name())+2, mark, subject.Raw()))
	}
}

// begins reports whether a text begins with the mark. Where the mark ends with a space, so must
// it there: "shop " is not the beginning of "shopping".
func begins(text, mark string) bool {
	alone := strings.TrimRight(mark, " ")
	rest, found := strings.CutPrefix(text, alone)
	return found && (alone == mark || rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// prefix returns a raw Subject with the mark before it. The original's bytes stay as they are
// behind the mark, with their folding, encoded words and 8-bit characters: what was not meant
// is not changed. column is where the value begins in its line.
func prefix(column int, mark, raw string) string {
	rest := strings.TrimLeft(raw, " \t")
	text := strings.TrimLeft(rest, " \t\r\n")
	encoded := strings.HasPrefix(text, "=?")
	gap := ""
	switch {
	case !plain(mark) && encoded:
		// White space between encoded words is not shown (RFC 2047 §6.2): that of the mark
		// goes inside its word.
		mark, gap = encode(mark), " "
	case !plain(mark):
		mark, gap = encode(strings.TrimRight(mark, " ")), " "
	case strings.HasSuffix(mark, " "):
		mark, gap = strings.TrimRight(mark, " "), mark[len(strings.TrimRight(mark, " ")):]
	case encoded:
		gap = " " // an encoded word is one only with white space before it (RFC 2047 §5)
	}
	if rest != text { // the original begins with a fold, which is the gap
		return " " + mark + rest
	}
	first, _, _ := strings.Cut(rest, "\r\n")
	line := column + len(mark) + len(gap) + len(first)
	if gap != "" && (line > maxLine || line > maxEncodedLine && strings.Contains(mark+first, "=?")) {
		gap = "\r\n" + gap
	}
	return " " + mark + gap + rest
}

// plain reports whether a mark can stand in a header field as it is.
func plain(mark string) bool {
	for i := range len(mark) {
		if mark[i] < ' ' || mark[i] > '~' {
			return false
		}
	}
	return !strings.Contains(mark, "=?")
}

// encode makes encoded words, each on a line of its own where there are several.
func encode(mark string) string {
	words := mime.QEncoding.Encode("utf-8", mark)
	if !strings.HasPrefix(words, "=?utf-8?q?") { // the standard library leaves ASCII alone, "=?" too
		words = "=?utf-8?q?" + strings.NewReplacer("=", "=3D", "?", "=3F", "_", "=5F", " ", "_").Replace(mark) + "?="
	}
	return strings.ReplaceAll(words, " ", "\r\n ")
}

// clean makes a tag fit to be shown: no control characters, line breaks among them, and
// none that would turn the writing around it.
func clean(tag string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(tag, "\uFFFD"))
}
