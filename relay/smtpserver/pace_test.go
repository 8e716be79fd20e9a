package smtpserver

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Neither the rate nor the time of a message is held against a client that waits for us.
func TestOnlyTheClientsTimeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		p.cfg.Limits.MinimumRate, p.cfg.Limits.MessageTimeout = 1000, time.Minute
		p.cfg.Backend = &readerBackend{read: func(_ *mail.Header, body io.Reader) (reply.Reply, error) {
			buf := make([]byte, 1)
			for {
				time.Sleep(time.Minute) // the next hop is slow
				if _, err := body.Read(buf); err == io.EOF {
					return reply.Reply{}, nil
				} else if err != nil {
					return reply.Reply{}, err
				}
			}
		}}
		p.start()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(p.hello())
		must(p.transaction())
		must(p.send("DATA\r\n"))
		must(p.swallow("354 "))
		_ = p.conn.SetWriteDeadline(time.Time{})
		go func() { // each as soon as it is taken
			for _, part := range []string{"x: y\r\n\r\n", "0123", "4567", "89\r\n", ".\r\n"} {
				_, _ = p.conn.Write([]byte(part))
			}
		}()
		time.Sleep(17 * time.Minute)
		must(p.swallow("250 "))
		p.stop()
	})
}

// A client that does not read its replies is not waited for longer than one that sends nothing, nor
// does it keep the others from their end.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(*Config) {})
		before := time.Now()
		c := h.from("192.0.2.1")
		hears(t, c)
		if _, err := c.Write([]byte("NOOP\r\n")); err != nil {
			t.Fatal(err)
		}
		for len(h.server.sessionsNow()) > 0 {
			time.Sleep(time.Second)
		}
		if took := time.Since(before); took < 5*time.Minute || took > 5*time.Minute+time.Second {
			t.Errorf("ended after %v", took)
		}
		h.empty()
	})
}

func (s *Server) sessionsNow() []*gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*gate
	for g := range s.gates {
		all = append(all, g)
	}
	return all
}

// A session that is ended in the tarpit by its client's going holds nothing for long.
func TestTarpitDoesNotKeepTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.Limits.Tarpit = 10 * time.Second })
		c := h.from("192.0.2.1")
		hears(t, c)
		if _, err := c.Write([]byte("HELO x\r\nMAIL FROM:<a@example.net>\r\n" + strings.Repeat("RCPT TO:<550-5.1.1@example.org>\r\n", 100))); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := len(h.server.sessionsNow()); n > 0 {
			t.Errorf("%d sessions left", n)
		}
		h.empty()
	})
}

// Garbage fills no log: the first lines are there, and how many there were.
func TestGarbageIsLoggedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.Limits.UnknownCommands = 100 })
		c := h.from("192.0.2.1")
		hears(t, c)
		go func() { _, _ = c.Write([]byte(strings.Repeat("HELLO / HTTP/1.1\r\n", 20))) }()
		_, _ = io.Copy(io.Discard, c)
		synctest.Wait()
		log := h.log.String()
		if n := strings.Count(log, "msg=refused"); n != badLogged+1 {
			t.Errorf("%d lines of refusals:\n%s", n, log)
		}
		if !strings.Contains(log, "421 4.7.0 too many errors") || !strings.Contains(log, "errors=20") {
			t.Error(log)
		}
		h.empty()
	})
}

// On a socket, one look at the start finds those who have spoken.
func TestEarlyTalkerOnASocket(t *testing.T) {
	var log lockedBuffer
	addr, s := listen(t, &fakeBackend{}, Limits{GreetingDelay: time.Minute})
	s.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	k := &talker{t: t, Conn: connect(t, addr)}
	k.send("QUIT\r\n")
	all, err := io.ReadAll(k)
	if want := "220 mx.example.org ESMTP relay\r\n221 2.0.0 mx.example.org closing connection\r\n"; string(all) != want || err != nil {
		t.Errorf("reads %q, %v", all, err)
	}
	_ = s.Close()
	s.sessions.Wait()
	if !strings.Contains(log.String(), "early_talker=true") {
		t.Error(log.String())
	}
}
