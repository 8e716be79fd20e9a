package mail_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/relay/relay/mail"
)

func TestSubmittedFieldIsKnownAgain(t *testing.T) {
	key, id, now := []byte("0123456789abcdef0123456789abcdef"), []byte(" <a@mx.example.org>"), time.Unix(1_800_000_000, 0)
	s := mail.Submitted{Chain: []string{"FrontEnd/greeter", "FrontEnd/odd; name, it=is"}, ID: "S1-1.1", At: now}
	value := s.Value(key, id)
	if err := mail.CheckField(mail.SubmittedField, value); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		value      []byte
		key, id    string
		at         time.Duration
		want, same bool
	}{
		{name: "as it was", value: value, want: true},
		{name: "folded anew", value: bytes.ReplaceAll(value, []byte("\r\n\t"), []byte(" \r\n ")), want: true},
		{name: "a week later", value: value, at: 7 * 24 * time.Hour, want: true},
		{name: "later", value: value, at: 7*24*time.Hour + time.Second},
		{name: "from the future", value: value, at: -2 * time.Hour},
		{name: "of another relay", value: value, key: "another key"},
		{name: "on another message", value: value, id: " <b@mx.example.org>"},
		{name: "another chain", value: bytes.Replace(value, []byte("greeter"), []byte("greetes"), 1)},
		{name: "cut short", value: value[:len(value)-1]},
		{name: "long", value: append(bytes.Repeat([]byte(" "), 2000), value...)},
		{name: "empty"},
		{name: "forged", value: []byte(" v=1;id=a;t=1800000000;a=FrontEnd/x;h=AAAA")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, m := key, id
			if tt.key != "" {
				k = []byte(tt.key)
			}
			if tt.id != "" {
				m = []byte(tt.id)
			}
			got, ok := mail.ParseSubmitted(tt.value, k, m, now.Add(tt.at))
			if ok != tt.want || ok && (!slices.Equal(got.Chain, s.Chain) || got.ID != s.ID || !got.At.Equal(s.At)) {
				t.Errorf("ParseSubmitted = %+v, %v, want %v", got, ok, tt.want)
			}
		})
	}
}

func FuzzParseSubmitted(f *testing.F) {
	key := []byte("key")
	f.Add(mail.Submitted{Chain: []string{"FrontEnd/a"}, ID: "x", At: time.Unix(1, 0)}.Value(key, nil), []byte(" <a@b>"))
	f.Add([]byte(";h="), []byte{})
	f.Fuzz(func(t *testing.T, value, id []byte) {
		if _, ok := mail.ParseSubmitted(value, []byte("another"), id, time.Unix(1, 0)); ok {
			t.Errorf("%q was taken for ours", value)
		}
		mail.ParseSubmitted(value, key, id, time.Unix(1, 0))
	})
}

func TestParseMessage(t *testing.T) {
	for _, tt := range []struct{ name, in, header, body, problem string }{
		{name: "whole", in: "From: a@b.example\r\nSubject: x\r\n y\r\n\r\nbody\r\n", header: "From: a@b.example\r\nSubject: x\r\n y\r\n", body: "\r\nbody\r\n"},
		{name: "no body", in: "From: a@b.example\r\n", header: "From: a@b.example\r\n"},
		{name: "empty lines in the body", in: "From: a\r\n\r\n\r\n\r\n", header: "From: a\r\n", body: "\r\n\r\n\r\n"},
		{name: "UTF-8", in: "From: ä\r\n\r\n\xff\r\n", header: "From: ä\r\n", body: "\r\n\xff\r\n"},
		{name: "nothing", problem: "no From"},
		{name: "no header section", in: "\r\nbody\r\n", problem: "no From"},
		{name: "no From", in: "Subject: x\r\n\r\n", problem: "no From"},
		{name: "bare LF", in: "From: a\nX: y\r\n", problem: "line 1 ends in LF"},
		{name: "bare LF in the body", in: "From: a\r\n\r\nx\ny\r\n", problem: "line 3 ends in LF"},
		{name: "bare CR", in: "From: a\r\n\r\nx\ry\r\n", problem: "line 3: CR without LF"},
		{name: "CR CR LF", in: "From: a\r\r\n", problem: "line 1: CR"},
		{name: "NUL", in: "From: a\x00\r\n", problem: "line 1: NUL"},
		{name: "cut off", in: "From: a\r\n\r\nx", problem: "line 3, the last, has no CRLF"},
		{name: "long line", in: "From: a\r\n\r\n" + strings.Repeat("x", 999) + "\r\n", problem: "999 octets"},
		{name: "longest line", in: "From: a\r\n\r\n" + strings.Repeat("x", 998) + "\r\n", header: "From: a\r\n", body: "\r\n" + strings.Repeat("x", 998) + "\r\n"},
		{name: "no field", in: "From: a\r\nhello world\r\n\r\n", problem: "line 2 is no header field"},
		{name: "begins with a continuation", in: " From: a\r\n", problem: "line 1 is no header field"},
		{name: "white space alone", in: "From: a\r\n \r\nX: y\r\n", problem: "white space alone"},
		{name: "no UTF-8", in: "From: \xff\r\n", problem: "not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, body, err := mail.ParseMessage([]byte(tt.in))
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("error %v, want one with %q", err, tt.problem)
				}
				return
			}
			if err != nil || string(h.AppendTo(nil)) != tt.header || string(body) != tt.body {
				t.Errorf("%v, %q, %q", err, h.AppendTo(nil), body)
			}
		})
	}
}

// What is taken, is put together again to the octets that were given, and its lines are lines for everybody.
func FuzzParseMessage(f *testing.F) {
	for _, s := range []string{"From: a\r\n\r\nbody\r\n", "From: a\r\n b\r\n", "\r\n", "From: a\n", "From: a\r\n\r\n.\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, body, err := mail.ParseMessage(raw)
		if err != nil {
			return
		}
		if again := append(h.AppendTo(nil), body...); !bytes.Equal(again, raw) {
			t.Errorf("%q became %q", raw, again)
		}
		if bare := bytes.ReplaceAll(raw, []byte("\r\n"), nil); bytes.ContainsAny(bare, "\r\n\x00") {
			t.Errorf("%q was taken", raw)
		}
	})
}
