package e2e

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// load is 20 sessions that send plain messages, one after the other, while a test does
// harm. Whatever else a client sees than a 250 is a session lost.
type load struct {
	t    *testing.T
	sink *smtptest.Sink
	sent atomic.Int64 // answered 250
	quit chan struct{}
	wg   sync.WaitGroup
	once sync.Once

	mu   sync.Mutex
	lost []string
}

const loadSessions = 20

// startLoad begins to send; the load ends with stop, or with the test.
func startLoad(t *testing.T, r *relaytest.Relay, sink *smtptest.Sink) *load {
	t.Helper()
	l := &load{t: t, sink: sink, quit: make(chan struct{})}
	for i := range loadSessions {
		l.wg.Go(func() { l.session(r.Addr, i) })
	}
	t.Cleanup(l.end)
	l.more(loadSessions)
	return l
}

func (l *load) session(addr string, number int) {
	c, err := smtptest.Dial(addr)
	if err != nil {
		l.lose("session %d: %v", number, err)
		return
	}
	defer c.Close()
	for n := 0; ; n++ {
		select {
		case <-l.quit:
			return
		default:
		}
		content := fmt.Sprintf("Subject: plain %d.%d\r\n\r\nbody\r\n", number, n)
		reply, err := c.Send("load@example.net", "alice@example.org", "", []byte(content))
		if err != nil || !strings.HasPrefix(reply, "250") {
			l.lose("session %d, message %d: %q %v", number, n, reply, err)
			return
		}
		l.sent.Add(1)
	}
}

func (l *load) lose(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, fmt.Sprintf(format, args...))
}

// more waits until n more messages have been answered, or a session was lost.
func (l *load) more(n int64) {
	l.t.Helper()
	until := l.sent.Load() + n
	relaytest.Eventually(l.t, fmt.Sprintf("%d more messages", n), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.sent.Load() >= until || len(l.lost) > 0
	})
}

func (l *load) end() {
	l.once.Do(func() {
		close(l.quit)
		l.wg.Wait()
	})
}

// stop ends the load and fails the test where a session was lost or a message did not
// arrive exactly once, with what the agent adds where it was asked.
func (l *load) stop(wantField string) {
	l.t.Helper()
	l.end()
	for _, what := range l.lost {
		l.t.Errorf("lost: %s", what)
	}
	seen := map[string]int{}
	for _, m := range l.sink.Messages() {
		content := string(m.Content)
		at := strings.Index(content, "Subject: plain ")
		if at < 0 {
			continue
		}
		subject, _, _ := strings.Cut(content[at:], "\r\n")
		seen[subject]++
		if wantField != "" && !strings.Contains(content, wantField) {
			l.t.Errorf("%s: arrived without %q", subject, wantField)
		}
	}
	for subject, n := range seen {
		if n != 1 {
			l.t.Errorf("%s: arrived %d times", subject, n)
		}
	}
	if int64(len(seen)) < l.sent.Load() {
		l.t.Errorf("%d messages were answered 250, %d arrived", l.sent.Load(), len(seen))
	}
	l.t.Logf("%d messages in %d sessions", l.sent.Load(), loadSessions)
}
