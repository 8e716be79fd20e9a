package sink

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	shownLines  = 40       // of a body
	shownOctets = 16 << 10 // of a body
)

// head keeps the beginning of a body, for printing.
type head struct{ b []byte }

func (h *head) Write(p []byte) (int, error) {
	if room := shownOctets - len(h.b); room > 0 {
		h.b = append(h.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// printer shows messages as they arrive, each in one write. Safe for concurrent use.
type printer struct {
	mu     sync.Mutex
	out    io.Writer
	format Format
}

func (p *printer) print(m *Message, header, body []byte) {
	var b []byte
	switch p.format {
	case JSON:
		b, _ = json.Marshal(m) // strings, numbers, a time: cannot fail
		b = append(b, '\n')
	case Lines:
		b = appendLine(nil, m)
	default:
		b = appendWhole(nil, m, header, body)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(b) // where nobody reads any more, nothing is lost but the show
}

// appendLine is the short form: what, from whom, to whom, how big, what we said.
func appendLine(b []byte, m *Message) []byte {
	b = strconv.AppendInt(b, int64(m.Seq), 10)
	b = m.At.AppendFormat(b, " 15:04:05 ")
	b = appendSafe(b, m.From.path.Wire())
	b = append(b, " ->"...)
	for _, r := range m.Recipients {
		b = appendSafe(append(b, ' '), r.path.Wire())
	}
	b = fmt.Appendf(b, ", %d octets, subject ", m.Size)
	b = append(appendSafe(append(b, '"'), m.Subject), '"')
	return append(appendSafe(append(b, ": "...), m.Reply), '\n')
}

// appendWhole is the long form: envelope, header, the first lines of the body.
func appendWhole(b []byte, m *Message, header, body []byte) []byte {
	verb := "HELO"
	if m.ESMTP {
		verb = "EHLO"
	}
	b = fmt.Appendf(b, "=== message %d, %s, from %s (%s ", m.Seq, m.At.Format("15:04:05"), m.Client, verb)
	b = appendSafe(b, m.Hello)
	if m.TLS != "" {
		b = append(append(b, ", "...), m.TLS...)
	}
	b = append(b, ")\n"...)
	b = append(appendSafe(append(b, "MAIL FROM:"...), m.From.wire()), '\n')
	for _, r := range m.Recipients {
		b = append(appendSafe(append(b, "RCPT TO:"...), r.wire()), '\n')
	}
	b = append(b, '\n')
	b = appendText(b, header)
	shown, lines := 0, 0
	for shown < len(body) && lines <= shownLines { // the empty line before the body is the first
		if i := bytes.IndexByte(body[shown:], '\n'); i >= 0 {
			shown += i + 1
		} else {
			shown = len(body)
		}
		lines++
	}
	b = appendText(b, body[:shown])
	if rest := m.Size - int64(len(header)) - int64(shown); rest > 0 {
		b = fmt.Appendf(b, "[%d more octets]\n", rest)
	}
	b = fmt.Appendf(b, "=== message %d, %d octets: ", m.Seq, m.Size)
	b = appendSafe(b, m.Reply)
	if m.File != "" {
		b = append(append(b, ", kept as "...), m.File...)
	}
	return append(b, "\n\n"...)
}

// appendText appends lines of a message, each made safe, and ends the last.
func appendText(b, text []byte) []byte {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		b = append(appendSafe(b, line), '\n')
	}
	return b
}

// appendSafe appends s without what could drive a terminal: mail is written by strangers.
func appendSafe(b []byte, s string) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == '\t' || unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b = append(b, s[:n]...)
		} else {
			for i := range n {
				b = fmt.Appendf(b, `\x%02x`, s[i])
			}
		}
		s = s[n:]
	}
	return b
}
