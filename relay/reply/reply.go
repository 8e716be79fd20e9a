// Package reply has SMTP replies and enhanced status codes, and the one door from
// errors to the wire: whatever goes wrong inside, only a Reply reaches a client.
package reply

import (
	"slices"
	"strconv"
	"strings"
)

// Reply is an SMTP reply (RFC 5321 §4.2) with its enhanced status code (RFC 3463).
// The zero value is no reply.
type Reply struct {
	Code     int
	Enhanced Enhanced
	// Lines are the text, at least one where Code is set; no CR or LF in them, and no
	// enhanced code: printing puts it on every line (RFC 2034 §4).
	Lines []string
}

// Enhanced is subject and detail of an enhanced status code. The class is that of
// the reply code, so that the two cannot contradict each other.
type Enhanced struct {
	Subject, Detail int
	None            bool // no enhanced code at all: 220 banner, EHLO, 354
}

// None marks a reply without enhanced code.
var None = Enhanced{None: true}

// New makes a reply with one line of text.
func New(code int, e Enhanced, text string) Reply {
	return Reply{Code: code, Enhanced: e, Lines: []string{text}}
}

// Class returns 2 to 5, or 0 for no reply.
func (r Reply) Class() int { return r.Code / 100 }

// Positive reports a completion or intermediate reply.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Transient reports a 4yz reply, Permanent a 5yz one (RFC 5321 §4.2.1).
func (r Reply) Transient() bool { return r.Class() == 4 }

// Permanent reports a 5yz reply.
func (r Reply) Permanent() bool { return r.Class() == 5 }

// EnhancedString returns "5.1.1", or "" without one.
func (r Reply) EnhancedString() string {
	if r.Enhanced.None || r.Code == 0 || r.Class() == 3 {
		return ""
	}
	return strconv.Itoa(r.Class()) + "." + strconv.Itoa(r.Enhanced.Subject) + "." + strconv.Itoa(r.Enhanced.Detail)
}

// Text returns the lines joined by a space.
func (r Reply) Text() string { return strings.Join(r.Lines, " ") }

// String prints the reply on one line, for logs.
func (r Reply) String() string {
	s := strconv.Itoa(r.Code)
	if e := r.EnhancedString(); e != "" {
		s += " " + e
	}
	if t := r.Text(); t != "" {
		s += " " + t
	}
	return s
}

// AppendTo appends the reply as it goes over the wire, each line ended by CRLF.
func (r Reply) AppendTo(b []byte) []byte {
	e := r.EnhancedString()
	lines := r.Lines
	if len(lines) == 0 {
		lines = []string{""}
	}
	for i, l := range lines {
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if i < len(lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if e != "" {
			b = append(append(b, e...), ' ')
		}
		b = append(append(b, l...), '\r', '\n')
	}
	return b
}

// Tagged returns the reply with the id of a message behind its text, the same id as in the
// log. Without an id it is r itself.
func (r Reply) Tagged(id string) Reply {
	if id == "" {
		return r
	}
	id = "(id " + id + ")"
	if len(r.Lines) == 0 {
		r.Lines = []string{id}
		return r
	}
	r.Lines = slices.Clone(r.Lines)
	last := len(r.Lines) - 1
	// RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets.
	if line := r.Lines[last] + " " + id; len(line) < 480 {
		r.Lines[last] = strings.TrimLeft(line, " ")
	} else {
		r.Lines = append(r.Lines, id)
	}
	return r
}
