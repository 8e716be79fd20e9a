package smtpserver

import "bytes"

// lines watches the line ends of a message. RFC 5321 §2.3.8: a line ends in CRLF, and CR and
// LF appear in no other way. What breaks this is refused, or repaired (see repairs), and never
// passed on: another server may take a bare LF for a line end and find commands in the message
// ("SMTP smuggling").
type lines struct {
	start  bool // the next octet begins a line
	cr     bool // the last octet was CR
	crs    int64
	crlfs  int64
	bareLF bool
	nul    bool
}

// bad says what is wrong with the octets so far, "" where nothing is. repair: line ends will be
// made good.
func (l *lines) bad(repair bool) string {
	if repair {
		if l.nul {
			return "NUL"
		}
		return ""
	}
	pending := int64(0)
	if l.cr {
		pending = 1
	}
	switch {
	case l.bareLF:
		return "line feed without carriage return"
	case l.crs-l.crlfs > pending:
		return "carriage return without line feed"
	case l.nul:
		return "NUL"
	}
	return ""
}

// scan takes p up to the first line that begins with a dot, where stopAtDot is set, and
// returns how many octets these are.
func (l *lines) scan(p []byte, stopAtDot bool) int {
	n := 0
	for {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			n = len(p)
			break
		}
		n += i + 1
		cr := l.cr
		if n > 1 {
			cr = p[n-2] == '\r'
		}
		l.start = cr
		if cr {
			l.crlfs++
		} else {
			l.bareLF = true
		}
		if n == len(p) || stopAtDot && cr && p[n] == '.' {
			break
		}
	}
	p = p[:n]
	if n > 0 {
		if p[n-1] != '\n' {
			l.start = false
		}
		l.cr = p[n-1] == '\r'
		l.crs += int64(bytes.Count(p, []byte{'\r'}))
		l.nul = l.nul || bytes.IndexByte(p, 0) >= 0
	}
	return n
}

// dots finds the end of data and takes out the dots that the client has put in (RFC 5321
// §4.5.2). It is the only parser of the end of data: CRLF "." CRLF, or "." CRLF at the
// start, and nothing else.
type dots struct {
	lines
	end bool // the end of data has been read
}

func newDots() dots { return dots{lines: lines{start: true}} }

// decode moves octets of the message from src to dst and returns how many it has written
// and how many it has read. It leaves up to two octets of src where it cannot tell yet
// whether they are the end of data.
func (d *dots) decode(dst, src []byte) (written, read int) {
	for !d.end && read < len(src) {
		if d.start && src[read] == '.' {
			rest := src[read:]
			if len(rest) < 2 || rest[1] == '\r' && len(rest) < 3 {
				break
			}
			if rest[1] == '\r' && rest[2] == '\n' {
				d.end = true
				read += 3
				break
			}
			read++
			d.start, d.cr = false, false
			continue
		}
		if written == len(dst) {
			break
		}
		n := d.scan(src[read:min(len(src), read+len(dst)-written)], true)
		written += copy(dst[written:], src[read:read+n])
		read += n
	}
	return written, read
}
