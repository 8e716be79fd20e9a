package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loader sends messages to a relay from parallel sessions, each with one
// message in flight at a time.
type loader struct {
	target   string
	c        *corpus
	sessions int
	reuse    bool
	rate     float64 // messages a second over all sessions; 0: as fast as they go
	nextID   atomic.Int64

	mu     sync.Mutex
	ok     map[int]sent
	errs   int
	errWhy error
}

type sent struct{ start, end time.Time }

// load runs until stop, or until max messages were begun.
func (l *loader) load(stop time.Time, max int) {
	l.ok, l.errs, l.errWhy = map[int]sent{}, 0, nil
	var begun atomic.Int64
	var wg sync.WaitGroup
	pace := newPacer(l.rate)
	for range l.sessions {
		wg.Go(func() {
			var s *session
			done := map[int]sent{}
			for time.Now().Before(stop) && (max == 0 || begun.Add(1) <= int64(max)) {
				id := int(l.nextID.Add(1))
				start := pace.next()
				var err error
				if s == nil {
					s, err = dial(l.target)
				}
				if err == nil {
					err = s.send(l.c, id)
				}
				if err == nil {
					done[id] = sent{start, time.Now()}
				} else {
					l.fail(err)
					if s != nil {
						s.conn.Close()
						s = nil
					}
					time.Sleep(20 * time.Millisecond)
					continue
				}
				if !l.reuse {
					s.quit()
					s = nil
				}
			}
			if s != nil {
				s.quit()
			}
			l.mu.Lock()
			for id, t := range done {
				l.ok[id] = t
			}
			l.mu.Unlock()
		})
	}
	wg.Wait()
}

func (l *loader) fail(err error) {
	l.mu.Lock()
	l.errs++
	l.errWhy = err
	l.mu.Unlock()
}

type session struct {
	conn     net.Conn
	r        *bufio.Reader
	pipeline bool
}

func dial(addr string) (*session, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, r: bufio.NewReader(conn)}
	if _, err = s.reply("220"); err == nil {
		var ext string
		ext, err = s.cmd("250", "EHLO client.example\r\n")
		s.pipeline = strings.Contains(ext, "PIPELINING")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) cmd(want, line string) (string, error) {
	if _, err := s.conn.Write([]byte(line)); err != nil {
		return "", err
	}
	return s.reply(want)
}

func (s *session) reply(want string) (string, error) {
	s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var all strings.Builder
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		all.WriteString(line)
		if len(line) < 4 || line[3] == '-' {
			continue
		}
		if !strings.HasPrefix(line, want) {
			return "", fmt.Errorf("wanted %s, got %s", want, strings.TrimSpace(line))
		}
		return all.String(), nil
	}
}

func (s *session) send(c *corpus, id int) error {
	lines := []string{"MAIL FROM:<" + sender + ">\r\n", "RCPT TO:<" + recipient + ">\r\n", "DATA\r\n"}
	wants := []string{"250", "250", "354"}
	if s.pipeline {
		if _, err := s.conn.Write([]byte(strings.Join(lines, ""))); err != nil {
			return err
		}
		for _, w := range wants {
			if _, err := s.reply(w); err != nil {
				return err
			}
		}
	} else {
		for i, l := range lines {
			if _, err := s.cmd(wants[i], l); err != nil {
				return err
			}
		}
	}
	bufs := net.Buffers{c.head(id), c.shared, []byte(".\r\n")}
	if _, err := bufs.WriteTo(s.conn); err != nil {
		return err
	}
	_, err := s.reply("250")
	return err
}

// quit does as Postfix does (smtp_skip_quit_response).
func (s *session) quit() {
	s.conn.Write([]byte("QUIT\r\n"))
	s.conn.Close()
}
