package smtpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// listen serves on a real socket.
func listen(t testing.TB, b Backend, limits Limits) (addr string, s *Server) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = New(Config{
		Hostname: "mx.example.org", Limits: limits, Backend: b, Log: slog.New(slog.DiscardHandler),
		Pipeline: pipeline.New(event.FrontEnd, mail.NewDomains("example.org")),
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return l.Addr().String(), s
}

// talker is a client on a real socket.
type talker struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *talker {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	k := &talker{t, c, bufio.NewReader(c)}
	k.expect("220 ")
	return k
}

func (k *talker) send(s string) {
	k.t.Helper()
	if _, err := io.WriteString(k, s); err != nil {
		k.t.Fatal(err)
	}
}

// expect reads to the end of a reply and checks its beginning.
func (k *talker) expect(prefix string) {
	k.t.Helper()
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			k.t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if len(line) > 3 && line[3] == ' ' {
			if !strings.HasPrefix(line, prefix) {
				k.t.Fatalf("server says %q, want %q", line, prefix)
			}
			return
		}
	}
}

func (k *talker) begin() {
	k.t.Helper()
	k.send("EHLO client.example.org\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n")
	k.expect("250 ")
	k.expect("250 2.1.0")
	k.expect("250 2.1.5")
}

// readerBackend hands each body to read.
type readerBackend struct {
	fakeBackend
	read func(header *mail.Header, body io.Reader) (reply.Reply, error)
}

type readerTransaction struct {
	*fakeTransaction
	read func(*mail.Header, io.Reader) (reply.Reply, error)
}

func (b *readerBackend) Open(agents *pipeline.Session) Transaction {
	return &readerTransaction{&fakeTransaction{b: &b.fakeBackend, agents: agents}, b.read}
}

func (t *readerTransaction) Content(_ context.Context, h *mail.Header, body io.Reader) (reply.Reply, error) {
	t.env = nil
	return t.read(h, body)
}

// A small message is one Read, with io.EOF; the header section is seen before the body is there.
func TestBodyIsReadAsItArrives(t *testing.T) {
	type read struct {
		s   string
		err error
	}
	reads := make(chan read, 10)
	b := &readerBackend{read: func(h *mail.Header, body io.Reader) (reply.Reply, error) {
		reads <- read{string(h.AppendTo(nil)), nil}
		buf := make([]byte, 64<<10)
		for {
			n, err := body.Read(buf)
			reads <- read{string(buf[:n]), err}
			if err == io.EOF {
				return reply.Reply{}, nil
			}
			if err != nil {
				return reply.Reply{}, err
			}
		}
	}}
	addr, _ := listen(t, b, Limits{})
	k := dial(t, addr)
	k.begin()
	k.send("DATA\r\n")
	k.expect("354 ")
	k.send("x: y\r\n\r\nbody\r\n.\r\n")
	k.expect("250 ")
	for _, want := range []read{{"x: y\r\n", nil}, {"\r\nbody\r\n", io.EOF}} {
		if got := <-reads; got != want {
			t.Errorf("read %+v, want %+v", got, want)
		}
	}
	k.begin()
	k.send("DATA\r\n")
	k.expect("354 ")
	k.send("x: y\r\n\r\n")
	for _, want := range []read{{"x: y\r\n", nil}, {"\r\n", nil}} {
		if got := <-reads; got != want {
			t.Errorf("read %+v, want %+v", got, want)
		}
	}
	k.send("body\r\n")
	if got := <-reads; got != (read{"body\r\n", nil}) {
		t.Errorf("read %+v", got)
	}
	k.send(".\r\n")
	if got := <-reads; got != (read{"", io.EOF}) {
		t.Errorf("read %+v", got)
	}
	k.expect("250 ")
}

// A client that is hung up on while it sends still gets to read why.
func TestLastReplyIsNotLostToUnreadOctets(t *testing.T) {
	addr, _ := listen(t, &fakeBackend{}, Limits{MessageSize: 1000})
	for range 20 {
		k := dial(t, addr)
		k.begin()
		k.send("DATA\r\n")
		k.expect("354 ")
		done := make(chan struct{})
		go func() {
			defer close(done)
			line := bytes.Repeat([]byte("x"), 9998)
			line = append(line, "\r\n"...)
			for range 150 { // more than the server reads on for
				if _, err := k.Write(line); err != nil {
					return
				}
			}
		}()
		k.expect("552 5.3.4")
		<-done
		_ = k.Close()
	}
}

// Big messages pass as they are, in DATA and in chunks.
func TestBigMessagesPassUnchanged(t *testing.T) {
	var big bytes.Buffer
	big.WriteString("Subject: big\r\n\r\n")
	for i := range 60_000 {
		fmt.Fprintf(&big, "%s%d %s\r\n", strings.Repeat(".", i%4), i, strings.Repeat("x", i%120))
	}
	big.WriteString(strings.Repeat("y", 1<<20) + "\r\n.\r\n..\r\n")
	got := make(chan []byte, 1)
	b := &readerBackend{read: func(h *mail.Header, body io.Reader) (reply.Reply, error) {
		all, err := io.ReadAll(body)
		got <- append(h.AppendTo(nil), all...)
		return reply.Reply{}, err
	}}
	addr, _ := listen(t, b, Limits{})
	k := dial(t, addr)

	k.begin()
	k.send("DATA\r\n")
	k.expect("354 ")
	stuffed := bytes.ReplaceAll(big.Bytes(), []byte("\r\n."), []byte("\r\n.."))
	k.send(string(stuffed) + ".\r\n")
	k.expect("250 ")
	if m := <-got; !bytes.Equal(m, big.Bytes()) {
		t.Errorf("DATA: %d octets came as %d others", big.Len(), len(m))
	}

	k.begin()
	for chunk := range slices.Chunk(big.Bytes(), 1<<20-1) {
		k.send(fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk))
		k.expect("250 2.0.0")
	}
	k.send("BDAT 0 LAST\r\n")
	k.expect("250 2.6.0")
	if m := <-got; !bytes.Equal(m, big.Bytes()) {
		t.Errorf("BDAT: %d octets came as %d others", big.Len(), len(m))
	}
}

// A chunk that nobody wants is read, within limits.
func TestUnwantedChunkIsReadWithinLimits(t *testing.T) {
	addr, _ := listen(t, &fakeBackend{}, Limits{MessageSize: 1000})
	k := dial(t, addr)
	k.send("EHLO client.example.org\r\n")
	k.expect("250 ")
	k.send("BDAT 1000000\r\n" + strings.Repeat("x", 1_000_000))
	k.expect("503 5.5.1")
	k.send("BDAT 2000000\r\n" + strings.Repeat("x", 1_100_000))
	k.expect("503 5.5.1")
	if _, err := k.r.ReadByte(); err == nil {
		t.Error("session goes on within a chunk")
	}
}

// A client that pipelines cannot know in time that its sender, its recipients or its first
// chunk are refused. It may have hundreds of such messages for us.
func TestPipelinedCommandsBehindARefusalAreNoErrors(t *testing.T) {
	addr, _ := listen(t, &fakeBackend{}, Limits{MessageSize: 1000})
	for _, tt := range map[string]struct{ group, replies string }{
		"sender":     {"MAIL FROM:<550-5.1.8@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n", "550 503 503"},
		"recipients": {"MAIL FROM:<a@example.net>\r\nRCPT TO:<550-5.1.1@example.org>\r\nDATA\r\nRSET\r\n", "250 550 554 250"},
		"size":       {"MAIL FROM:<a@example.net> SIZE=2000\r\nRCPT TO:<b@example.org>\r\nBDAT 1\r\nx", "552 503 503"},
		"chunks":     {"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nBDAT 2\r\n\n\nBDAT 1\r\nxBDAT 1 LAST\r\nxRSET\r\n", "250 250 550 503 503 250"},
	} {
		k := dial(t, addr)
		k.send("EHLO client.example.org\r\n")
		k.expect("250 ")
		for range 2 * 20 {
			k.send(tt.group)
			for _, r := range strings.Fields(tt.replies) {
				k.expect(r)
			}
		}
		k.send("QUIT\r\n")
		k.expect("221 ")
	}
}

func TestLineWithoutEndIsGivenUp(t *testing.T) {
	addr, _ := listen(t, &fakeBackend{}, Limits{})
	k := dial(t, addr)
	k.send(strings.Repeat("x", 2*maxSkip))
	k.expect("500 5.5.2")
	k.expect("421 4.7.0")
	if _, err := k.r.ReadByte(); err == nil {
		t.Error("session goes on within a line")
	}
}

func TestRepliesArePrintedClean(t *testing.T) {
	g := &gate{}
	long := strings.Repeat("0123456789 ", 100)
	tests := []struct {
		name string
		utf8 bool
		in   []string
		want string
	}{
		{"plain", false, []string{"one", "two"}, "550-5.1.1 one\r\n550 5.1.1 two\r\n"},
		{"injection", false, []string{"one\r\n250 2.0.0 ok\x00"}, "550 5.1.1 one  250 2.0.0 ok \r\n"},
		{"8-bit", false, []string{"gr\u00fc\u00dfe \xff"}, "550 5.1.1 gr??e ?\r\n"},
		{"UTF-8", true, []string{"gr\u00fc\u00dfe \xff\u0085"}, "550 5.1.1 gr\u00fc\u00dfe \ufffd?\r\n"},
		{"long", false, []string{long}, "550-5.1.1 " + long[:472] + "\r\n550-5.1.1 " + long[473:945] + "\r\n550 5.1.1 " + long[946:] + "\r\n"},
		{"one long word", false, []string{strings.Repeat("x", 500)}, "550-5.1.1 " + strings.Repeat("x", 480) + "\r\n550 5.1.1 " + strings.Repeat("x", 20) + "\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g.utf8, g.out = tt.utf8, nil
			g.say(reply.Reply{Code: 550, Enhanced: reply.Enhanced{Subject: 1, Detail: 1}, Lines: tt.in})
			if string(g.out) != tt.want {
				t.Errorf("says %q, want %q", g.out, tt.want)
			}
		})
	}
}

func TestHeaderFieldsAreCounted(t *testing.T) {
	addr, _ := listen(t, &fakeBackend{}, Limits{})
	k := dial(t, addr)
	for _, tt := range []struct {
		fields int
		want   string
	}{{1000, "250 2.6.0"}, {10_000, "250 2.6.0"}, {10_000 + 1, "552 5.3.4"}} {
		k.begin()
		k.send("DATA\r\n")
		k.expect("354 ")
		k.send(strings.Repeat("a: b\r\n", tt.fields) + "\r\nbody\r\n.\r\n")
		k.expect(tt.want)
	}
}

func TestLogHasARefusalAndOneLineASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		log := new(lockedBuffer)
		p.cfg.Log = slog.New(slog.NewJSONHandler(log, nil))
		p.start()
		for _, s := range []string{"HELO client.example.org\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<550-5.1.1@example.org>\r\n", "RCPT TO:<b@example.org>\r\n",
			"DATA\r\n", ".\r\n", "QUIT\r\n"} {
			if err := p.send(s); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		p.got, _ = nil, p.backend.take()
		p.stop()
		var lines []map[string]any
		for line := range strings.Lines(log.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, m)
		}
		if len(lines) != 2 {
			t.Fatalf("%d lines: %s", len(lines), log)
		}
		for i, want := range []map[string]any{
			{"msg": "refused", "level": "INFO", "command": "RCPT TO:<550-5.1.1@example.org>", "reply": "550 5.1.1 as asked"},
			{"msg": "session", "level": "INFO", "hello": "client.example.org", "esmtp": false, "tls": false, "accepted": 1.0, "refused": 0.0, "commands": 6.0, "reason": "quit"},
		} {
			for k, v := range want {
				if lines[i][k] != v {
					t.Errorf("%s = %v, want %v", k, lines[i][k], v)
				}
			}
			if lines[i]["session"] != lines[0]["session"] {
				t.Errorf("session %v", lines[i]["session"])
			}
		}
	})
}

func TestShutdownEndsIdleSessionsAndClosesTheRestInTime(t *testing.T) {
	addr, s := listen(t, &fakeBackend{}, Limits{})
	idle, busy := dial(t, addr), dial(t, addr)
	busy.begin()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	idle.expect("421 4.3.2")
	_ = idle.Close()
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("takes connections while it goes down")
	}
	busy.send("NOOP\r\n")
	busy.expect("250 ")
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("Shutdown = %v", err)
	}
	if _, err := busy.r.ReadByte(); err == nil {
		t.Error("session goes on after Shutdown")
	}
}

func TestSessionIDsRiseAndAreUnique(t *testing.T) {
	var src idSource
	var all []string
	for range 100_000 {
		all = append(all, src.next())
	}
	if !slices.IsSorted(all) {
		t.Error("not in order")
	}
	if n := len(slices.Compact(all)); n != 100_000 {
		t.Errorf("%d different ids", n)
	}
	if len(all[0]) != 13 {
		t.Errorf("id %q", all[0])
	}
}
