package sink

import (
	"strings"
	"testing"
	"time"

	"example.org/relay/relay/mail"
)

func TestParseReplies(t *testing.T) {
	for _, test := range []struct {
		in   string
		want []string // stage, address, reply
	}{
		{"rcpt=550", []string{"rcpt  550 5.0.0 the sink was told to refuse this"}},
		{"rcpt=550 5.1.1 no such user", []string{"rcpt  550 5.1.1 no such user"}},
		{"mail=451 busy, try later,data=554", []string{"mail  451 busy, try later", "data  554 5.0.0 the sink was told to refuse this"}},
		{"rcpt:bob@example.org=550 5.1.1 gone", []string{"rcpt bob@example.org 550 5.1.1 gone"}},
		{"rcpt:<bob@example.org>=550 gone", []string{"rcpt bob@example.org 550 gone"}},
		{`rcpt:"a,b=c"@example.org=550 gone`, []string{`rcpt "a,b=c"@example.org 550 gone`}},
		{"mail:=550 no null reverse-path, please, rcpt=452 4.2.2 full",
			[]string{"mail  550 no null reverse-path, please", "rcpt  452 4.2.2 full"}},
		{"content=250 2.6.0 queued as 1", []string{"content  250 2.6.0 queued as 1"}},
		{"connect=421 4.3.2", []string{"connect  421 4.3.2"}},
		{"rcpt=550 colour=red", []string{"rcpt  550 colour=red"}},
	} {
		rules, err := ParseReplies(test.in)
		if err != nil {
			t.Errorf("ParseReplies(%q): %v", test.in, err)
			continue
		}
		var got []string
		for _, r := range rules {
			address := ""
			if r.Address != nil {
				address = r.Address.String()
			}
			got = append(got, strings.TrimRight(string(r.Stage)+" "+address+" "+r.Reply.String(), " "))
		}
		if g, w := strings.Join(got, "|"), strings.Join(test.want, "|"); g != w {
			t.Errorf("ParseReplies(%q) = %q, want %q", test.in, g, w)
		}
	}
}

func TestParseRepliesRefuses(t *testing.T) {
	for _, in := range []string{
		"", "rcpt", "rcpt=", "rcpt=55", "rcpt=5500", "rcpt=abc", "rcpt=150", "rcpt=354", "rcpt=600", "nowhere=550", "x,rcpt=550",
		"rcpt=550 4.1.1 other class", "connect=220 hello", "ehlo=250", "data=250", "ehlo:bob@example.org=550",
		"rcpt:bob@=550", "rcpt=550 line\r\n250 another", "RCPT=550",
	} {
		if rules, err := ParseReplies(in); err == nil {
			t.Errorf("ParseReplies(%q) = %v, want an error", in, rules)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseReplies(%q): the error has more than one line: %v", in, err)
		}
	}
}

func TestParseDelays(t *testing.T) {
	rules, err := ParseDelays("rcpt=100ms,rcpt:slow@example.org=2s, content=1m")
	if err != nil {
		t.Fatal(err)
	}
	bob, slow := mail.Path{Local: "bob", Domain: "example.org"}, mail.Path{Local: "slow", Domain: "EXAMPLE.org"}
	for _, test := range []struct {
		at      Stage
		address mail.Path
		want    time.Duration
	}{
		{Rcpt, bob, 100 * time.Millisecond}, {Rcpt, slow, 2 * time.Second}, {Content, mail.Path{}, time.Minute}, {Mail, bob, 0},
	} {
		if got := rules.delay(test.at, test.address); got != test.want {
			t.Errorf("delay(%s, %s) = %s, want %s", test.at, test.address, got, test.want)
		}
	}
	for _, in := range []string{"rcpt=5", "rcpt=-1s", "rcpt=", "5s"} {
		if _, err := ParseDelays(in); err == nil {
			t.Errorf("ParseDelays(%q) has no error", in)
		}
	}
}

func TestRuleForOneAddressGoesBeforeOneForAllAndLaterBeforeEarlier(t *testing.T) {
	rules, err := ParseReplies("rcpt:bob@example.org=550 bob,rcpt=451 all,rcpt=452 all again")
	if err != nil {
		t.Fatal(err)
	}
	for local, want := range map[string]string{"bob": "550 bob", "eve": "452 all again"} {
		if got := rules.reply(Rcpt, mail.Path{Local: local, Domain: "example.org"}).String(); got != want {
			t.Errorf("reply to %s = %q, want %q", local, got, want)
		}
	}
}

func FuzzParseReplies(f *testing.F) {
	for _, s := range []string{
		"rcpt=550", "rcpt:bob@example.org=550 5.1.1 no, really,data=451", `mail:"a,b"@example.org=421`, "mail:=250 ok", "rcpt=550 9.9.9",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rules, err := ParseReplies(s)
		if err != nil {
			return
		}
		for _, r := range rules {
			wire := string(r.Reply.AppendTo(nil))
			if strings.Count(wire, "\n") != 1 || strings.Count(wire, "\r") != 1 || strings.IndexByte(wire, 0) >= 0 {
				t.Errorf("ParseReplies(%q): %q is not one line", s, wire)
			}
		}
	})
}
