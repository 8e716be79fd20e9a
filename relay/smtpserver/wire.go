package smtpserver

import (
	"bytes"
	"errors"
	"net"
	"sync"
)

// dataBuffer is how much is read at once while a message comes in; between messages a
// session holds a buffer of one command line.
const dataBuffer = 64 << 10

var dataBuffers = sync.Pool{New: func() any { b := make([]byte, dataBuffer); return &b }}

// input is what has come from the client and was not used yet. Used by one goroutine.
type input struct {
	small []byte  // maxLine octets
	big   *[]byte // from dataBuffers; nil while small is in use
	buf   []byte  // one of the two
	r, w  int     // buf[r:w] is unused
	keep  bool    // big stays: a message is being read
}

func newInput() input {
	b := make([]byte, maxLine)
	return input{small: b, buf: b}
}

func (in *input) unused() []byte { return in.buf[in.r:in.w] }

// fill reads once from c. There must be room: fewer than maxLine octets are unused.
func (in *input) fill(c net.Conn) error {
	if in.r == in.w {
		in.r, in.w = 0, 0
		in.shrink()
	} else if in.w == len(in.buf) {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := c.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		err = errors.New("connection gave no octets")
	}
	return err
}

// grow takes a big buffer until release.
func (in *input) grow() {
	in.keep = true
	if in.big != nil {
		return
	}
	in.big = dataBuffers.Get().(*[]byte)
	in.w = copy(*in.big, in.unused())
	in.r = 0
	in.buf = *in.big
}

// release ends the need for a big buffer.
func (in *input) release() {
	in.keep = false
	in.shrink()
}

// shrink gives the big buffer back where what is left in it fits into the small one.
func (in *input) shrink() {
	if in.big == nil || in.keep || in.w-in.r > len(in.small) {
		return
	}
	in.w = copy(in.small, in.unused())
	in.r = 0
	in.buf = in.small
	dataBuffers.Put(in.big)
	in.big = nil
}

// What may be wrong with a command line.
var (
	errBareEnd = errors.New("command line with a bare CR or LF")
	errTooLong = errors.New("command line too long")
)

// line takes the next command line, without its CRLF. ok is false where it is not all there
// yet. The error is errBareEnd, for a line that ends in LF only or has a CR in it, or
// errTooLong, when nothing is taken.
func (in *input) line() (line []byte, ok bool, err error) { return in.lineWithin(maxLine) }

// lineWithin is line for lines that may be so long. Beyond maxLine the big buffer is needed.
func (in *input) lineWithin(longest int) (line []byte, ok bool, err error) {
	p := in.unused()
	i := bytes.IndexByte(p[:min(len(p), longest)], '\n')
	if i < 0 {
		if len(p) >= longest {
			return nil, false, errTooLong
		}
		return nil, false, nil
	}
	in.r += i + 1
	if i == 0 || p[i-1] != '\r' || bytes.IndexByte(p[:i-1], '\r') >= 0 {
		return nil, true, errBareEnd
	}
	return p[:i-1], true, nil
}

// skipLine drops octets up to and with the next LF and reports whether it was there.
func (in *input) skipLine() (skipped int, done bool) {
	p := in.unused()
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		in.r += i + 1
		return i + 1, true
	}
	in.r = in.w
	return len(p), false
}
