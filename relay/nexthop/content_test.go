package nexthop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
)

// wire is a server that takes whatever is written and has its answers ready.
type wire struct {
	net.Conn
	writes [][]byte
	in     io.Reader
}

func (w *wire) Write(b []byte) (int, error) {
	w.writes = append(w.writes, bytes.Clone(b))
	return len(b), nil
}
func (w *wire) Read(b []byte) (int, error)  { return w.in.Read(b) }
func (w *wire) SetDeadline(time.Time) error { return nil }
func (w *wire) Close() error                { return nil }

// contentTo is a Transaction that has its 354 on w.
func contentTo(w *wire, ext mail.Extensions) *Transaction {
	if w.in == nil {
		w.in = strings.NewReader("250 ok\r\n")
	}
	c := newConn(w, &address{hostport: addressA})
	c.ext = ext
	return &Transaction{hop: &Hop{cfg: Config{}.withDefaults()}, conn: c, remote: addressA, state: content}
}

var eightBit = mail.Extensions{EightBitMIME: true}

func TestContentDoublesDotsAndAddsNothingElse(t *testing.T) {
	for _, test := range []struct{ name, header, body, want string }{
		{"usual", "A: b\r\n", "\r\nbody\r\n", "A: b\r\n\r\nbody\r\n.\r\n"},
		{"nothing", "", "", ".\r\n"},
		{"no header", "", "\r\nbody\r\n", "\r\nbody\r\n.\r\n"},
		{"ended within the header", "A: b\r\n", "", "A: b\r\n.\r\n"},
		{"empty body", "A: b\r\n", "\r\n", "A: b\r\n\r\n.\r\n"},
		{"dots", "A: b\r\n", "\r\n.\r\n..\r\na.b\r\n.x\r\n", "A: b\r\n\r\n..\r\n...\r\na.b\r\n..x\r\n.\r\n"},
		{"dot first in header", ".A: b\r\n", "", "..A: b\r\n.\r\n"},
		{"dot first of all", "", ".\r\n", "..\r\n.\r\n"},
		{"bare line feed cannot end it", "", "a\n.\r\n", "a\n..\r\n.\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &wire{}
			r, err := contentTo(w, eightBit).Content(t.Context(), mail.ParseHeader([]byte(test.header)), strings.NewReader(test.body))
			if err != nil || r.Code != 250 {
				t.Fatalf("Content = %v, %v", r, err)
			}
			if got := string(bytes.Join(w.writes, nil)); got != test.want {
				t.Errorf("wrote %q, want %q", got, test.want)
			}
			if len(w.writes) != 1 {
				t.Errorf("%d writes, want 1", len(w.writes))
			}
		})
	}
}

func TestContentOfManyBuffersKeepsEveryOctet(t *testing.T) {
	for _, line := range []string{".\r\n", "..a\r\n", strings.Repeat("x", 75) + "\r\n", strings.Repeat("y", 1<<20) + "\r\n"} {
		header := strings.Repeat("X: "+strings.Repeat("h", 990)+"\r\n", 300)
		body := "\r\n" + strings.Repeat(line, 1+(1<<20)/len(line))
		w := &wire{}
		if _, err := contentTo(w, eightBit).Content(t.Context(), mail.ParseHeader([]byte(header)), strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if got := undot(t, bytes.Join(w.writes, nil)); got != header+body {
			t.Errorf("line %.5q: content changed", line)
		}
		for _, b := range w.writes {
			if len(b) > bufferSize {
				t.Errorf("write of %d octets", len(b))
			}
		}
	}
}

// undot reads content as a server does.
func undot(t *testing.T, wire []byte) string {
	p := &peer{t: t, r: bufio.NewReader(bytes.NewReader(wire))}
	s := p.content()
	if rest := p.end(); rest != "" {
		t.Errorf("after the dot: %.100q", rest)
	}
	return s
}

// cut reads s in pieces of these sizes, over and over.
type cut struct {
	s     []byte
	sizes []byte
	i     int
}

func (c *cut) Read(b []byte) (int, error) {
	if len(c.s) == 0 {
		return 0, io.EOF
	}
	n := len(c.s)
	if len(c.sizes) > 0 {
		n = 1 + int(c.sizes[c.i%len(c.sizes)])
		c.i++
	}
	n = copy(b, c.s[:min(n, len(c.s))])
	c.s = c.s[n:]
	return n, nil
}

func FuzzContentReadsBackTheSame(f *testing.F) {
	f.Add([]byte("A: b\r\n"), []byte("\r\n.\r\n..\r\n"), []byte{0, 1})
	f.Add([]byte(""), []byte(".\n.\n."), []byte{0})
	f.Add([]byte(".x"), []byte("\r\n.\r\n.\r\n"), []byte{2})
	f.Fuzz(func(t *testing.T, header, body, sizes []byte) {
		want := string(header) + string(body)
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
			body = append(bytes.Clone(body), want[len(header)+len(body):]...)
		}
		w := &wire{}
		if _, err := contentTo(w, eightBit).Content(t.Context(), mail.ParseHeader(header), &cut{s: body, sizes: sizes}); err != nil {
			t.Fatal(err)
		}
		if got := undot(t, bytes.Join(w.writes, nil)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestContentWithoutFinalCRLFIsNotSent(t *testing.T) {
	w := &wire{}
	_, err := contentTo(w, eightBit).Content(t.Context(), mail.ParseHeader(nil), strings.NewReader("x"))
	wantFault(t, err, "4.4.2")
	if len(w.writes) > 0 {
		t.Errorf("wrote %q", w.writes)
	}
}

func TestBodyErrorIsReturnedAsItIsAndNoDotIsSent(t *testing.T) {
	broken := errors.New("client gone")
	w := &wire{}
	body := io.MultiReader(strings.NewReader("\r\nhalf\r\n"), failing{broken})
	tx := contentTo(w, eightBit)
	if _, err := tx.Content(t.Context(), mail.ParseHeader([]byte("A: b\r\n")), body); err != broken {
		t.Errorf("error = %v, want that of the body", err)
	}
	if s := string(bytes.Join(w.writes, nil)); strings.Contains(s, "\n.\r\n") {
		t.Errorf("wrote %q", s)
	}
	if tx.conn != nil {
		t.Error("the connection was kept")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func Test8BitContentIsRefusedWhereTheServerLacks8BITMIME(t *testing.T) {
	for _, test := range []struct {
		name, header, body string
		code               int
	}{
		{"body", "A: b\r\n", "\r\n\xe4\r\n", 554},
		{"header", "A: \xc3\xa4\r\n", "\r\n", 554},
		{"none after all", "A: b\r\n", "\r\nx\r\n", 250},
	} {
		w := &wire{}
		r, err := contentTo(w, mail.Extensions{}).Content(t.Context(), mail.ParseHeader([]byte(test.header)), strings.NewReader(test.body))
		if err != nil || r.Code != test.code || r.Code == 554 && r.EnhancedString() != "5.6.3" {
			t.Errorf("%s: Content = %v, %v, want %d", test.name, r, err, test.code)
		}
	}
}

func TestReplyBeforeTheDotIsNeverSuccess(t *testing.T) {
	for _, test := range []struct{ after354, want string }{
		{"250 ok\r\n", "451"},
		{"552 5.3.4 too big\r\n", "552"},
	} {
		w := &wire{in: strings.NewReader("354 go\r\n" + test.after354)}
		tx := contentTo(w, eightBit)
		tx.state = envelope
		if r, err := tx.Data(t.Context()); err != nil || r.Code != 354 {
			t.Fatalf("Data = %v, %v", r, err)
		}
		r, err := tx.Content(t.Context(), mail.ParseHeader(nil), strings.NewReader("x\r\n"))
		if test.want == "451" {
			wantFault(t, err, "4.4.2")
		} else if err != nil || r.Code != 552 {
			t.Errorf("Content = %v, %v", r, err)
		}
		if s := string(bytes.Join(w.writes, nil)); strings.HasSuffix(s, "\n.\r\n") {
			t.Errorf("the dot was sent: %q", s)
		}
	}
}

// A long message gives the server time to speak too early.
func TestReplyInTheMiddleIsNeverSuccess(t *testing.T) {
	for _, test := range []struct{ early, want string }{
		{"250 2.0.0 kept\r\n", "451"},
		{"552 5.3.4 too big\r\n", "552"},
	} {
		spoken := make(chan struct{})
		h, n := hopTo(t, func(p *peer) {
			p.greet("PIPELINING", "8BITMIME")
			p.envelope()
			_, _ = p.r.Discard(bufferSize)
			_, _ = io.WriteString(p.conn, test.early)
			close(spoken)
			if s := p.end(); strings.HasSuffix(s, "\n.\r\n") {
				t.Errorf("%q: the dot was sent", test.early)
			}
		})
		n.sockets = true
		tx := begin(t, h)
		if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
			t.Fatal(err)
		}
		body := io.MultiReader(strings.NewReader(strings.Repeat("xy\r\n", bufferSize)), waiting{spoken}, strings.NewReader("z\r\n"))
		r, err := tx.Content(t.Context(), mail.ParseHeader([]byte("A: b\r\n")), body)
		if test.want == "451" {
			wantFault(t, err, "4.4.2")
		} else if err != nil || r.Code != 552 {
			t.Errorf("Content = %v, %v", r, err)
		}
	}
}

// waiting is an empty reader that ends when its channel is closed.
type waiting struct{ until <-chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	<-w.until
	return 0, io.EOF
}

func TestServerThatStopsListeningIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := make(chan struct{})
		h, _ := hopTo(t, func(p *peer) {
			p.greet("PIPELINING", "8BITMIME")
			p.envelope()
			p.say("552 5.3.4 too big") // and reads no more
			<-stalled
		})
		tx := begin(t, h)
		if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
			t.Fatal(err)
		}
		r, err := tx.Content(t.Context(), mail.ParseHeader([]byte("A: b\r\n")), strings.NewReader(strings.Repeat("x\r\n", 1<<20)))
		if err != nil || r.Code != 552 {
			t.Errorf("Content = %v, %v, want the server's 552", r, err)
		}
		if tx.conn != nil {
			t.Error("the connection was kept")
		}
		close(stalled)
	})
}

// broken is a connection whose other end has closed after its last words.
type broken struct{ wire }

func (b *broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestLastWordsOfAClosedConnectionAreTheReply(t *testing.T) {
	for _, test := range []struct {
		in   string
		code int
	}{
		{"421 4.3.2 going down\r\n", 421},
		{"552 5.3.4 too big\r\n", 552},
		{"250 ok\r\n", 0},
		{"", 0},
	} {
		tx := contentTo(&wire{}, eightBit)
		c := newConn(&broken{wire{in: strings.NewReader(test.in)}}, tx.conn.addr)
		c.ext, tx.conn = eightBit, c
		r, err := tx.Content(t.Context(), mail.ParseHeader(nil), strings.NewReader("x\r\n"))
		if r.Code != test.code || (err == nil) != (test.code != 0) {
			t.Errorf("after %q: Content = %v, %v, want %d", test.in, r, err, test.code)
		}
	}
}

func TestSlowBodyIsSentAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		body, client := io.Pipe()
		go func() {
			for range 3 {
				time.Sleep(time.Second)
				_, _ = io.WriteString(client, "line\r\n")
			}
			_ = client.Close()
		}()
		if _, err := contentTo(w, eightBit).Content(context.Background(), mail.ParseHeader([]byte("A: b\r\n")), body); err != nil {
			t.Fatal(err)
		}
		if len(w.writes) != 4 {
			t.Errorf("writes = %q, want one per line and the dot", w.writes)
		}
	})
}

func TestFinalReplyIsWaitedForAsLongAsTheClientDoes(t *testing.T) {
	for _, test := range []struct {
		name         string
		client, hop  time.Duration
		wantEnhanced string // "" for success
	}{
		{"slow hop", 30 * time.Minute, 20 * time.Minute, ""},
		{"client leaves", 5 * time.Minute, 20 * time.Minute, "4.4.1"},
		{"neither gives up", 100 * time.Hour, 50 * time.Hour, "4.4.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := hopTo(t, func(p *peer) {
					p.greet("PIPELINING", "8BITMIME")
					p.envelope()
					p.content()
					time.Sleep(test.hop)
					p.say("250 2.0.0 queued")
				})
				tx := begin(t, h)
				if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), test.client)
				defer cancel()
				r, err := tx.Content(ctx, mail.ParseHeader(nil), strings.NewReader("x\r\n"))
				if test.wantEnhanced != "" {
					wantFault(t, err, test.wantEnhanced)
				} else if err != nil || r.Code != 250 {
					t.Errorf("Content = %v, %v", r, err)
				}
			})
		})
	}
}

func TestStalledWriteEndsAfterTheBlockTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := make(chan struct{})
		h, _ := hopTo(t, func(p *peer) {
			p.greet("PIPELINING", "8BITMIME")
			p.envelope()
			<-stalled
		})
		tx := begin(t, h)
		if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := tx.Content(t.Context(), mail.ParseHeader(nil), strings.NewReader(strings.Repeat("x\r\n", 1<<20)))
		wantFault(t, err, "4.4.1")
		if d := time.Since(start); d < 3*time.Minute || d > 3*time.Minute+lastWords {
			t.Errorf("gave up after %v", d)
		}
		close(stalled)
	})
}

func TestCancelInterruptsTheWaitForTheFinalReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := hopTo(t, func(p *peer) {
			p.greet("PIPELINING")
			p.envelope()
			p.content()
			p.end()
		})
		tx := begin(t, h)
		if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("client gone")
		time.AfterFunc(time.Second, func() { cancel(gone) })
		start := time.Now()
		_, err := tx.Content(ctx, mail.ParseHeader(nil), strings.NewReader("x\r\n"))
		if !errors.Is(err, gone) || time.Since(start) != time.Second {
			t.Errorf("error = %v after %v", err, time.Since(start))
		}
	})
}
