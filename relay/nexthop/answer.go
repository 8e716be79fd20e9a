package nexthop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"example.org/relay/relay/reply"
)

// Caps on one reply. RFC 5321 §4.5.3.1.5 allows 512 octets a line; servers write more.
const (
	maxLine  = 4096 // the size of the connection's read buffer
	maxLines = 200
	maxReply = 64 << 10
)

// errProtocol is what a server says that is no SMTP reply. The two ends no longer
// agree on whose turn it is, so the connection is of no use.
var errProtocol = errors.New("not an SMTP reply")

// errSilent marks the end of a connection before the first octet of a reply.
var errSilent = errors.New("closed without a reply")

// readReply reads one reply (RFC 5321 §4.2). It takes what servers are known to send beside
// the grammar: a code without text, a tab after the code, a bare line feed.
func readReply(r *bufio.Reader) (reply.Reply, error) {
	var out reply.Reply
	total := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return reply.Reply{}, readError(err, total+len(line) == 0)
		}
		total += len(line)
		code, more, text, err := parseLine(line)
		if err != nil {
			return reply.Reply{}, err
		}
		switch {
		case out.Code != 0 && code != out.Code:
			return reply.Reply{}, fmt.Errorf("%w: %d continued by %d", errProtocol, out.Code, code)
		case len(out.Lines) == maxLines || total > maxReply:
			return reply.Reply{}, fmt.Errorf("%w: longer than %d lines or %d octets", errProtocol, maxLines, maxReply)
		}
		out.Code = code
		if out.Lines == nil && !more {
			out.Lines = make([]string, 1)
			out.Lines[0] = text
		} else {
			out.Lines = append(out.Lines, text)
		}
		if !more {
			splitEnhanced(&out)
			return out, nil
		}
	}
}

func readError(err error, nothing bool) error {
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("%w: line of more than %d octets", errProtocol, maxLine)
	case nothing && !isTimeout(err):
		return fmt.Errorf("%w: %w", errSilent, err)
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseLine splits one line into its code, whether another follows, and its text.
func parseLine(line []byte) (code int, more bool, text string, err error) {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return 0, false, "", fmt.Errorf("%w: %.80q", errProtocol, line)
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, "", nil
	}
	switch line[3] {
	case '-':
		more = true
	case ' ', '\t':
	default:
		return 0, false, "", fmt.Errorf("%w: %.80q", errProtocol, line)
	}
	return code, more, clean(line[4:]), nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// clean takes out what could do harm in a log or in a reply of ours: control characters and
// octets that are no UTF-8.
func clean(text []byte) string {
	for _, c := range text {
		if c < ' ' || c >= 0x7f {
			return cleaned(string(text))
		}
	}
	return string(text)
}

func cleaned(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0:
			return ' '
		case r == utf8.RuneError, r == '\u2028', r == '\u2029':
			return '?'
		}
		return r
	}, text)
}

// splitEnhanced takes the enhanced status code (RFC 2034 §4) off the lines that have it:
// all of them by the RFC, with some servers only the last. One whose class contradicts the
// reply code is text like any other.
func splitEnhanced(r *reply.Reply) {
	r.Enhanced = reply.None
	for i, l := range r.Lines {
		e, rest, ok := cutEnhanced(l, r.Class())
		if !ok || !r.Enhanced.None && e != r.Enhanced {
			continue
		}
		r.Enhanced = e
		r.Lines[i] = rest
	}
}

// cutEnhanced cuts "5.1.1 " of this class off a line (RFC 3463 §2).
func cutEnhanced(line string, class int) (e reply.Enhanced, rest string, ok bool) {
	if len(line) < 5 || class == 3 || int(line[0]-'0') != class || line[1] != '.' {
		return e, "", false
	}
	subject, rest, ok := cutNumber(line[2:])
	if !ok || rest == "" || rest[0] != '.' {
		return e, "", false
	}
	detail, rest, ok := cutNumber(rest[1:])
	if !ok || rest != "" && rest[0] != ' ' {
		return e, "", false
	}
	return reply.Enhanced{Subject: subject, Detail: detail}, strings.TrimPrefix(rest, " "), true
}

// cutNumber cuts one to three digits, without leading zeros, off the front of s.
func cutNumber(s string) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < 3 && digit(s[i]) {
		n = n*10 + int(s[i]-'0')
		i++
	}
	if i == 0 || i > 1 && s[0] == '0' {
		return 0, "", false
	}
	return n, s[i:], true
}
