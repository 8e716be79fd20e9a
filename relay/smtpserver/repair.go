package smtpserver

import (
	"bytes"
	"errors"
	"io"
)

// repairs makes CRLF of every CR and every LF that stands alone. It sees octets after the end of
// data was looked for and dots were taken out: nothing it writes can become an end of data, and
// a dot behind a line end it has made is content, which the sending side doubles. To take a
// dot out never joins a CR and an LF, since only a CRLF stands before it.
type repairs struct {
	cr     bool // the last octet was a CR: whether it stands alone, the next one tells
	inLine bool // what was written last was no line end
	made   int64
}

// appendTo appends src, repaired, to dst.
func (r *repairs) appendTo(dst, src []byte) []byte {
	for len(src) > 0 {
		c := src[0]
		if r.cr {
			r.cr = false
			dst = r.endLine(dst, c != '\n')
			if c == '\n' {
				src = src[1:]
			}
			continue
		}
		switch c {
		case '\r':
			r.cr = true
			src = src[1:]
		case '\n':
			dst = r.endLine(dst, true)
			src = src[1:]
		default:
			n := bytes.IndexAny(src, "\r\n")
			if n < 0 {
				n = len(src)
			}
			dst = append(dst, src[:n]...)
			src = src[n:]
			r.inLine = true
		}
	}
	return dst
}

// appendEnd appends what is owed when no more comes: for a CR that was the last octet, and for a last
// line that has no end, which a chunk may leave away and DATA cannot.
func (r *repairs) appendEnd(dst []byte) []byte {
	if r.cr || r.inLine {
		r.cr = false
		dst = r.endLine(dst, true)
	}
	return dst
}

func (r *repairs) endLine(dst []byte, made bool) []byte {
	r.inLine = false
	if made {
		r.made++
	}
	return append(dst, '\r', '\n')
}

// repairSource is a source whose line ends are made good.
type repairSource struct {
	source
	repairs
	buf  [4 << 10]byte
	out  []byte
	rest []byte // of out, not yet taken
	over bool   // source has come to its end
}

func (s *repairSource) next(p []byte) (int, error) {
	for len(s.rest) == 0 && !s.over {
		n, err := s.source.next(s.buf[:])
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		s.out = s.appendTo(s.out[:0], s.buf[:n])
		if s.over = err != nil; s.over {
			s.out = s.appendEnd(s.out)
		}
		s.rest = s.out
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	if s.over && len(s.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}

func (s *repairSource) ready() bool { return len(s.rest) > 0 || s.over || s.source.ready() }
