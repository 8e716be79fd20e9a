package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// Clients that vanish at every stage, before a next hop that fails at random: what a client was
// told is true, nothing is delivered that was not finished or was refused, nothing twice, and
// no goroutine and no descriptor is left. RELAY_SOAK says for how long.
func TestSoakFrontDoor(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()

	hop := startFailingHop(t, seed)
	r := relaytest.Start(t, relaytest.Options{NextHop: hop.addr(), Limits: "errors = 5"})
	s := &frontDoor{hop: hop, addr: r.Addr, told: map[string]string{}, count: map[string]int{}}
	var wg sync.WaitGroup
	end := time.Now().Add(soakTime(t))
	for i := range 20 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				s.session(random, fmt.Sprintf("m%d-%d", i, n))
			}
		})
	}
	wg.Wait()
	r.Stop()
	hop.close()
	s.check(t)
	relaytest.Eventually(t, "goroutines and descriptors are as before", func() bool {
		return runtime.NumGoroutine() <= goroutines && openDescriptors(t) <= descriptors
	})
}

// soakTime is how long a soak test lasts.
func soakTime(t *testing.T) time.Duration {
	s := os.Getenv("RELAY_SOAK")
	if s == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("RELAY_SOAK: %v", err)
	}
	return d
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// frontDoor is what the clients have seen.
type frontDoor struct {
	hop  *failingHop
	addr string

	mu sync.Mutex
	// told is the final reply to each message whose content was sent to its end; "" where the client
	// did not wait for one, or got none.
	told  map[string]string
	count map[string]int // of ways in which sessions went
}

// session sends one or several messages over one connection, or as much of them as its kind of client does.
func (s *frontDoor) session(random *rand.Rand, token string) {
	c, err := smtptest.Dial(s.addr)
	if err != nil {
		s.went("no session")
		return
	}
	defer c.Close()
	stages := []string{
		"", "", "", "", // a good client
		"EHL", "MAIL", "RCPT", "DATA", "header", "body", "dot without CRLF", "reset", "BDAT", "chunk", "no reply", "garbage",
	}
	for n := range 1 + random.IntN(3) {
		id := fmt.Sprintf("%s-%d", token, n)
		leaves := stages[random.IntN(len(stages))]
		if random.IntN(8) == 0 {
			_ = c.Conn.(*net.TCPConn).SetLinger(0) // leaves by a reset
		}
		s.went("client: " + leaves)
		if !s.message(c, random, id, leaves) {
			return
		}
	}
	c.Quit()
}

// message sends one message; false: the session is over.
func (s *frontDoor) message(c *smtptest.Client, random *rand.Rand, id, leaves string) bool {
	content := "Subject: soak " + id + "\r\n\r\n" + strings.Repeat("a line of the body\r\n", 1+random.IntN(2000))
	commands := []string{"MAIL FROM:<" + id + "@example.net>"}
	for range 1 + random.IntN(3) {
		commands = append(commands, fmt.Sprintf("RCPT TO:<r%d@example.org>", random.IntN(100)))
	}
	taken := 0
	for i, line := range commands {
		switch {
		case leaves == "EHL" && i == 0, leaves == "MAIL" && i == 1, leaves == "RCPT" && i == len(commands)-1:
			_ = c.Raw([]byte(line[:len(line)/2]))
			return false
		}
		reply, err := c.Cmd(line)
		if err != nil {
			return false
		}
		if reply[0] == '2' {
			taken++
		} else if i == 0 {
			return !strings.HasPrefix(reply, "421")
		}
	}
	if taken < 2 {
		reply, err := c.Cmd("RSET")
		return err == nil && reply[0] == '2'
	}
	switch leaves {
	case "garbage":
		for range 6 {
			if reply, err := c.Cmd("\x80garbage " + id); err != nil || strings.HasPrefix(reply, "421") {
				return false
			}
		}
		return false
	case "BDAT":
		_ = c.Raw([]byte(fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), content[:len(content)-1])))
		return false
	case "chunk":
		return s.chunks(c, id, content)
	}
	reply, err := c.Cmd("DATA")
	if err != nil {
		return false
	}
	if reply[0] != '3' {
		return !strings.HasPrefix(reply, "421")
	}
	switch leaves {
	case "DATA":
		return false
	case "header":
		_ = c.Raw([]byte(content[:10]))
		return false
	case "body":
		_ = c.Raw([]byte(content[:len(content)-7]))
		return false
	case "dot without CRLF":
		_ = c.Raw([]byte(content + "."))
		return false
	case "reset":
		_ = c.Raw([]byte(content))
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		return false
	}
	s.end(id, "")
	if c.Raw([]byte(content+".\r\n")) != nil {
		return false
	}
	return leaves != "no reply" && s.final(c, id)
}

// chunks sends the content by BDAT, in two.
func (s *frontDoor) chunks(c *smtptest.Client, id, content string) bool {
	half := len(content) / 2
	if c.Raw([]byte(fmt.Sprintf("BDAT %d\r\n%s", half, content[:half]))) != nil {
		return false
	}
	if reply, err := c.Reply(); err != nil || reply[0] != '2' {
		return false
	}
	s.end(id, "")
	if c.Raw([]byte(fmt.Sprintf("BDAT %d LAST\r\n%s", len(content)-half, content[half:]))) != nil {
		return false
	}
	return s.final(c, id)
}

// final reads the reply to a content that was sent to its end.
func (s *frontDoor) final(c *smtptest.Client, id string) bool {
	reply, err := c.Reply()
	if err != nil {
		return false
	}
	s.end(id, reply)
	s.went("told " + reply[:3])
	return !strings.HasPrefix(reply, "421")
}

func (s *frontDoor) end(id, reply string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[id] = reply
}

func (s *frontDoor) went(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[how]++
}

// check holds what clients were told against what the next hop has.
func (s *frontDoor) check(t *testing.T) {
	t.Helper()
	kept := s.hop.kept
	for id, reply := range s.told {
		m := kept[id]
		switch {
		case strings.HasPrefix(reply, "250") && m.copies != 1:
			t.Errorf("lost: %s was answered %q, the next hop has %d", id, reply, m.copies)
		case reply != "" && !strings.HasPrefix(reply, "250") && m.copies > 0 && !m.unanswered:
			t.Errorf("%s was answered %q, and the next hop has it", id, reply)
		}
	}
	for id, m := range kept {
		if _, finished := s.told[id]; !finished {
			t.Errorf("%s arrived, and no client has finished it", id)
		}
		if m.copies > 1 {
			t.Errorf("%s arrived %d times", id, m.copies)
		}
	}
	t.Logf("%d messages sent to their end, %d arrived; clients: %v; next hop: %v", len(s.told), len(kept), s.count, s.hop.count)
	if len(kept) == 0 {
		t.Error("nothing has arrived at all")
	}
}
