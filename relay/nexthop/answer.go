package nexthop

import (
	"bufio"
	"errors"
	"fmt"
	"io"

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
	var one [1]string // most replies have one
	lines := one[:0]
	code, total := 0, 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return reply.Reply{}, readError(err, total+len(line) == 0)
		}
		total += len(line)
		c, more, text, err := parseLine(line)
		if err != nil {
			return reply.Reply{}, err
		}
		switch {
		case code != 0 && c != code:
			return reply.Reply{}, fmt.Errorf("%w: %d continued by %d", errProtocol, code, c)
		case len(lines) == maxLines || total > maxReply:
			return reply.Reply{}, fmt.Errorf("%w: longer than %d lines or %d octets", errProtocol, maxLines, maxReply)
		}
		code, lines = c, append(lines, text)
		if !more {
			return reply.FromLines(code, lines), nil
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
	return code, more, string(line[4:]), nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
