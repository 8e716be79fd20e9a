package nexthop

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
)

func TestConnectionIsUsedAgainWithoutReset(t *testing.T) {
	h, n := hopTo(t, func(p *peer) {
		p.greet("PIPELINING", "8BITMIME")
		for range 3 {
			if got := p.message(); got != "Subject: x\r\n\r\nbody\r\n" {
				p.t.Errorf("content %q", got)
			}
		}
		p.want("QUIT")
	})
	for range 3 {
		sendMail(t, h)
	}
	h.Close()
	if len(n.dialled) != 1 {
		t.Errorf("%d connections", len(n.dialled))
	}
}

func TestHalfAnEnvelopeIsResetByTheNext(t *testing.T) {
	for _, how := range []string{"Release", "Reset"} {
		for _, offers := range [][]string{{"PIPELINING", "8BITMIME"}, {"8BITMIME"}} {
			h, n := hopTo(t, func(p *peer) {
				p.greet(offers...)
				p.answer("MAIL FROM:<a@example.org>", "250 ok")
				p.answer("RCPT TO:<old@example.org>", "250 ok")
				p.answer("RCPT TO:<more@example.org>", "250 ok")
				p.answer("RSET", "250 ok")
				p.message()
			})
			tx := begin(t, h)
			if _, err := tx.Envelope(t.Context(), envelopeFor(t, "old@example.org"), false); err != nil {
				t.Fatal(err)
			}
			if r, err := tx.Rcpt(t.Context(), mail.Recipient{Path: path(t, "more@example.org")}); err != nil || r.Code != 250 {
				t.Fatalf("Rcpt = %v, %v", r, err)
			}
			if how == "Reset" {
				if err := tx.Reset(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			tx.Release()
			sendMail(t, h)
			if len(n.dialled) != 1 {
				t.Errorf("%d connections", len(n.dialled))
			}
		}
	}
}

func TestReleaseAfter354ClosesWithoutADot(t *testing.T) {
	rest := make(chan string, 1)
	h, _ := hopTo(t, func(p *peer) {
		p.greet("PIPELINING")
		p.envelope()
		rest <- p.end()
	})
	tx := begin(t, h)
	if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
		t.Fatal(err)
	}
	tx.Release()
	if s := <-rest; s != "" {
		t.Errorf("server was told %q", s)
	}
}

func TestConnectionThatDiedInThePoolIsReplaced(t *testing.T) {
	for name, last := range map[string]func(*peer){
		"closed":        func(*peer) {},
		"said 421":      func(p *peer) { p.say("421 4.4.2 idle for too long"); p.line() },
		"closed at use": func(p *peer) { p.line() },
		"refuses RSET":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			h, n := hopTo(t, func(p *peer) {
				p.greet("PIPELINING", "8BITMIME")
				if last != nil {
					p.message()
					last(p)
					return
				}
				p.envelope()
				p.content()
				p.say("554 5.0.0 no")
				p.answer("RSET", "500 what?")
				p.end()
			}, func(p *peer) {
				p.greet("PIPELINING", "8BITMIME")
				p.message()
			})
			if last != nil {
				sendMail(t, h)
			} else {
				tx := begin(t, h)
				if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
					t.Fatal(err)
				}
				if r, err := tx.Content(t.Context(), mail.ParseHeader(nil), strings.NewReader("x\r\n")); err != nil || r.Code != 554 {
					t.Fatalf("Content = %v, %v", r, err)
				}
				tx.Release()
			}
			sendMail(t, h)
			if len(n.dialled) != 2 {
				t.Errorf("%d connections, want 2", len(n.dialled))
			}
		})
	}
}

func TestFreshConnectionThatDiesIsAFault(t *testing.T) {
	h, n := hopTo(t, func(p *peer) {
		p.greet("PIPELINING")
		p.line()
	}, func(p *peer) {})
	_, err := begin(t, h).Envelope(t.Context(), envelopeFor(t, "b@example.org"), true)
	wantFault(t, err, "4.4.2")
	if len(n.dialled) != 1 {
		t.Errorf("%d connections, want 1", len(n.dialled))
	}
}

func TestIdleConnectionIsClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Time
		h, _ := hopTo(t, func(p *peer) {
			p.greet("PIPELINING", "8BITMIME")
			p.message()
			p.want("QUIT")
			left = time.Now()
		})
		start := time.Now()
		sendMail(t, h)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := left.Sub(start); got != time.Minute {
			t.Errorf("said QUIT after %v, want 1m", got)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.janitor != nil {
			t.Error("the janitor runs with nothing to do")
		}
	})
}

func TestNoMoreThanMaxIdleAreKept(t *testing.T) {
	play := func(p *peer) {
		p.greet("PIPELINING")
		p.want("QUIT")
	}
	h, _ := hopWith(t, Config{Addresses: []string{addressA}, MaxIdle: 2}, map[string][]script{addressA: {play, play, play}})
	var all []*Transaction
	for range 3 {
		all = append(all, begin(t, h))
	}
	for _, tx := range all {
		tx.Release()
	}
	if n := len(h.addresses[0].idle); n != 2 {
		t.Errorf("%d idle, want 2", n)
	}
	last := h.addresses[0].idle[1]
	if tx := begin(t, h); tx.conn != last {
		t.Error("not the one used last")
	} else {
		tx.Release()
	}
}

func TestClosedHopKeepsNoConnections(t *testing.T) {
	once := func(p *peer) {
		p.greet("PIPELINING")
		p.message()
		p.want("QUIT")
	}
	h, _ := hopTo(t, func(p *peer) {
		p.greet()
		p.want("QUIT")
	}, once, once)
	tx := begin(t, h)
	h.Close()
	tx.Release()
	sendMail(t, h) // of a transaction that began before
	sendMail(t, h)
}

// The connection is over, not the server; nothing of the new transaction has been answered.
func Test421BehindTheRsetOfAPooledConnectionIsStale(t *testing.T) {
	for _, extension := range []string{"PIPELINING", "8BITMIME"} {
		h, n := hopTo(t, func(p *peer) {
			p.greet(extension)
			p.answer("MAIL FROM:<a@example.org>", "250 ok")
			p.answer("RCPT TO:<b@example.org>", "250 ok")
			p.answer("RSET", "250 ok")
			p.answer("MAIL FROM:<a@example.org>", "421 4.7.0 too many messages on this connection")
			p.end()
		}, func(p *peer) {
			p.greet(extension)
			p.message()
		})
		tx := begin(t, h)
		if a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), false); err != nil || len(a.Rcpts) != 1 {
			t.Fatalf("Envelope = %v, %v", a, err)
		}
		tx.Release()
		sendMail(t, h)
		if len(n.dialled) != 2 {
			t.Errorf("%d connections, want 2", len(n.dialled))
		}
	}
}
