package nexthop

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

func lmtpTo(t testing.TB, scripts ...script) (*Hop, *network) {
	return hopWith(t, Config{Addresses: []string{addressA}, LMTP: true}, map[string][]script{addressA: scripts})
}

// lhlo plays the greeting of an LMTP server.
func (p *peer) lhlo() {
	p.t.Helper()
	p.say("220 mx.example.org LMTP")
	p.answer("LHLO relay.example.org", "250-mx.example.org", "250-PIPELINING", "250-8BITMIME", "250 ENHANCEDSTATUSCODES")
}

func codes(all []reply.Reply) string {
	var s []string
	for _, r := range all {
		s = append(s, r.String())
	}
	return strings.Join(s, " | ")
}

// sendEach sends one message and returns the final replies.
func sendEach(t testing.TB, h *Hop, rcpts ...string) ([]reply.Reply, *Transaction, error) {
	t.Helper()
	tx := begin(t, h)
	if a, err := tx.Envelope(t.Context(), envelopeFor(t, rcpts...), false); err != nil {
		t.Fatalf("Envelope = %v, %v", a, err)
	}
	if r, err := tx.Data(t.Context()); err != nil || r.Code != 354 {
		t.Fatalf("Data = %v, %v", r, err)
	}
	all, err := tx.ContentEach(t.Context(), mail.ParseHeader([]byte("A: b\r\n")), strings.NewReader("\r\n.x\r\n"))
	return all, tx, err
}

func TestLMTPAnswersForEachRecipient(t *testing.T) {
	for _, test := range []struct {
		name    string
		rcpts   []string // the answers to RCPT
		finals  []string
		want    string
		lost    bool
		message bool // another one follows on the connection
	}{
		{"all", []string{"250 ok", "250 ok"}, []string{"250 2.0.0 one", "250 2.0.0 two"}, "250 2.0.0 one | 250 2.0.0 two", false, true},
		{"some", []string{"250 ok", "250 ok", "250 ok"}, []string{"250 2.0.0 one", "452 4.2.2 full", "550 5.1.1 gone"},
			"250 2.0.0 one | 452 4.2.2 full | 550 5.1.1 gone", false, true},
		{"accepted ones only", []string{"250 ok", "550 5.1.1 no", "250 ok"}, []string{"250 2.0.0 one", "250 2.0.0 three"},
			"250 2.0.0 one | 250 2.0.0 three", false, true},
		{"of several lines", []string{"250 ok", "250 ok"}, []string{"250-2.0.0 one", "250 2.0.0 more", "250 2.0.0 two"},
			"250 2.0.0 one more | 250 2.0.0 two", false, true},
		{"hangs up between", []string{"250 ok", "250 ok", "250 ok"}, []string{"250 2.0.0 one"},
			"250 2.0.0 one | " + unknownFate.String() + " | " + unknownFate.String(), true, false},
		{"is no SMTP between", []string{"250 ok", "250 ok"}, []string{"250 2.0.0 one", "what?"},
			"250 2.0.0 one | " + unknownFate.String(), true, false},
		{"421 between", []string{"250 ok", "250 ok", "250 ok"}, []string{"250 2.0.0 one", "421 4.3.2 going down"},
			"250 2.0.0 one | 421 4.3.2 going down | 421 4.3.2 going down", false, false},
		{"421 first", []string{"250 ok", "250 ok"}, []string{"421 4.3.2 going down"}, "421 4.3.2 going down | 421 4.3.2 going down", false, false},
		{"421 last", []string{"250 ok", "250 ok"}, []string{"250 2.0.0 one", "421 4.3.2 going down"}, "250 2.0.0 one | 421 4.3.2 going down", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			rcpts := []string{"b@example.org", "b@example.org", "c@example.org"}[:len(test.rcpts)] // duplicates stay apart
			h, n := lmtpTo(t, func(p *peer) {
				p.lhlo()
				p.answer("MAIL FROM:<a@example.org>", "250 ok")
				for i, answer := range test.rcpts {
					p.answer("RCPT TO:<"+rcpts[i]+">", answer)
				}
				p.answer("DATA", "354 go on")
				if got := p.content(); got != "A: b\r\n\r\n.x\r\n" {
					p.t.Errorf("content %q", got)
				}
				p.say(test.finals...)
				if !test.message {
					return
				}
				line := p.line()
				if line == "RSET" {
					p.say("250 ok")
					line = p.line()
				}
				if line != "MAIL FROM:<a@example.org>" {
					p.t.Errorf("server got %q", line)
				}
				p.say("250 ok")
				p.answer("RCPT TO:<d@example.org>", "250 ok")
				p.answer("DATA", "354 go on")
				p.content()
				p.say("250 ok")
			})
			all, tx, err := sendEach(t, h, rcpts...)
			if got := codes(all); got != test.want {
				t.Errorf("replies %s\nwant    %s", got, test.want)
			}
			if test.lost {
				wantFault(t, err, "4.4.2")
			} else if err != nil {
				t.Errorf("error = %v", err)
			}
			tx.Release()
			if test.message {
				if all, tx, err := sendEach(t, h, "d@example.org"); err != nil || codes(all) != "250 ok" {
					t.Errorf("second message: %s, %v", codes(all), err)
				} else {
					tx.Release()
				}
			}
			if len(n.dialled) != 1 {
				t.Errorf("%d connections", len(n.dialled))
			}
		})
	}
}

func TestLMTPWaitsForEachReplyInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := lmtpTo(t, func(p *peer) {
			p.lhlo()
			p.envelope1()
			p.answer("RCPT TO:<c@example.org>", "250 ok")
			p.answer("DATA", "354 go on")
			p.content()
			p.say("250 2.0.0 one")
			p.end()
		})
		start := time.Now()
		all, _, err := sendEach(t, h, "b@example.org", "c@example.org")
		wantFault(t, err, "4.4.1")
		if got := time.Since(start); got != 30*time.Minute || codes(all) != "250 2.0.0 one | "+unknownFate.String() {
			t.Errorf("after %v: %s", got, codes(all))
		}
	})
}

// envelope1 plays MAIL and the first RCPT.
func (p *peer) envelope1() {
	p.answer("MAIL FROM:<a@example.org>", "250 ok")
	p.answer("RCPT TO:<b@example.org>", "250 ok")
}

// RFC 2033 §4.1.
func TestLMTPHasNoOtherHello(t *testing.T) {
	h, _ := lmtpTo(t, func(p *peer) {
		p.say("220 x")
		p.answer("LHLO relay.example.org", "500 what?")
		if s := p.end(); s != "" {
			p.t.Errorf("server was told %q", s)
		}
	})
	_, err := h.Begin(t.Context(), mail.Client{})
	wantFault(t, err, "4.4.1")
	if !strings.Contains(err.Error(), "LHLO: server answered 500") {
		t.Errorf("error = %v", err)
	}
}

func TestLMTPWithNobodyAcceptedSendsNothing(t *testing.T) {
	h, _ := lmtpTo(t, func(p *peer) {
		p.lhlo()
		p.answer("MAIL FROM:<a@example.org>", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "550 no")
		p.answer("DATA", "354 go on") // RFC 2033 §4.2 has it 503
		if s := p.end(); s != "" {
			p.t.Errorf("server was told %q", s)
		}
	})
	if all, _, err := sendEach(t, h, "b@example.org"); err == nil || all != nil {
		t.Errorf("ContentEach = %v, %v", all, err)
	}
}

func TestContentEachOverSMTPAnswersForAll(t *testing.T) {
	h, _ := hopTo(t, func(p *peer) {
		p.greet("PIPELINING", "8BITMIME")
		p.envelope1()
		p.answer("RCPT TO:<c@example.org>", "250 ok")
		p.answer("DATA", "354 go on")
		p.content()
		p.say("550 5.7.1 spam")
	})
	all, tx, err := sendEach(t, h, "b@example.org", "c@example.org")
	if err != nil || codes(all) != "550 5.7.1 spam | 550 5.7.1 spam" {
		t.Errorf("ContentEach = %s, %v", codes(all), err)
	}
	tx.Release()
}

func TestContentIsNotForLMTP(t *testing.T) {
	h, _ := lmtpTo(t, func(p *peer) { p.lhlo(); p.envelope(); p.end() })
	tx := begin(t, h)
	if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Content(t.Context(), mail.ParseHeader(nil), strings.NewReader("x\r\n")); err == nil {
		t.Error("no error")
	}
}

func TestSocketInTheFileSystem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lmtp")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "220 x\r\n")
		_, _ = c.Read(make([]byte, 100))
		_, _ = io.WriteString(c, "250 x\r\n")
		_, _ = io.Copy(io.Discard, c)
	}()
	h := New(Config{Addresses: []string{"unix:" + path}, LMTP: true, Hostname: "relay.example.org"}, slog.New(slog.DiscardHandler))
	tx := begin(t, h)
	if got := tx.Remote(); got != "unix:"+path {
		t.Errorf("Remote = %s", got)
	}
	tx.Abort()
	<-served
}

// However a server answers, each recipient has one reply, and one that never came is transient.
func FuzzLMTPReplies(f *testing.F) {
	for _, s := range []string{"250 a\r\n550 b\r\n", "250 a\r\n", "", "421 x\r\n", "250-a\r\n250 b\r\n450 c\r\nmore", "250 a\r\n250-b", "354 x\r\n\r\n"} {
		f.Add([]byte(s), uint8(2))
	}
	f.Fuzz(func(t *testing.T, in []byte, n uint8) {
		if n == 0 {
			return
		}
		tx := contentTo(&wire{in: bytes.NewReader(in)}, eightBit)
		tx.hop.cfg.LMTP, tx.hop.log, tx.taken = true, newAlerts(slog.New(slog.DiscardHandler)), int(n)
		all, err := tx.ContentEach(t.Context(), mail.ParseHeader(nil), strings.NewReader("x\r\n"))
		if all == nil {
			if err == nil {
				t.Fatal("neither replies nor an error")
			}
			return
		}
		if len(all) != int(n) {
			t.Fatalf("%d replies for %d recipients", len(all), n)
		}
		for i, r := range all {
			if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 {
				t.Errorf("reply %d: %+v", i, r)
			}
		}
		if last := all[len(all)-1]; err != nil && !last.Transient() {
			t.Errorf("lost, and the last reply is %v", last)
		}
	})
}
