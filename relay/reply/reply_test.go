package reply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"example.org/relay/relay/reply"
)

func TestFromIsTheOneDoor(t *testing.T) {
	refused := reply.Refuse(reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "no such user"))
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing wrong", nil, "0"},
		{"a refusal", refused, "550 5.1.1 no such user"},
		{"a wrapped refusal", fmt.Errorf("hop one: %w", refused), "550 5.1.1 no such user"},
		{"a deadline", context.DeadlineExceeded, "451 4.4.5 timed out, try again later"},
		{"a deadline of a connection", fmt.Errorf("read: %w", os.ErrDeadlineExceeded), "451 4.4.5 timed out, try again later"},
		{"a fault of ours", errors.New("/var/lib: permission denied"), "451 4.3.0 internal error, try again later"},
	} {
		if got := reply.From(c.err).String(); got != c.want {
			t.Errorf("%s: From = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestErrorPrintsTheSideOfTheLog(t *testing.T) {
	cause := errors.New("disk is full")
	err := error(&reply.Error{Reply: reply.New(451, reply.Enhanced{Subject: 3}, "try again later"), Op: "enqueue", Err: cause})
	if got, want := err.Error(), "enqueue: 451 4.3.0 try again later: disk is full"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

// RFC 2034 §4: the enhanced code stands on every line. RFC 5321 §4.2.1: all but the last
// line have a hyphen.
func TestAppendTo(t *testing.T) {
	for _, c := range []struct {
		r    reply.Reply
		want string
	}{
		{reply.New(250, reply.Enhanced{Subject: 1, Detail: 5}, "ok"), "250 2.1.5 ok\r\n"},
		{reply.Reply{Code: 550, Enhanced: reply.Enhanced{Subject: 7}, Lines: []string{"no", "never"}}, "550-5.7.0 no\r\n550 5.7.0 never\r\n"},
		{reply.New(354, reply.Enhanced{Subject: 1}, "go on"), "354 go on\r\n"},
		{reply.Reply{Code: 250, Enhanced: reply.None, Lines: []string{"mx.example.org", "SIZE"}}, "250-mx.example.org\r\n250 SIZE\r\n"},
		{reply.Reply{Code: 250, Enhanced: reply.None}, "250 \r\n"},
	} {
		if got := string(c.r.AppendTo(nil)); got != c.want {
			t.Errorf("AppendTo = %q, want %q", got, c.want)
		}
	}
}

func TestClasses(t *testing.T) {
	for code, want := range map[int][3]bool{ // positive, transient, permanent
		0: {}, 250: {true, false, false}, 354: {true, false, false}, 451: {false, true, false}, 550: {false, false, true},
	} {
		r := reply.Reply{Code: code}
		if got := [3]bool{r.Positive(), r.Transient(), r.Permanent()}; got != want || r.Class() != code/100 {
			t.Errorf("%d: %v, class %d, want %v", code, got, r.Class(), want)
		}
	}
}

func TestCheck(t *testing.T) {
	e := reply.Enhanced{Subject: 7, Detail: 1}
	lines := func(n int) []string { return slices.Repeat([]string{"x"}, n) }
	for _, c := range []struct {
		name    string
		r       reply.Reply
		classes []int
		ok      bool
	}{
		{"plain", reply.New(550, e, "no"), []int{5}, true},
		{"any class", reply.New(250, e, "yes"), nil, true},
		{"of two classes", reply.New(421, e, "bye"), []int{4, 5}, true},
		{"empty text", reply.New(550, e, ""), []int{5}, true},
		{"tab and UTF-8", reply.New(550, e, "nein,\tdanke für nichts"), []int{5}, true},
		{"another class", reply.New(450, e, "no"), []int{5}, false},
		{"no reply", reply.Reply{}, nil, false},
		{"two digits", reply.New(55, e, "no"), nil, false},
		{"four digits", reply.New(5500, e, "no"), nil, false},
		{"class 1", reply.New(199, e, "no"), nil, false},
		{"class 6", reply.New(600, e, "no"), nil, false},
		{"no lines", reply.Reply{Code: 550, Enhanced: e}, nil, false},
		{"50 lines", reply.Reply{Code: 550, Enhanced: e, Lines: lines(50)}, nil, true},
		{"51 lines", reply.Reply{Code: 550, Enhanced: e, Lines: lines(51)}, nil, false},
		{"510 octets", reply.New(550, e, strings.Repeat("x", 500)), nil, true},
		{"511 octets", reply.New(550, e, strings.Repeat("x", 501)), nil, false},
		{"510 octets without enhanced code", reply.New(550, reply.None, strings.Repeat("x", 506)), nil, true},
		{"CRLF", reply.New(550, e, "no\r\n250 yes"), nil, false},
		{"LF", reply.New(550, e, "no\n"), nil, false},
		{"CR", reply.New(550, e, "no\r"), nil, false},
		{"NUL", reply.New(550, e, "no\x00"), nil, false},
		{"escape", reply.New(550, e, "no\x1b[2J"), nil, false},
		{"subject", reply.New(550, reply.Enhanced{Subject: 1000}, "no"), nil, false},
		{"detail", reply.New(550, reply.Enhanced{Detail: 1000}, "no"), nil, false},
		{"negative detail", reply.New(550, reply.Enhanced{Detail: -1}, "no"), nil, false},
	} {
		if err := reply.Check(c.r, c.classes...); (err == nil) != c.ok {
			t.Errorf("%s: Check = %v", c.name, err)
		}
	}
}

func TestFromLines(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  int
		lines []string
		want  string
	}{
		{"with code", 550, []string{"5.1.1 no such user"}, "550 5.1.1 no such user\r\n"},
		{"on every line", 550, []string{"5.1.1 no", "5.1.1 never"}, "550-5.1.1 no\r\n550 5.1.1 never\r\n"},
		{"on the last line only", 550, []string{"no", "5.1.1 never"}, "550-5.1.1 no\r\n550 5.1.1 never\r\n"},
		{"code alone", 250, []string{"2.0.0"}, "250 2.0.0 \r\n"},
		{"another class", 450, []string{"5.1.1 no"}, "450 5.1.1 no\r\n"},
		{"two codes", 550, []string{"5.1.1 no", "5.7.1 never"}, "550-5.1.1 no\r\n550 5.1.1 5.7.1 never\r\n"},
		{"no code", 250, []string{"ok"}, "250 ok\r\n"},
		{"an address", 550, []string{"5.1.1.1 is bad"}, "550 5.1.1.1 is bad\r\n"},
		{"a version", 220, []string{"2.1 is out"}, "220 2.1 is out\r\n"},
		{"leading zero", 550, []string{"5.01.1 no"}, "550 5.01.1 no\r\n"},
		{"too long a number", 550, []string{"5.1.1000 no"}, "550 5.1.1000 no\r\n"},
		{"intermediate", 354, []string{"3.1.1 go on"}, "354 3.1.1 go on\r\n"},
		{"nothing", 250, nil, "250 \r\n"},
		{"control characters", 550, []string{"a\r\nb\x00\x1b\tc\xff"}, "550 a??b??\tc?\r\n"},
	} {
		r := reply.FromLines(c.code, c.lines)
		if got := string(r.AppendTo(nil)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzFromLines proves that whatever a server says can be told on.
func FuzzFromLines(f *testing.F) {
	f.Add(550, "5.1.1 no such user\n5.1.1 or so")
	f.Add(250, strings.Repeat("ü", 300))
	f.Add(421, "\x00\r\x1b[2J 4.4.2")
	f.Add(250, strings.Repeat("2.0.0 x\n", 60))
	f.Fuzz(func(t *testing.T, code int, text string) {
		if code < 200 || code > 599 {
			return
		}
		r := reply.FromLines(code, strings.Split(text, "\n"))
		if err := reply.Check(r); err != nil {
			t.Errorf("FromLines(%d, %q): %v", code, text, err)
		}
	})
}

func TestTaggedPutsTheIDBehindTheText(t *testing.T) {
	long := strings.Repeat("x", 475)
	for _, c := range []struct {
		lines []string
		want  []string
	}{
		{nil, []string{"(id S-1)"}},
		{[]string{""}, []string{"(id S-1)"}},
		{[]string{"queued"}, []string{"queued (id S-1)"}},
		{[]string{"a", "b"}, []string{"a", "b (id S-1)"}},
		{[]string{long}, []string{long, "(id S-1)"}},
	} {
		r := reply.Reply{Code: 250, Lines: c.lines}
		if got := r.Tagged("S-1"); !slices.Equal(got.Lines, c.want) {
			t.Errorf("Tagged(%q) = %q, want %q", c.lines, got.Lines, c.want)
		}
		if got := r.Tagged(""); !slices.Equal(got.Lines, c.lines) {
			t.Errorf("without an id %q became %q", c.lines, got.Lines)
		}
	}
}
