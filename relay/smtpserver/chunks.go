package smtpserver

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// chunkSource is the content of BDAT (RFC 3030): chunks of a length told beforehand, each of
// them answered, the last marked.
type chunkSource struct {
	g *gate
	lines
	chunk *command // the BDAT under way
	size  int64    // of the chunk
	left  int64    // of the chunk
	last  bool
	total int64 // told, over all chunks
}

// bdat is the first BDAT of a message, or one that has no place.
func (g *gate) bdat(c *command) {
	size, last, err := parseChunk(c.arg)
	if err != nil {
		g.misframed(c, err)
		return
	}
	err = g.contentExpected()
	if err == nil && !g.offered.Chunking { // RFC 3030 §2: after EHLO only
		err = reply.Refuse(reply.New(503, reply.Enhanced{Subject: 5, Detail: 1}, "EHLO first"))
	}
	if err == nil {
		if err = g.tx.Data(g.ctx); err != nil {
			g.forget()
			g.mustReset = !last
			if g.discardChunk(size) {
				g.prepare(c, "RSET", reply.Reply{}, err)
			} else if !g.dead {
				g.answer(c, reply.Reply{}, hangUpAfter(err))
			}
			return
		}
		g.content = newContent(g, &chunkSource{
			g: g, lines: lines{start: true}, chunk: c, size: size, left: size, last: last, total: size,
		})
		g.give(c, "DATA")
		return
	}
	// RFC 3030 §2: the chunk follows, whatever we think of it.
	if g.discardChunk(size) {
		g.refuseBad(c, err)
	} else if !g.dead {
		g.answer(c, reply.Reply{}, hangUpAfter(err))
	}
}

// misframed ends the session: without its length, a chunk would be run as commands.
func (g *gate) misframed(c *command, err error) {
	g.linger = true
	g.answer(c, reply.Reply{}, &reply.Error{
		Reply: reply.New(501, reply.Enhanced{Subject: 5, Detail: 4}, "BDAT size [LAST] expected, closing connection"),
		Op:    "parse BDAT", Err: err, Hangup: true,
	})
}

// parseChunk reads the argument of BDAT.
func parseChunk(arg string) (size int64, last bool, err error) {
	words := strings.Fields(arg)
	switch {
	case len(words) == 2 && strings.EqualFold(words[1], "LAST"):
		last = true
	case len(words) != 1:
		return 0, false, errors.New("wrong number of arguments")
	}
	n, err := strconv.ParseUint(words[0], 10, 63)
	return int64(n), last, err
}

// discardChunk reads a chunk that nobody wants. False: it is too big for that, or the
// session is over.
func (g *gate) discardChunk(size int64) bool {
	g.pace = pace{}
	s := chunkSource{g: g, left: size}
	err := s.drain(max(2*g.offered.Size, minDrain))
	if err != nil && !errors.Is(err, errDrain) {
		g.lost(err)
	}
	return err == nil
}

func (s *chunkSource) next(p []byte) (int, error) {
	for s.left == 0 && !s.last {
		if err := s.nextChunk(); err != nil {
			return 0, err
		}
	}
	if s.total > s.g.offered.Size {
		// What is too big in the end need not be taken in the beginning.
		return 0, reply.Refuse(reply.New(552, reply.Enhanced{Subject: 3, Detail: 4}, "message is too big"))
	}
	n := 0
	if s.left > 0 {
		if err := s.wait(); err != nil {
			return 0, err
		}
		n = copy(p[:min(int64(len(p)), s.left)], s.g.in.unused())
		s.take(n)
		s.scan(p[:n], false)
	}
	repair := s.g.s.cfg.Limits.RepairLineEnds
	if what := s.bad(repair); what != "" {
		return 0, badLines(what)
	}
	if s.left > 0 || !s.last {
		return n, nil
	}
	if !s.start && !repair {
		// The end of data of DATA could not say this; the next hop would get another message.
		return 0, badLines("last line without CRLF")
	}
	return n, io.EOF
}

func (s *chunkSource) ready() bool { return s.left > 0 && len(s.g.in.unused()) > 0 }

// wait returns when octets of the chunk are there.
func (s *chunkSource) wait() error {
	if len(s.g.in.unused()) > 0 {
		return nil
	}
	return s.g.waitContent()
}

func (s *chunkSource) take(n int) {
	s.g.in.r += n
	s.left -= int64(n)
}

func (s *chunkSource) drain(room int64) error {
	for s.left > 0 {
		if room <= 0 {
			return errDrain
		}
		if err := s.wait(); err != nil {
			return err
		}
		n := int(min(int64(len(s.g.in.unused())), s.left))
		s.take(n)
		room -= int64(n)
	}
	return nil
}

// nextChunk answers the chunk that is read and waits for the next. Commands that end a
// transaction end the message (RFC 3030 §2); they are done when the Transaction has let go.
func (s *chunkSource) nextChunk() error {
	g := s.g
	g.answer(s.chunk, reply.New(250, reply.Enhanced{}, fmt.Sprintf("%d octets received", s.size)), nil)
	for !g.dead {
		c, err := g.command()
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		g.count.commands++
		done, err := s.between(c)
		if done || err != nil {
			return err
		}
	}
	return io.ErrUnexpectedEOF
}

// between handles a command between two chunks. done: the next chunk is there.
func (s *chunkSource) between(c *command) (done bool, err error) {
	g := s.g
	switch c.verb {
	case "BDAT":
		size, last, err := parseChunk(c.arg)
		if err != nil {
			g.misframed(c, err)
			return false, io.ErrUnexpectedEOF
		}
		s.chunk, s.size, s.left, s.last = c, size, size, last
		s.total += min(size, 1<<62-s.total)
		g.current = c
		return true, nil
	case "NOOP", "HELP", "VRFY", "EXPN":
		handlers[c.verb](g, c)
		return false, nil
	case "RSET", "EHLO", "HELO":
		if g.badArgument(c) {
			return false, nil
		}
		arg := c.arg
		if c.verb != "RSET" {
			arg = g.greeting(c)
		}
		if refused := g.ask(eventOf[c.verb], arg); refused != nil {
			g.answer(c, reply.Reply{}, refused)
			return false, nil
		}
		c.asked = true
	case "QUIT":
		if g.badArgument(c) {
			return false, nil
		}
	default:
		g.login.tried = g.login.tried || c.verb == "AUTH"
		if _, known := handlers[c.verb]; known {
			g.badCommand(c, 503, 1, "BDAT expected")
		} else {
			g.notRecognized(c)
		}
		return false, nil
	}
	g.saved = c
	return false, errAborted
}

var eventOf = map[string]event.Kind{"RSET": event.RsetCommand, "EHLO": event.EhloCommand, "HELO": event.HeloCommand}
