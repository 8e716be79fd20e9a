package smtpserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// A dialogue is a conversation as RFC 5321 Appendix D prints it, one file a rule:
//
//	! limit recipients 2        before the start: a limit, "tls starttls", "tls starttls without" (a certificate),
//	                            "tls implicit plain" (a client that does not know), "hop size=1000",
//	                            "agent OnConnect reject 554 5.7.1 a line|another" or "agent OnReject notify"
//	                            "proxy" or "xclient": who connects, 198.51.100.7, is in that list;
//	                            "internal ADDRESS" is in networks.relay; "taken ADDRESS" has a connection already
//	! auth optional             … alice may log in by PLAIN or LOGIN, her password is "secret"; or "required"
//	C: text                     the client sends a line
//	B: a\x00b                   … base64 of a Go string without its quotes
//	C! "text"                   … octets, as a Go string
//	EHLO:                       the client reads the banner, says EHLO and reads the reply
//	TX:                         … then MAIL FROM:<a@example.net>, RCPT TO:<b@example.org>, both taken
//	S: text                     the server says exactly this
//	S~ regex                    … something like it
//	W: 1                        the replies since the last W: came in so many writes
//	T: 5m                       time passes
//	TLS:                        the client begins TLS
//	SHUTDOWN: 1m                the server shuts down, and waits so long
//	C.                          the client closes
//	S.                          the server has closed
//	D: <from> <to> "content"    this was delivered; "|" ends the header section
//	A: OnReject …               the agent has seen this
//	E: reset                    the transaction has seen this
//	I: 192.0.2.1:25 …           … of the connection: client, its name, where it has connected to, the
//	                            proxy, "internal", and who has logged in, at the last MAIL
//	L: key=value …              a line of the log has these, in this order; it is looked for from the last one on
//
// At the end nothing else may have been said or delivered.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, f := range files {
		script, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, string(script)) })
		})
	}
}

// player is one dialogue under way.
type player struct {
	t       *testing.T
	cfg     Config
	backend *fakeBackend
	agent   *fakeAgent
	plain   bool // the client reads without TLS where TLS comes first
	binding pipeline.Binding
	server  *Server
	l       *pipeListener
	served  chan error
	stopped chan error
	conn    net.Conn

	mu        sync.Mutex
	got       []byte
	writes    int
	closed    bool
	delivered []string
	log       lockedBuffer
	logged    int // octets of it that were looked at
}

func newPlayer(t *testing.T) *player {
	p := &player{t: t, agent: &fakeAgent{verdicts: map[event.Kind]event.Verdict{}}}
	p.backend = &fakeBackend{ext: mail.Extensions{EightBitMIME: true, SMTPUTF8: true, DSN: true, SizeOffered: true}}
	p.cfg = Config{
		Hostname: "mx.example.org", Listener: "test", Backend: p.backend,
		Pipeline: pipeline.New(event.FrontEnd, mail.NewDomains("example.org")),
		TLS:      func() *tls.Config { return testTLS() },
	}
	p.cfg.Log = slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), &p.log), &slog.HandlerOptions{Level: slog.LevelDebug}))
	p.binding = pipeline.Binding{
		Name: "judge", Agent: p.agent, Timeout: time.Minute,
		Granted: event.Permissions(0).With(event.MayReject).With(event.MayDiscard),
	}
	return p
}

func play(t *testing.T, script string) {
	p := newPlayer(t)
	defer func() {
		if t.Failed() && p.server != nil {
			_ = p.conn.Close()
			_ = p.server.Close()
		}
	}()
	lines := strings.Split(strings.TrimRight(script, "\n"), "\n")
	for i, line := range lines {
		word, arg, _ := strings.Cut(line, " ")
		if line == "" || line[0] == '#' {
			continue
		}
		if word == "!" {
			p.configure(arg)
			continue
		}
		if p.server == nil {
			p.start()
		}
		if err := p.step(word, arg); err != nil {
			t.Fatalf("line %d: %s\n\t%v", i+1, line, err)
		}
	}
	p.stop()
}

func (p *player) configure(arg string) {
	words := strings.Fields(arg)
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			p.t.Fatal(err)
		}
		return n
	}
	switch words[0] {
	case "limit":
		p.limit(words[1], words[2])
	case "auth":
		p.cfg.Auth, p.cfg.AuthRequired = fakeLogins{}, words[1] == "required"
	case "tls":
		p.cfg.TLSMode = TLSMode(words[1])
		if len(words) > 2 && words[2] == "without" {
			p.cfg.TLS = func() *tls.Config { return nil }
		}
		p.plain = len(words) > 2
	case "hop":
		p.backend.ext = mail.Extensions{}
		for _, w := range words[1:] {
			if size, ok := strings.CutPrefix(w, "size="); ok {
				p.backend.ext.SizeOffered, p.backend.ext.Size = true, int64(number(size))
			}
			if rcpts, ok := strings.CutPrefix(w, "rcptmax="); ok {
				p.backend.ext.RcptMax = number(rcpts)
			}
			p.backend.ext.SMTPUTF8 = p.backend.ext.SMTPUTF8 || w == "smtputf8"
			p.backend.ext.RequireTLS = p.backend.ext.RequireTLS || w == "requiretls"
		}
	case "proxy":
		p.cfg.Proxy = isHop
	case "xclient":
		p.cfg.XClient = isHop
	case "internal":
		p.cfg.Internal = func(a netip.Addr) bool { return slices.Contains(words[1:], a.String()) }
	case "taken":
		p.cfg.Clients = NewClients()
		v, _ := p.cfg.Clients.enter(p.cfg.Listener, p.cfg.Limits)
		if _, b := p.cfg.Clients.admit(v, netip.MustParseAddr(words[1]), p.cfg.Limits); b != noBarrier {
			p.t.Fatal(b)
		}
	case "agent":
		k, ok := event.ParseKind(words[1])
		if !ok {
			p.t.Fatal(arg)
		}
		p.binding.Subscriptions = append(p.binding.Subscriptions, event.Subscription{Kind: k, Notify: words[2] == "notify"})
		p.agent.verdicts[k] = parseVerdict(p.t, words[2:])
	default:
		p.t.Fatal(arg)
	}
}

// limit sets the limit of that name in the configuration.
func (p *player) limit(name, value string) {
	f := reflect.ValueOf(&p.cfg.Limits).Elem().FieldByNameFunc(func(field string) bool {
		return strings.EqualFold(field, strings.ReplaceAll(name, "_", ""))
	})
	var err error
	if !f.IsValid() {
		err = fmt.Errorf("there is no such limit")
	} else if f.Type() == reflect.TypeFor[time.Duration]() {
		var d time.Duration
		d, err = time.ParseDuration(value)
		f.SetInt(int64(d))
	} else if f.Kind() == reflect.Bool {
		f.SetBool(value == "true")
	} else {
		var n int
		n, err = strconv.Atoi(value)
		f.SetInt(int64(n))
	}
	if err != nil {
		p.t.Fatal(name, value, err)
	}
}

// hop is who connects.
var hop = netip.MustParseAddr("198.51.100.7")

func isHop(a netip.Addr) bool { return a == hop }

func parseVerdict(t *testing.T, words []string) event.Verdict {
	var v event.Verdict
	switch words[0] {
	case "reject":
		v.Action = event.RejectIt
	case "tempfail":
		v.Action = event.TempFail
	case "hangup":
		v.Action = event.Hangup
	case "notify", "continue":
	default:
		t.Fatal(words)
	}
	if len(words) > 2 {
		var class, subject, detail int
		if _, err := fmt.Sscanf(words[2], "%d.%d.%d", &class, &subject, &detail); err != nil {
			t.Fatal(err)
		}
		code, _ := strconv.Atoi(words[1])
		v.Reply = reply.New(code, reply.Enhanced{Subject: subject, Detail: detail}, "")
		v.Reply.Lines = strings.Split(strings.Join(words[3:], " "), "|")
	}
	return v
}

func (p *player) start() {
	if len(p.binding.Subscriptions) > 0 {
		p.cfg.Pipeline.Set([]pipeline.Binding{p.binding})
	}
	p.server = New(p.cfg)
	p.l = newPipeListener()
	p.served = make(chan error, 1)
	p.stopped = make(chan error, 1)
	go func() { p.served <- p.server.Serve(p.l) }()
	p.conn = p.l.dial()
	if p.plain || p.cfg.TLSMode != Implicit {
		go p.receive(p.conn)
	}
}

// receive keeps what the server says. One Read is one Write of the server.
func (p *player) receive(c net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		p.mu.Lock()
		p.got = append(p.got, buf[:n]...)
		if n > 0 {
			p.writes++
		}
		p.closed = p.closed || err != nil && c == p.conn
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *player) stop() {
	synctest.Wait()
	p.mu.Lock()
	if rest := string(p.got); rest != "" {
		p.t.Errorf("server also said %q", rest)
	}
	p.mu.Unlock()
	_ = p.conn.Close()
	_ = p.server.Close()
	if err := <-p.served; err != nil {
		p.t.Errorf("Serve = %v", err)
	}
	synctest.Wait()
	if rest := append(p.delivered, p.backend.take()...); len(rest) > 0 {
		p.t.Errorf("also delivered: %s", strings.Join(rest, "\n"))
	}
	if n := len(p.server.gates); n > 0 {
		p.t.Errorf("%d sessions left", n)
	}
}

func (p *player) step(word, arg string) error {
	switch word {
	case "C:":
		return p.send(arg + "\r\n")
	case "B:":
		raw, err := strconv.Unquote(`"` + arg + `"`)
		if err != nil {
			return err
		}
		return p.send(base64.StdEncoding.EncodeToString([]byte(raw)) + "\r\n")
	case "C!":
		raw, err := strconv.Unquote(arg)
		if err != nil {
			return err
		}
		return p.send(raw)
	case "EHLO:":
		return p.hello()
	case "TX:":
		return p.transaction()
	case "C.":
		return p.conn.Close()
	case "T:":
		d, err := time.ParseDuration(arg)
		time.Sleep(d)
		return err
	case "TLS:":
		return p.startTLS()
	case "SHUTDOWN:":
		d, err := time.ParseDuration(arg)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), d)
			defer cancel()
			p.stopped <- p.server.Shutdown(ctx)
		}()
		return err
	}
	synctest.Wait()
	return p.expect(word, arg)
}

func (p *player) send(s string) error {
	synctest.Wait()
	if s == "" {
		return nil
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := p.conn.Write([]byte(s))
	return err
}

func (p *player) hello() error {
	if err := p.send("EHLO client.example.org\r\n"); err != nil {
		return err
	}
	return p.swallow("250 ")
}

func (p *player) transaction() error {
	if err := p.send("MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n"); err != nil {
		return err
	}
	return p.swallow("250 2.1.5")
}

// swallow takes replies up to and with a line that begins so.
func (p *player) swallow(prefix string) error {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		line, rest, ok := bytes.Cut(p.got, []byte("\r\n"))
		if !ok || line[0] > '3' {
			return fmt.Errorf("server does not say %s but %q", prefix, line)
		}
		p.got, p.writes = rest, 0
		if bytes.HasPrefix(line, []byte(prefix)) {
			return nil
		}
	}
}

func (p *player) startTLS() error {
	if p.cfg.TLSMode == StartTLS {
		synctest.Wait()
		_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // receive lets go of it
		synctest.Wait()
		_ = p.conn.SetReadDeadline(time.Time{})
		p.closed = false
	}
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		return err
	}
	p.conn = c
	go p.receive(c)
	return nil
}

func (p *player) expect(word, arg string) error {
	switch word {
	case "D:":
		p.delivered = append(p.delivered, p.backend.take()...)
		if len(p.delivered) == 0 {
			return fmt.Errorf("nothing was delivered")
		}
		got := p.delivered[0]
		p.delivered = p.delivered[1:]
		return equal(got, arg)
	case "A:":
		return next(&p.agent.mu, &p.agent.seen, arg)
	case "E:":
		return next(&p.backend.mu, &p.backend.events, arg)
	case "I:":
		p.backend.mu.Lock()
		defer p.backend.mu.Unlock()
		return equal(p.backend.client, arg)
	case "L:":
		return p.findLog(arg)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch word {
	case "S.":
		if len(p.got) > 0 || !p.closed {
			return fmt.Errorf("server has not closed; said %q", p.got)
		}
		return nil
	case "W:":
		got := strconv.Itoa(p.writes)
		p.writes = 0
		return equal(got, arg)
	}
	line, rest, ok := bytes.Cut(p.got, []byte("\r\n"))
	if !ok {
		return fmt.Errorf("server says nothing (closed: %v)", p.closed)
	}
	p.got = rest
	switch word {
	case "S:":
		return equal(string(line), arg)
	case "S~":
		re, err := regexp.Compile("^(?:" + arg + ")$")
		if err == nil && !re.Match(line) {
			err = fmt.Errorf("server says %q", line)
		}
		return err
	}
	return fmt.Errorf("unknown word")
}

// findLog looks for a line of the log that has these, in this order.
func (p *player) findLog(want string) error {
	rest := p.log.String()[p.logged:]
	for line := range strings.Lines(rest) {
		p.logged += len(line)
		at, found := 0, true
		for _, word := range strings.Fields(want) {
			i := strings.Index(line[at:], word)
			if found = i >= 0; !found {
				break
			}
			at += i + len(word)
		}
		if found {
			return nil
		}
	}
	return fmt.Errorf("not in the log:\n%s", rest)
}

func next(mu *sync.Mutex, list *[]string, want string) error {
	mu.Lock()
	defer mu.Unlock()
	if len(*list) == 0 {
		return fmt.Errorf("nothing more was seen")
	}
	got := (*list)[0]
	*list = (*list)[1:]
	return equal(got, want)
}

func equal(got, want string) error {
	if got != want {
		return fmt.Errorf("got  %s", got)
	}
	return nil
}

var testTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.org"}, NotAfter: time.Now().AddDate(50, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})
