package mail_test

import (
	"errors"
	"strings"
	"testing"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

func TestParseParams(t *testing.T) {
	p, err := mail.ParseParams(" size=100 BODY=8bitMIME smtputf8  X-Foo=a<b>+;  ")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.String(), " SIZE=100 BODY=8bitMIME SMTPUTF8 X-FOO=a<b>+;"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	if v, ok := p.Get("SMTPUTF8"); v != "" || !ok || p[2].HasValue {
		t.Errorf("SMTPUTF8 = %q, %v, HasValue %v", v, ok, p[2].HasValue)
	}
	if p, err := mail.ParseParams(""); err != nil || len(p) != 0 {
		t.Errorf(`ParseParams("") = %v, %v`, p, err)
	}
}

func TestParseParamsRefuses(t *testing.T) {
	for _, s := range []string{
		" SIZE=", " =1", " -X", " S_X=1", " SIZE=1 size=2", " A\tB", " X=a\x00", " X=a\r", " X=\x7f", " X=\xff", " X=a=b",
		" X=\u0085", " Ü=1", " " + strings.Repeat("K", 65),
	} {
		p, err := mail.ParseParams(s)
		if got := reply.From(err).String(); err == nil || !strings.HasPrefix(got, "501 5.5.4 ") {
			t.Errorf("ParseParams(%q) = %v, %v, want 501 5.5.4", s, p, err)
		}
	}
}

func TestParams(t *testing.T) {
	all := mail.Extensions{
		EightBitMIME: true, SMTPUTF8: true, DSN: true, RequireTLS: true, Auth: true, SizeOffered: true, Size: 1000,
	}
	noUTF8 := all
	noUTF8.SMTPUTF8 = false
	for _, c := range []struct {
		verb    string
		offered mail.Extensions
		params  string
		want    string // the reply's start; "" for none
	}{
		{"MAIL", all, "SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<> REQUIRETLS", ""},
		{"MAIL", all, "BODY=7bit RET=full AUTH=a+40example.org", ""},
		{"MAIL", mail.Extensions{}, "SIZE=1", "555 5.5.4"},
		{"MAIL", mail.Extensions{}, "BODY=7BIT", "555 5.5.4"},
		{"MAIL", mail.Extensions{}, "SMTPUTF8", "555 5.5.4"},
		{"MAIL", mail.Extensions{}, "RET=FULL", "555 5.5.4"},
		{"MAIL", mail.Extensions{}, "ENVID=x", "555 5.5.4"},
		{"MAIL", mail.Extensions{}, "AUTH=<>", "555 5.5.4"},
		{"MAIL", mail.Extensions{}, "REQUIRETLS", "555 5.5.4"},
		{"MAIL", all, "XOORG=example.org", "555 5.5.4"},
		{"MAIL", all, "NOTIFY=NEVER", "555 5.5.4"},
		{"MAIL", all, "SIZE=1001", "552 5.3.4"},
		{"MAIL", all, "SIZE=99999999999999999999", "552 5.3.4"},
		{"MAIL", mail.Extensions{SizeOffered: true}, "SIZE=5000000000", ""},
		{"MAIL", mail.Extensions{SizeOffered: true}, "SIZE=99999999999999999999", "552 5.3.4"},
		{"MAIL", all, "SIZE", "501 5.5.4"},
		{"MAIL", all, "SIZE=-1", "501 5.5.4"},
		{"MAIL", all, "SIZE=1k", "501 5.5.4"},
		{"MAIL", all, "BODY=BINARYMIME", "555 5.6.1"},
		{"MAIL", all, "BODY=9BIT", "501 5.5.4"},
		{"MAIL", all, "SMTPUTF8=yes", "501 5.5.4"},
		{"MAIL", all, "RET=SOME", "501 5.5.4"},
		{"MAIL", all, "ENVID=" + strings.Repeat("x", 100), ""},
		{"MAIL", all, "ENVID=" + strings.Repeat("x", 101), "501 5.5.4"},
		{"MAIL", all, "ENVID=a+0D+0Ab", "501 5.5.4"},
		{"MAIL", all, "ENVID=a+2", "501 5.5.4"},
		{"MAIL", all, "ENVID=a+2g", "501 5.5.4"},
		{"MAIL", all, "ENVID=ü SMTPUTF8", "501 5.5.4"},
		{"MAIL", all, "AUTH=a+4", "501 5.5.4"},
		{"RCPT", all, "NOTIFY=SUCCESS,failure,DELAY ORCPT=rfc822;user+2Btag@example.org", ""},
		{"RCPT", all, "NOTIFY=NEVER", ""},
		{"RCPT", all, "NOTIFY=NEVER,SUCCESS", "501 5.5.4"},
		{"RCPT", all, "NOTIFY=SUCCESS,", "501 5.5.4"},
		{"RCPT", all, "NOTIFY=ALWAYS", "501 5.5.4"},
		{"RCPT", all, "NOTIFY", "501 5.5.4"},
		{"RCPT", mail.Extensions{}, "NOTIFY=NEVER", "555 5.5.4"},
		{"RCPT", mail.Extensions{}, "ORCPT=rfc822;a", "555 5.5.4"},
		{"RCPT", all, "SIZE=1", "555 5.5.4"},
		{"RCPT", all, "ORCPT=x-other;whatever", ""},
		{"RCPT", all, "ORCPT=rfc822", "501 5.5.4"},
		{"RCPT", all, "ORCPT=;a", "501 5.5.4"},
		{"RCPT", all, "ORCPT=rfc822;", "501 5.5.4"},
		{"RCPT", all, "ORCPT=rf(c;a", "501 5.5.4"},
		{"RCPT", all, "ORCPT=rfc822;a+00b", "501 5.5.4"},
		{"RCPT", all, "ORCPT=rfc822;" + strings.Repeat("a", 493), ""},
		{"RCPT", all, "ORCPT=rfc822;" + strings.Repeat("a", 494), "501 5.5.4"},
		{"RCPT", all, "ORCPT=utf-8;jürgen@example.org", ""},
		{"RCPT", all, `ORCPT=utf-8;j\x{FC}rgen@example.org`, ""},
		{"RCPT", all, "ORCPT=rfc822;jürgen@example.org", "501 5.5.4"},
		{"RCPT", noUTF8, "ORCPT=utf-8;jürgen@example.org", "501 5.5.4"},
	} {
		p, err := mail.ParseParams(" " + c.params)
		if err != nil {
			t.Fatalf("ParseParams(%q): %v", c.params, err)
		}
		check := mail.MailParams
		if c.verb == "RCPT" {
			check = mail.RcptParams
		}
		err = check(p, c.offered)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s %s: %v", c.verb, c.params, err)
			}
			continue
		}
		var refused *reply.Error
		if !errors.As(err, &refused) || !strings.HasPrefix(refused.Reply.String(), c.want+" ") {
			t.Errorf("%s %s: %v, want %s", c.verb, c.params, err, c.want)
		}
	}
}

// FuzzParseParams proves that parameters print as what they were read from.
func FuzzParseParams(f *testing.F) {
	for _, s := range []string{"", " SIZE=1 BODY=8BITMIME", " X", " ORCPT=rfc822;a+2Bb@example.org", " A=ü", "  A  B=<>,;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := mail.ParseParams(s)
		if err != nil {
			return
		}
		printed := p.String()
		if strings.ContainsAny(printed, "\r\n\x00\t") {
			t.Errorf("%q has a control character", printed)
		}
		if back, err := mail.ParseParams(printed); err != nil || back.String() != printed {
			t.Errorf("ParseParams(%q) = %q, %v", printed, back.String(), err)
		}
		_ = mail.MailParams(p, mail.Extensions{SizeOffered: true, DSN: true, EightBitMIME: true})
		_ = mail.RcptParams(p, mail.Extensions{DSN: true})
	})
}
