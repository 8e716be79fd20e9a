package certificate

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// bubble is a Store in a bubble of time, with one pair of files.
type bubble struct {
	*Store
	t    *testing.T
	pair Pair
	log  *log
}

func inBubble(t *testing.T, test func(b *bubble)) {
	pair := pairIn(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		c := certificateFor(t, ecKey(), 60*day1, "first.example.org")
		writeCertificate(t, pair.Certificate, c)
		writeKey(t, pair.Key, c)
		l, logger := newLog()
		s, err := New(Settings{Pairs: []Pair{pair}}, logger)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		defer s.Close()
		test(&bubble{s, t, pair, l})
	})
}

// serves checks what a client is given now.
func (b *bubble) serves(want string) {
	b.t.Helper()
	if got := names(b.current.Load().choose(hello("", anyone))); len(got) != 1 || got[0] != want {
		b.t.Errorf("serves %v, want %s", got, want)
	}
}

func (b *bubble) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAPairIsReadAgainWhenItsFilesChange(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.serves("first.example.org")
		next := certificateFor(t, ecKey2(), 90*day1, "second.example.org")
		writeKey(t, b.pair.Key, next)
		b.wait(interval) // the certificate follows: not yet a reason to complain
		b.serves("first.example.org")
		writeCertificate(t, b.pair.Certificate, next)
		b.wait(interval)
		b.serves("second.example.org")
		wantLog(t, b.log, `level=INFO msg="certificate loaded"…second.example.org`)
		b.wait(time.Hour)
		wantLog(t, b.log)
	})
}

func TestABadPairKeepsTheOldOneAndIsLoggedOnceForEachChange(t *testing.T) {
	inBubble(t, func(b *bubble) {
		const line = `level=ERROR msg="certificate not loaded, the old one stays in force"…`
		whole, err := os.ReadFile(b.pair.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		write(t, b.pair.Certificate, whole[:len(whole)/2])
		b.wait(time.Hour)
		wantLog(t, b.log, line)
		b.serves("first.example.org")

		if err := os.Remove(b.pair.Certificate); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Hour)
		wantLog(t, b.log, line+"no such file")

		writeCertificate(t, b.pair.Certificate, certificateFor(t, ecKey2(), 90*day1, "second.example.org"))
		b.wait(time.Hour)
		wantLog(t, b.log, line+"private key does not match public key")
		b.serves("first.example.org")

		writeCertificate(t, b.pair.Certificate, certificateFor(t, ecKey(), -day1, "second.example.org"))
		b.wait(time.Hour)
		wantLog(t, b.log, line+"it has expired, on ")
		b.serves("first.example.org")

		writeCertificate(t, b.pair.Certificate, certificateFor(t, ecKey(), 90*day1, "second.example.org"))
		b.wait(interval)
		wantLog(t, b.log, "certificate loaded")
		b.serves("second.example.org")
	})
}

func TestACertificateThatIsNotValidYetWaitsUntilItIs(t *testing.T) {
	inBubble(t, func(b *bubble) {
		template := *certificateFor(t, ecKey(), 200*day1, "second.example.org").Leaf
		template.NotBefore = time.Now().Add(2 * time.Hour)
		writeCertificate(t, b.pair.Certificate, resign(t, &template))
		b.wait(time.Hour)
		wantLog(t, b.log, "not loaded…it is not valid before")
		b.serves("first.example.org")
		b.wait(time.Hour + interval)
		wantLog(t, b.log, "certificate loaded")
		b.serves("second.example.org")
	})
}

func TestWhatExpiresIsLoggedInTime(t *testing.T) {
	inBubble(t, func(b *bubble) { // 60 days left of 90
		const soon, over = `level=WARN msg="certificate expires soon"…first.example.org`, `level=ERROR msg="certificate has expired"…first.example.org`
		b.Close() // looking every few seconds for two months takes its time
		wait := func(d time.Duration) {
			for range 10 {
				time.Sleep(d / 10)
				b.look(true)
			}
		}
		wait(45 * day1)
		wantLog(t, b.log)
		wait(2 * day1)
		wantLog(t, b.log, soon+"…days=1")
		wait(7 * day1)
		wantLog(t, b.log, soon+"…days=")
		wait(5*day1 + time.Hour)
		wantLog(t, b.log, soon+"…days=0")
		wait(day1)
		wantLog(t, b.log, over)
		b.serves("first.example.org")
		wait(2 * day1)
		wantLog(t, b.log, over, over)
	})
}

func TestWarningsGoByTheLifeOfACertificate(t *testing.T) {
	for _, tt := range []struct {
		life, left time.Duration
		want       int
	}{
		{90 * day1, 15 * day1, 0}, {90 * day1, 14 * day1, 1}, {90 * day1, 8 * day1, 1}, {90 * day1, 7 * day1, 2}, {90 * day1, day1, 3},
		{90 * day1, -time.Second, 4}, {90 * day1, -49 * time.Hour, 6},
		{47 * day1, 8 * day1, 0}, {47 * day1, 7 * day1, 2},
		{6 * day1, 2 * day1, 0}, {6 * day1, day1, 3},
		{time.Hour, time.Minute, 0}, {time.Hour, -time.Minute, 4},
	} {
		c := certificateFor(t, ecKey(), tt.left, "mx.example.org").Leaf
		c.NotBefore = c.NotAfter.Add(-tt.life)
		if got := stage(c, c.NotAfter.Add(-tt.left)); got != tt.want {
			t.Errorf("%v left of %v: stage %d, want %d", tt.left, tt.life, got, tt.want)
		}
	}
}

func TestAChangeIsAllOrNothing(t *testing.T) {
	inBubble(t, func(b *bubble) {
		second := pairIn(t.TempDir())
		c := certificateFor(t, ecKey(), 90*day1, "second.example.org")
		writeCertificate(t, second.Certificate, c)
		writeKey(t, second.Key, c)
		if _, err := b.Prepare(Settings{Pairs: []Pair{second, {"no.pem", "no.pem"}}}); err == nil {
			t.Error("a pair that is not there was taken")
		}
		change, err := b.Prepare(Settings{Pairs: []Pair{second}})
		if err != nil {
			t.Fatal(err)
		}
		b.serves("first.example.org")
		change.Discard()
		b.wait(time.Minute)
		b.serves("first.example.org")
		change.Commit()
		b.serves("second.example.org")
		b.wait(time.Minute)
		b.serves("second.example.org")
	})
}

// A reload is what tools that renew certificates call: it said that nothing had changed.
func TestAChangeKnowsOfFilesThatWereReplaced(t *testing.T) {
	inBubble(t, func(b *bubble) {
		settings := Settings{Pairs: []Pair{b.pair}}
		if change, err := b.Prepare(settings); err != nil || change.Renewed() {
			t.Errorf("nothing was replaced: %v", err)
		}
		next := certificateFor(t, ecKey2(), 90*day1, "second.example.org")
		writeKey(t, b.pair.Key, next)
		writeCertificate(t, b.pair.Certificate, next)
		change, err := b.Prepare(settings)
		if err != nil {
			t.Fatal(err)
		}
		if !change.Renewed() {
			t.Error("the replaced certificate is not noticed")
		}
		change.Commit()
		wantLog(t, b.log, `level=INFO msg="certificate loaded"…second.example.org`)
		b.wait(time.Minute)
		wantLog(t, b.log)
	})
}

func TestWithoutACertificateThereIsNoTLS(t *testing.T) {
	_, logger := newLog()
	s, err := New(Settings{}, logger)
	if err != nil {
		t.Fatal(err)
	}
	if s.TLS(false)() != nil || s.TLS(true)() != nil {
		t.Error("TLS without a certificate")
	}
	if _, err := New(Settings{Pairs: []Pair{{"no.pem", "no.pem"}}}, logger); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a pair that is not there: %v", err)
	}
}

// shake does a handshake and returns what both sides make of it.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer c.Close()
		s := tls.Server(c, server)
		err = s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte("."))
		}
		ended <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := tls.Client(c, client)
	if err := s.HandshakeContext(t.Context()); err != nil {
		<-ended
		return tls.ConnectionState{}, err
	}
	_, err = s.Read(make([]byte, 1)) // tickets come with the first octet
	return s.ConnectionState(), errors.Join(err, <-ended)
}

func TestHandshakes(t *testing.T) {
	pair := pairIn(t.TempDir())
	c := certificateFor(t, ecKey(), 60*day1, "mx.example.org")
	writeCertificate(t, pair.Certificate, c)
	writeKey(t, pair.Key, c)
	_, logger := newLog()
	s, err := New(Settings{Pairs: []Pair{pair}}, logger)
	if err != nil {
		t.Fatal(err)
	}
	server := s.TLS(false)()
	client := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{InsecureSkipVerify: true}
		change(c)
		return c
	}
	for name, tt := range map[string]struct {
		change func(*tls.Config)
		want   bool
	}{
		"TLS 1.3":                   {func(*tls.Config) {}, true},
		"TLS 1.2":                   {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		"TLS 1.1":                   {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		"offers to speak smtp":      {func(c *tls.Config) { c.NextProtos = []string{"smtp"} }, true},
		"a browser that was misled": {func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, false},
		"Triple DES": {func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := shake(t, server, client(tt.change)); (err == nil) != tt.want {
				t.Errorf("handshake: %v", err)
			}
		})
	}
	t.Run("a session goes on", func(t *testing.T) {
		cache := tls.NewLRUClientSessionCache(1)
		for i := range 2 {
			state, err := shake(t, s.TLS(false)(), client(func(c *tls.Config) { c.ClientSessionCache, c.ServerName = cache, "mx.example.org" }))
			if err != nil || state.DidResume != (i == 1) {
				t.Errorf("handshake %d: resumed %v, %v", i, state.DidResume, err)
			}
		}
	})
}
