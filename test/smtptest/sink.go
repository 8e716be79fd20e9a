package smtptest

import (
	"bufio"
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Message is what arrived, octet for octet.
type Message struct {
	From    string   // the argument of MAIL, behind the colon
	To      []string // the arguments of RCPT
	Content []byte   // dot-unstuffed, without the final dot
}

// Sink is a next hop that keeps what arrives. Its fields are set before Start.
type Sink struct {
	// Reply answers a command in place of the 250 or 354 that it would get: "MAIL FROM:<…>",
	// "." for the content. An empty answer is the usual one; "close" hangs up.
	Reply func(command string) string
	// Extensions are the lines of the EHLO reply; nil is PIPELINING, 8BITMIME, SMTPUTF8, DSN,
	// ENHANCEDSTATUSCODES and SIZE.
	Extensions []string

	listener net.Listener
	mu       sync.Mutex
	messages []Message
	arrived  chan struct{} // one for each message
	conns    int
}

// Start listens on a free port until the test ends.
func (s *Sink) Start(t testing.TB) *Sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.Extensions == nil {
		s.Extensions = []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "SIZE 0"}
	}
	s.listener = l
	s.arrived = make(chan struct{}, 1<<20)
	accept(t, l, func(c net.Conn) {
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		s.session(c)
	})
	return s
}

// Addr is where it listens.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Messages returns what has arrived so far.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Take returns what has arrived and forgets it.
func (s *Sink) Take() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.messages
	s.messages = nil
	return all
}

// Connections returns how many connections there have been.
func (s *Sink) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

func (s *Sink) session(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
	say := func(lines ...string) bool {
		for _, l := range lines {
			w.WriteString(l + "\r\n")
		}
		return r.Buffered() > 0 || w.Flush() == nil
	}
	var m Message
	if !say("220 sink.example.org ESMTP") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		usual, after := "250 2.0.0 ok", func() {}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			usual = s.hello()
		case "MAIL":
			after = func() { m = Message{From: line[len("MAIL FROM:"):]} }
		case "RCPT":
			after = func() { m.To = append(m.To, line[len("RCPT TO:"):]) }
		case "DATA":
			usual = "354 go ahead"
		case "RSET":
			after = func() { m = Message{} }
		case "QUIT":
			say("221 2.0.0 bye")
			w.Flush()
			return
		case "HELO", "NOOP":
		default:
			usual = "500 5.5.2 what"
		}
		answer := s.answer(line, usual)
		if answer == "close" || !say(answer) {
			return
		}
		if answer[0] == '2' {
			after()
		}
		if answer[0] != '3' {
			continue
		}
		w.Flush()
		var ok bool
		if m.Content, ok = readData(r); !ok {
			return
		}
		answer = s.answer(".", "250 2.0.0 kept")
		if answer == "close" {
			return
		}
		if answer[0] == '2' {
			s.mu.Lock()
			s.messages = append(s.messages, m)
			s.mu.Unlock()
			s.arrived <- struct{}{}
		}
		m = Message{}
		if !say(answer) {
			return
		}
	}
}

func (s *Sink) answer(command, usual string) string {
	if s.Reply != nil {
		if r := s.Reply(command); r != "" {
			return r
		}
	}
	return usual
}

func (s *Sink) hello() string {
	all := append([]string{"sink.example.org"}, s.Extensions...)
	var b strings.Builder
	for i, l := range all {
		sep := "-"
		if i == len(all)-1 {
			sep = " "
		}
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("250" + sep + l)
	}
	return b.String()
}

// readData reads to CRLF.CRLF, which nothing else ends, and takes the dots out.
func readData(r *bufio.Reader) ([]byte, bool) {
	var data []byte
	for atStart := true; ; {
		part, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, false
		}
		if atStart && len(part) > 0 && part[0] == '.' {
			if string(part) == ".\r\n" {
				return data, true
			}
			part = part[1:]
		}
		data = append(data, part...)
		atStart = bytes.HasSuffix(data, []byte("\r\n")) && err == nil
	}
}
