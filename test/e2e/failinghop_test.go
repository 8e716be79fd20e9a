package e2e

import (
	"bufio"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// failingHop is a next hop that fails at random, at every stage, and keeps account of what it
// has taken.
type failingHop struct {
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	open   map[net.Conn]struct{}
	kept   map[string]keptMessage // by the message's mark
	count  map[string]int         // of what it did
}

// keptMessage is what has arrived of one message.
type keptMessage struct {
	copies     int
	unanswered bool // it hung up instead of saying so
}

func startFailingHop(t *testing.T, seed uint64) *failingHop {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &failingHop{
		l: l, random: rand.New(rand.NewPCG(seed, 1<<32)), open: map[net.Conn]struct{}{}, kept: map[string]keptMessage{}, count: map[string]int{},
	}
	h.wg.Go(h.accept)
	t.Cleanup(h.close)
	return h
}

func (h *failingHop) addr() string { return h.l.Addr().String() }

func (h *failingHop) close() {
	h.l.Close()
	h.mu.Lock()
	for c := range h.open {
		c.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *failingHop) accept() {
	for {
		c, err := h.l.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.open[c] = struct{}{}
		h.mu.Unlock()
		h.wg.Go(func() {
			h.session(c)
			c.Close()
			h.mu.Lock()
			delete(h.open, c)
			h.mu.Unlock()
		})
	}
}

// does draws what happens at a stage, nearly always the usual, and counts it.
func (h *failingHop) does(stage string, oddities ...string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := ""
	if n := h.random.IntN(25 * len(oddities)); n < len(oddities) {
		what = oddities[n]
		h.count[stage+" "+what]++
	}
	return what
}

// faults are replies that a server may give at any stage; "hang" is silence, and then the end.
var faults = []string{"421 4.3.2 going down", "451 4.3.0 not now", "550 5.7.1 not you", "554 5.3.0 no", "drop", "hang", "nonsense"}

// say answers as usual, or not: false ends the session.
func (h *failingHop) say(c net.Conn, stage, usual string) (usually, goesOn bool) {
	what := h.does(stage, faults...)
	switch what {
	case "":
		_, err := c.Write([]byte(usual + "\r\n"))
		return true, err == nil
	case "drop":
		return false, false
	case "hang":
		<-time.After(300 * time.Millisecond)
		return false, false
	}
	_, err := c.Write([]byte(what + "\r\n"))
	return false, err == nil && what[0] != 'n' && !strings.HasPrefix(what, "421")
}

var mark = regexp.MustCompile(`Subject: soak (\S+)`)

func (h *failingHop) session(c net.Conn) {
	r := bufio.NewReader(c)
	if usually, on := h.say(c, "greeting", "220 failing.example.org"); !on || !usually {
		return
	}
	rcpts := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		stage := strings.ToUpper(line[:min(4, len(line))])
		usual := "250 2.0.0 ok"
		switch {
		case stage == "EHLO":
			usual = "250-failing.example.org\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"
		case stage == "DATA" && rcpts == 0:
			usual = "554 5.5.1 no recipients"
		case stage == "DATA":
			usual = "354 go ahead"
		case stage == "QUIT":
			return
		}
		usually, on := h.say(c, stage, usual)
		if !on {
			return
		}
		switch {
		case stage == "MAIL" || stage == "RSET":
			rcpts = 0
		case stage == "RCPT" && usually:
			rcpts++
		case stage == "DATA" && usually && rcpts > 0:
			rcpts = 0
			if !h.content(c, r) {
				return
			}
		}
	}
}

// content takes a message to its end, or leaves in the middle of it.
func (h *failingHop) content(c net.Conn, r *bufio.Reader) bool {
	leaves := h.does("content", "drop in the middle", "refuse in the middle") // by chance also before anything has come
	var content strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		content.WriteString(line)
		if leaves != "" && content.Len() > 2000 {
			if leaves == "refuse in the middle" {
				_, _ = c.Write([]byte("552 5.3.4 too much\r\n"))
			}
			return false
		}
	}
	id := "?"
	if m := mark.FindStringSubmatch(content.String()); m != nil {
		id = m[1]
	}
	switch what := h.does("dot", "451 4.3.0 later", "554 5.6.0 no", "drop", "keep and drop", "slow"); what {
	case "", "slow":
		if what == "slow" {
			<-time.After(200 * time.Millisecond)
		}
		h.keep(id, false)
		_, err := c.Write([]byte("250 2.0.0 kept\r\n"))
		return err == nil
	case "drop":
		return false
	case "keep and drop":
		h.keep(id, true)
		return false
	default:
		_, err := c.Write([]byte(what + "\r\n"))
		return err == nil
	}
}

func (h *failingHop) keep(id string, unanswered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.kept[id]
	m.copies++
	m.unanswered = m.unanswered || unanswered
	h.kept[id] = m
}
