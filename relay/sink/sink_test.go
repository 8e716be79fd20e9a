package sink

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is what a sink shows.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a sink and returns its address.
func start(t *testing.T, o Options) string {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// client is a dialogue: what is said, and the reply it must get.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *textproto.Reader
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, conn, textproto.NewReader(bufio.NewReader(conn))}
}

func (c *client) say(s string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) hear(want string) {
	c.t.Helper()
	code, text, err := c.r.ReadResponse(0)
	if err != nil {
		c.t.Fatalf("want %q: %v", want, err)
	}
	if got := fmt.Sprintf("%d %s", code, text); !strings.HasPrefix(got, want) {
		c.t.Fatalf("reply %q, want %q", got, want)
	}
}

// talk says the lines at even places and wants the replies at odd ones.
func (c *client) talk(lines ...string) {
	c.t.Helper()
	for i := 0; i < len(lines); i += 2 {
		c.say(lines[i] + "\r\n")
		c.hear(lines[i+1])
	}
}

func (c *client) closed() {
	c.t.Helper()
	if line, err := c.r.ReadLine(); err == nil {
		c.t.Fatalf("%q, want the connection closed", line)
	}
}

func TestMessageIsKeptByteForByteWithItsEnvelope(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "caught")
	var out output
	c := dial(t, start(t, Options{Dir: dir, Out: &out, Format: Lines}))
	content := "Subject:  odd \r\n\tfolding\r\nno field at all\r\n\r\n.one dot\r\n\x80\xff bytes\r\n"
	c.hear("220 ")
	c.talk(
		"EHLO client.example.org", "250 ",
		"MAIL FROM:<> BODY=8BITMIME SIZE=100 RET=HDRS ENVID=abc", "250 ",
		"RCPT TO:<alice@example.org> NOTIFY=NEVER", "250 ",
		`RCPT TO:<"a b"@example.net>`, "250 ",
		"DATA", "354 ",
		strings.ReplaceAll(content, "\r\n.", "\r\n..")+".", "250 2.0.0 message 1 taken",
	)
	c.talk("QUIT", "221 ")

	kept, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(kept) != 2 || filepath.Ext(kept[0]) != ".eml" || filepath.Ext(kept[1]) != ".json" {
		t.Fatalf("kept %q, want one .eml and its .json", kept)
	}
	eml, err := os.ReadFile(kept[0])
	if err != nil || string(eml) != content {
		t.Errorf("content %q, want %q (%v)", eml, content, err)
	}
	var m Message
	envelope, err := os.ReadFile(kept[1])
	if err == nil {
		err = json.Unmarshal(envelope, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	if m.From.Address != "" || m.From.Params["BODY"] != "8BITMIME" || m.From.Params["ENVID"] != "abc" ||
		len(m.Recipients) != 2 || m.Recipients[0].Address != "alice@example.org" || m.Recipients[0].Params["NOTIFY"] != "NEVER" ||
		m.Recipients[1].Address != `"a b"@example.net` || m.Size != int64(len(content)) || m.SHA256 != hex.EncodeToString(sum[:]) ||
		m.Hello != "client.example.org" || !m.ESMTP || m.Client == "" || m.File != filepath.Base(kept[0]) || m.Seq != 1 {
		t.Errorf("envelope %s", envelope)
	}
	if got := out.String(); !strings.Contains(got, `<> -> <alice@example.org> <"a b"@example.net>, `) || strings.Count(got, "\n") != 1 {
		t.Errorf("shown %q", got)
	}
}

func TestRulesAnswerAtEachStage(t *testing.T) {
	rules, err := ParseReplies("mail:bad@example.net=550 5.7.1 not you,rcpt:bob@example.org=550 5.1.1 no such user,rcpt:end@example.org=421 4.3.2 bye," +
		"content=452 4.3.1 disk full, sorry")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var out output
	c := dial(t, start(t, Options{Rules: rules, Dir: dir, Out: &out}))
	c.hear("220 ")
	c.talk(
		"EHLO client.example.org", "250 ",
		"MAIL FROM:<bad@example.net>", "550 5.7.1 not you",
		"MAIL FROM:<good@example.net>", "250 ",
		"RCPT TO:<bob@example.org>", "550 5.1.1 no such user",
		"RCPT TO:<alice@example.org>", "250 ",
		"DATA", "354 ",
		"Subject: x\r\n\r\nbody\r\n.", "452 4.3.1 disk full, sorry",
		"MAIL FROM:<good@example.net>", "250 ",
		"RCPT TO:<end@example.org>", "421 4.3.2 bye",
	)
	c.closed()
	if kept, _ := filepath.Glob(filepath.Join(dir, "*")); len(kept) != 0 {
		t.Errorf("kept %q of a message that was refused", kept)
	}
	for _, want := range []string{"RCPT TO:<alice@example.org>\n", "\nSubject: x\n\nbody\n", "octets: 452 4.3.1 disk full, sorry\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("shown %q, want %q in it", out.String(), want)
		}
	}
}

func TestRulesAnswerBeforeMail(t *testing.T) {
	for _, test := range []struct {
		rule       string
		first, ehl string // the replies to connecting and to EHLO
	}{
		{"connect=554 5.3.2 closed today", "554 ", ""},
		{"connect=421 4.3.2 later", "421 4.3.2 later", ""},
		{"ehlo=550 5.7.1 not you", "220 ", "550 5.7.1 not you"},
		{"ehlo=421 4.3.2 later", "220 ", "421 4.3.2 later"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			rules, err := ParseReplies(test.rule)
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, start(t, Options{Rules: rules}))
			c.hear(test.first)
			if test.ehl != "" {
				c.talk("EHLO client.example.org", test.ehl)
			}
			if strings.HasSuffix(test.rule, "later") {
				c.closed()
			}
		})
	}
}

func TestDelayHoldsTheReplyBack(t *testing.T) {
	rules, err := ParseDelays("connect=50ms,ehlo=50ms,mail=50ms")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	c := dial(t, start(t, Options{Rules: rules}))
	c.hear("220 ")
	c.talk("EHLO client.example.org", "250 ", "MAIL FROM:<a@example.net>", "250 ")
	if took := time.Since(begun); took < 150*time.Millisecond {
		t.Errorf("took %s, want three delays of 50ms", took)
	}
}

func TestMessageCutShortIsNotKept(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { // after the sink has ended
		if kept, _ := filepath.Glob(filepath.Join(dir, "*")); len(kept) != 0 {
			t.Errorf("kept %q of half a message", kept)
		}
	})
	c := dial(t, start(t, Options{Dir: dir, Format: Lines}))
	c.hear("220 ")
	c.talk("EHLO client.example.org", "250 ", "MAIL FROM:<a@example.net>", "250 ", "RCPT TO:<b@example.org>", "250 ", "DATA", "354 ")
	c.say("Subject: x\r\n\r\n" + strings.Repeat("half a message\r\n", 10_000))
	c.conn.Close()
}

func TestLongBodyIsShownInPartAndNothingDrivesTheTerminal(t *testing.T) {
	var out output
	c := dial(t, start(t, Options{Out: &out}))
	c.hear("220 ")
	c.talk("HELO client.example.org", "250 ", "MAIL FROM:<a@example.net>", "250 ", "RCPT TO:<b@example.org>", "250 ", "DATA", "354 ",
		"Subject: \x1b[2J clear\r\n\r\n"+strings.Repeat("line\r\n", 100)+".", "250 ")
	got := out.String()
	if n := strings.Count(got, "\nline"); n != shownLines {
		t.Errorf("%d lines of the body are shown, want %d", n, shownLines)
	}
	if !strings.Contains(got, "[360 more octets]\n") {
		t.Errorf("shown %q, want it to say how much more there is", got)
	}
	if strings.ContainsRune(got, '\x1b') || !strings.Contains(got, `\x1b[2J clear`) {
		t.Errorf("shown %q, want the escape character made harmless", got)
	}
}

func TestJSONShowsOneObjectForEachMessage(t *testing.T) {
	var out output
	c := dial(t, start(t, Options{Out: &out, Format: JSON}))
	c.hear("220 ")
	for range 2 {
		c.talk("EHLO client.example.org", "250 ", "MAIL FROM:<a@example.net>", "250 ", "RCPT TO:<b@example.org>", "250 ",
			"DATA", "354 ", "Subject: one\r\n\r\nbody\r\n.", "250 ")
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("shown %q, want two lines", lines)
	}
	var m Message
	if err := json.Unmarshal([]byte(lines[1]), &m); err != nil || m.Seq != 2 || m.Subject != "one" || m.From.Address != "a@example.net" {
		t.Errorf("second line %s: %v", lines[1], err)
	}
}
