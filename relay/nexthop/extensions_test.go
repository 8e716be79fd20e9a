package nexthop

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"example.org/relay/relay/mail"
)

func TestExtensionsAreReadInEveryShape(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		want  mail.Extensions
	}{
		{"none", nil, mail.Extensions{}},
		{"any case, spaces", []string{"pipelining ", " 8BitMime", "SMTPUTF8"}, mail.Extensions{Pipelining: true, EightBitMIME: true, SMTPUTF8: true}},
		{"unknown and empty", []string{"", "X-WHATEVER a b", "HELP"}, mail.Extensions{}},
		{"size without a limit", []string{"SIZE"}, mail.Extensions{SizeOffered: true}},
		{"size 0", []string{"SIZE 0"}, mail.Extensions{SizeOffered: true}},
		{"size", []string{"size 5000000000"}, mail.Extensions{SizeOffered: true, Size: 5_000_000_000}},
		{"size beyond all", []string{"SIZE 99999999999999999999"}, mail.Extensions{SizeOffered: true}},
		{"negative size", []string{"SIZE -1"}, mail.Extensions{SizeOffered: true}},
		{"limits", []string{"LIMITS RCPTMAX=20 mailmax=5"}, mail.Extensions{RcptMax: 20, MailMax: 5}},
		{"limits that make no sense", []string{"LIMITS RCPTMAX=0 MAILMAX=1234567"}, mail.Extensions{}},
		{"limits of other names", []string{"LIMITS RCPTMAXIMUM=7 X=1 MAILMAX= RCPTMAX"}, mail.Extensions{}},
		{"auth before login", []string{"AUTH PLAIN"}, mail.Extensions{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parseKeywords(append([]string{"mx.example.org"}, test.lines...)).extensions(); got != test.want {
				t.Errorf("extensions = %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestMechanismsAreReadInBothForms(t *testing.T) {
	for _, lines := range [][]string{{"AUTH PLAIN login"}, {"AUTH=PLAIN LOGIN"}, {"AUTH PLAIN", "AUTH=LOGIN"}, {"auth  plain  LOGIN "}} {
		k := parseKeywords(append([]string{"mx.example.org"}, lines...))
		if got := strings.Join(k.params("AUTH"), " "); got != "PLAIN LOGIN" {
			t.Errorf("%q: mechanisms %q", lines, got)
		}
	}
}

func TestCommonExtensionsAreTheSmallest(t *testing.T) {
	a := mail.Extensions{RcptMax: 50, MailMax: 0, SizeOffered: true, Size: 10, Auth: true}
	b := mail.Extensions{RcptMax: 0, MailMax: 7, SizeOffered: true, Size: 20, Auth: true}
	c := mail.Extensions{RcptMax: 40, MailMax: 9}
	if got, want := both(both(a, b), c), (mail.Extensions{RcptMax: 40, MailMax: 7, SizeOffered: true, Size: 10}); got != want {
		t.Errorf("both = %+v, want %+v", got, want)
	}
}

// RFC 9422 §4.1, §4.3.
func TestConnectionIsLeftWhenItsLimitIsReached(t *testing.T) {
	for limits, want := range map[string]int{"MAILMAX=2": 2, "RCPTDOMAINMAX=1": 3, "MAILMAX=1000": 1} {
		t.Run(limits, func(t *testing.T) {
			play := func(n int) script {
				return func(p *peer) {
					p.greet("PIPELINING", "8BITMIME", "LIMITS "+limits)
					for range n {
						p.message()
					}
					p.want("QUIT")
				}
			}
			scripts := map[int][]script{1: {play(3)}, 2: {play(2), play(1)}, 3: {play(1), play(1), play(1)}}
			h, n := hopTo(t, scripts[want]...)
			for range 3 {
				sendMail(t, h)
			}
			if len(n.dialled) != want {
				t.Errorf("%d connections, want %d", len(n.dialled), want)
			}
		})
	}
}

func TestSecondMailOfATransactionCountsToo(t *testing.T) {
	h, n := hopTo(t, func(p *peer) {
		p.greet("PIPELINING", "8BITMIME", "LIMITS MAILMAX=1")
		p.answer("MAIL FROM:<a@example.org>", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "250 ok")
		p.end()
	}, func(p *peer) {
		p.greet("PIPELINING", "8BITMIME", "LIMITS MAILMAX=1")
		p.envelope()
		p.end()
	})
	tx := begin(t, h)
	if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), false); err != nil {
		t.Fatal(err)
	}
	if err := tx.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true); err != nil || a.Data.Code != 354 {
		t.Fatalf("Envelope = %+v, %v", a, err)
	}
	tx.Abort()
	if len(n.dialled) != 2 {
		t.Errorf("%d connections, want 2", len(n.dialled))
	}
}

// Whatever a server says after EHLO, what is made of it makes sense.
func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"250-mx\r\n250-SIZE 1000\r\n250-AUTH=LOGIN PLAIN\r\n250 AUTH PLAIN\r\n", "250 mx\r\n", "250-\r\n250-\r\n250 \r\n",
		"250-mx\n250-LIMITS RCPTMAX=1 MAILMAX=99 RCPTDOMAINMAX=0\n250 size -5\n", "250-mx\r\n250-XCLIENT NAME ADDR\r\n250 AUTH=\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := readReply(bufio.NewReaderSize(bytes.NewReader(in), maxLine))
		if err != nil {
			return
		}
		k := parseKeywords(r.Lines)
		for keyword := range k {
			if keyword == "" || strings.ContainsRune(keyword, ' ') || strings.HasPrefix(keyword, "AUTH=") || keyword != strings.ToUpper(keyword) {
				t.Errorf("keyword %q", keyword)
			}
		}
		e := k.extensions()
		if e.Size < 0 || e.Size > 0 && !e.SizeOffered || e.RcptMax < 0 || e.MailMax < 0 || e.Auth {
			t.Errorf("extensions %+v", e)
		}
		if twice := both(e, e); twice != e {
			t.Errorf("%+v and itself have %+v in common", e, twice)
		}
	})
}
