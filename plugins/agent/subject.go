package agent

import (
	"mime"
	"strings"
	"unicode"
)

// TagSubject puts a tag such as "[shop] " before the Subject, where it does not begin with it
// already. The bytes of the original stay as they are behind the tag, with their folding,
// encoded words and 8-bit characters. A missing Subject is added, an empty one filled; of
// several, which RFC 5322 §3.6 does not allow, the first is tagged. Control and direction
// characters are left out of the tag, and nothing is done where nothing of it is left. What is
// not ASCII is encoded.
func (h *Header) TagSubject(tag string) { h.tagSubject(tag, begins) }

// TagSubjectOnce is TagSubject, but leaves alone an answer to a tagged message too: a Subject
// that begins with the tag behind words such as "Re:" and "Fwd:".
func (h *Header) TagSubjectOnce(tag string) {
	h.tagSubject(tag, func(text, tag string) bool { return begins(withoutAnswers(text), tag) || begins(text, tag) })
}

func (h *Header) tagSubject(tag string, tagged func(text, tag string) bool) {
	tag = Showable(tag)
	alone := strings.TrimRight(tag, " ")
	if strings.Trim(tag, " ") == "" {
		return
	}
	subject := h.Field("Subject")
	switch {
	case subject == nil:
		h.Add("Subject", alone)
	case subject.Text() == "":
		subject.SetText(alone)
	case tagged(subject.Text(), tag):
	default:
		subject.SetRaw(prefix(len(subject.Name())+2, tag, writable(subject.Raw())))
	}
}

// begins reports whether a text begins with the tag. Where the tag ends with a space, so must
// it there: "shop " is not the beginning of "shopping".
func begins(text, tag string) bool {
	alone := strings.TrimRight(tag, " ")
	rest, found := strings.CutPrefix(text, alone)
	return found && (alone == tag || rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// withoutAnswers takes off what programs put before the Subject of an answer: a short word in
// any language, perhaps counted, and a colon ("Re:", "AW:", "Re[2]:").
func withoutAnswers(text string) string {
	for {
		word, rest, found := strings.Cut(text, ":")
		word, count, counted := strings.Cut(strings.TrimSpace(word), "[")
		if counted && strings.Trim(count, "0123456789") != "]" {
			return text
		}
		if n := len([]rune(word)); !found || n < 1 || n > 4 || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }) {
			return text
		}
		text = strings.TrimLeft(rest, " \t")
	}
}

// prefix returns a raw value with the tag before it. column is where the value begins in its
// line.
func prefix(column int, tag, raw string) string {
	rest := strings.TrimLeft(raw, " \t")
	text := strings.TrimLeft(rest, " \t\r\n")
	encoded := strings.HasPrefix(text, "=?")
	gap := ""
	switch {
	case !plain(tag) && encoded:
		// White space between encoded words is not shown (RFC 2047 §6.2): that of the tag
		// goes inside its word.
		tag, gap = encodeTag(tag), " "
	case !plain(tag):
		tag, gap = encodeTag(strings.TrimRight(tag, " ")), " "
	case strings.HasSuffix(tag, " "):
		tag, gap = strings.TrimRight(tag, " "), tag[len(strings.TrimRight(tag, " ")):]
	case encoded:
		gap = " " // an encoded word is one only with white space before it (RFC 2047 §5)
	}
	if rest != text { // the original begins with a fold, which is the gap
		return " " + tag + rest
	}
	first, _, _ := strings.Cut(rest, "\r\n")
	line := column + len(tag) + len(gap) + len(first)
	if gap != "" && (line > longestLine || line > maxEncodedLine && strings.Contains(tag+first, "=?")) {
		gap = "\r\n" + gap
	}
	return " " + tag + gap + rest
}

// plain reports whether a tag can stand in a header field as it is.
func plain(tag string) bool { return !needsEncoding(tag) }

// encodeTag makes encoded words, each on a line of its own where there are several.
func encodeTag(tag string) string {
	words := mime.QEncoding.Encode("utf-8", tag)
	if !strings.HasPrefix(words, "=?utf-8?q?") { // the standard library leaves ASCII alone, "=?" too
		words = "=?utf-8?q?" + strings.NewReplacer("=", "=3D", "?", "=3F", "_", "=5F", " ", "_").Replace(tag) + "?="
	}
	return strings.ReplaceAll(words, " ", "\r\n ")
}

// Showable makes a text of a client's fit to be shown to people: no control characters, line breaks among them, and
// none that would turn the writing around it.
func Showable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
