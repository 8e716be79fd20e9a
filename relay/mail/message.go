package mail

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// maxLine is how long a line may be, in octets without its CRLF (RFC 5322 §2.1.1).
const maxLine = 998

// ParseMessage splits a message that a program has made into its header section and what follows,
// which begins with the empty line where there is one. It is stricter than with mail that others send: an error
// says what is no good message of RFC 5322, so that its author mends it. The header keeps raw.
func ParseMessage(raw []byte) (h *Header, body []byte, err error) {
	end := 0 // of the header section
	for at, line := 0, 1; at < len(raw); line++ {
		n := bytes.IndexByte(raw[at:], '\n')
		text := raw[at:]
		if n < 0 {
			return nil, nil, fmt.Errorf("line %d, the last, has no CRLF", line)
		}
		text = text[:n]
		if n == 0 || text[n-1] != '\r' {
			return nil, nil, fmt.Errorf("line %d ends in LF without CR", line)
		}
		text = text[:n-1]
		switch i := bytes.IndexAny(text, "\r\x00"); {
		case i >= 0 && text[i] == 0:
			return nil, nil, fmt.Errorf("line %d: NUL", line)
		case i >= 0:
			return nil, nil, fmt.Errorf("line %d: CR without LF", line)
		case len(text) > maxLine:
			return nil, nil, fmt.Errorf("line %d has %d octets: at most %d are allowed", line, len(text), maxLine)
		}
		if body == nil {
			if len(text) == 0 {
				end, body = at, raw[at:]
			} else if err := checkHeaderLine(text, line); err != nil {
				return nil, nil, err
			} else {
				end = at + n + 1
			}
		}
		at += n + 1
	}
	h = ParseHeader(raw[:end])
	if _, ok := h.First("From"); !ok {
		return nil, nil, fmt.Errorf("there is no From field (RFC 5322 §3.6)")
	}
	return h, body, nil
}

// checkHeaderLine: a field or the continuation of one, in ASCII or UTF-8 (RFC 6532 §3.2).
func checkHeaderLine(text []byte, line int) error {
	continued := text[0] == ' ' || text[0] == '\t'
	switch {
	case continued && line == 1, !continued && (Field{Raw: text}).nameLen() == 0:
		return fmt.Errorf("line %d is no header field: %.80q; an empty line ends the header section", line, text)
	case continued && len(bytes.TrimSpace(text)) == 0:
		return fmt.Errorf("line %d is of white space alone", line)
	case !utf8.Valid(text):
		return fmt.Errorf("line %d is not UTF-8", line)
	}
	return nil
}

// Is7Bit reports that b is ASCII.
func Is7Bit(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
