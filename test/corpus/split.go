package corpus

import "bytes"

// Split cuts content where its header section ends: at the first empty line, of CRLF alone. rest begins with that
// line, so that header and rest together are wire again. Content that begins with an empty line has an empty header
// section; content without one is all header. A line of white space is not empty, and what a line looks like does
// not matter. Both share wire's memory, with no room to append.
func Split(wire []byte) (header, rest []byte) {
	for start := 0; start < len(wire); {
		if bytes.HasPrefix(wire[start:], []byte("\r\n")) {
			return wire[:start:start], wire[start:]
		}
		start = lineEnd(wire, start)
	}
	return wire[:len(wire):len(wire)], nil
}

// FieldLines cuts a header section into fields with their continuation lines: a line that begins with space or tab
// belongs to what is before it (RFC 5322 §2.2.3). Lines without colon are spans of their own, as are continuation lines
// before the first field. The spans joined are header again, and share its memory.
func FieldLines(header []byte) [][]byte {
	var spans [][]byte
	begin := 0
	for start := 0; start < len(header); {
		end := lineEnd(header, start)
		if end == len(header) || header[end] != ' ' && header[end] != '\t' {
			spans = append(spans, header[begin:end:end])
			begin = end
		}
		start = end
	}
	return spans
}

// lineEnd is the offset behind the CRLF of the line that starts at start, or the end. A bare CR or LF ends no line.
func lineEnd(octets []byte, start int) int {
	for i := start; i+1 < len(octets); i++ {
		if octets[i] == '\r' && octets[i+1] == '\n' {
			return i + 2
		}
	}
	return len(octets)
}

// NameIs reports whether a field has this name. Case is ignored, as is white space before the colon, which RFC 5322
// §4.5.8 lets a reader meet; a line without colon has no name.
func NameIs(field []byte, name string) bool {
	colon := bytes.IndexByte(field, ':')
	return colon >= 0 && bytes.EqualFold(bytes.TrimRight(field[:colon], " \t"), []byte(name))
}

// Find is the first field of this name with all its octets, nil where there is none.
func Find(header []byte, name string) []byte {
	for _, field := range FieldLines(header) {
		if NameIs(field, name) {
			return field
		}
	}
	return nil
}

// Place says where a field goes that the header section does not have yet.
type Place int

const (
	Top    Place = iota // above all fields
	Bottom              // below all fields
)

// ReplaceSubject is the header section to expect when the first Subject field has become newField, which is a whole
// field with its CRLF. Where there is no Subject, newField is added at place. All else stays octet for octet. The result is the caller's.
func ReplaceSubject(header, newField []byte, place Place) []byte {
	result := make([]byte, 0, len(header)+len(newField))
	old := 0
	for _, field := range FieldLines(header) {
		if NameIs(field, "Subject") {
			result = append(result, header[:old]...)
			result = append(result, newField...)
			return append(result, header[old+len(field):]...)
		}
		old += len(field)
	}
	if place == Top {
		return append(append(result, newField...), header...)
	}
	return append(append(result, header...), newField...)
}

// ContinuesTrace reports whether the content begins with a continuation line. A relay that puts its Received field
// before it passes every octet, yet a reader takes those lines for a part of that field.
func ContinuesTrace(wire []byte) bool {
	return len(wire) > 0 && (wire[0] == ' ' || wire[0] == '\t')
}
