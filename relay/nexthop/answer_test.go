package nexthop

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"example.org/relay/relay/reply"
	"github.com/google/go-cmp/cmp"
)

func TestReadReplyTakesWhatServersSend(t *testing.T) {
	e := func(s, d int) reply.Enhanced { return reply.Enhanced{Subject: s, Detail: d} }
	for _, test := range []struct {
		name, in string
		want     reply.Reply
	}{
		{"plain", "250 ok\r\n", reply.Reply{Code: 250, Enhanced: reply.None, Lines: []string{"ok"}}},
		{"enhanced", "550 5.1.1 no such user\r\n", reply.Reply{Code: 550, Enhanced: e(1, 1), Lines: []string{"no such user"}}},
		{"code only", "250\r\n", reply.Reply{Code: 250, Enhanced: reply.None, Lines: []string{""}}},
		{"code and space", "250 \r\n", reply.Reply{Code: 250, Enhanced: reply.None, Lines: []string{""}}},
		{"tab", "250\tok\r\n", reply.Reply{Code: 250, Enhanced: reply.None, Lines: []string{"ok"}}},
		{"bare LF", "250-a\n250 b\n", reply.Reply{Code: 250, Enhanced: reply.None, Lines: []string{"a", "b"}}},
		{"every line", "550-5.7.1 a\r\n550 5.7.1 b\r\n", reply.Reply{Code: 550, Enhanced: e(7, 1), Lines: []string{"a", "b"}}},
		{"last line only", "550-a\r\n550 5.7.1 b\r\n", reply.Reply{Code: 550, Enhanced: e(7, 1), Lines: []string{"a", "b"}}},
		{"contradiction", "550 4.2.2 full\r\n", reply.Reply{Code: 550, Enhanced: reply.None, Lines: []string{"4.2.2 full"}}},
		{"enhanced only", "250 2.0.0\r\n", reply.Reply{Code: 250, Enhanced: e(0, 0), Lines: []string{""}}},
		{"no enhanced: version", "250 2.1.0.5 x\r\n", reply.Reply{Code: 250, Enhanced: reply.None, Lines: []string{"2.1.0.5 x"}}},
		{"controls", "550 a\x00b\x1b[31m\r\r\n", reply.Reply{Code: 550, Enhanced: reply.None, Lines: []string{"a?b?[31m?"}}},
		{"not UTF-8", "550 gr\xfc\xdfe \u00fc\r\n", reply.Reply{Code: 550, Enhanced: reply.None, Lines: []string{"gr?e \u00fc"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readReply(bufio.NewReaderSize(strings.NewReader(test.in), maxLine))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error("-want +got", diff)
			}
		})
	}
}

func TestReadReplyRefusesWhatIsNoReply(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     error
	}{
		{"code over 599", "999 x\r\n", errProtocol},
		{"code under 200", "150 x\r\n", errProtocol},
		{"two digits", "25 x\r\n", errProtocol},
		{"no separator", "250x\r\n", errProtocol},
		{"empty line", "\r\n", errProtocol},
		{"other code", "250-a\r\n550 b\r\n", errProtocol},
		{"line too long", "250 " + strings.Repeat("x", maxLine) + "\r\n", errProtocol},
		{"too many lines", strings.Repeat("250-x\r\n", 201) + "250 x\r\n", errProtocol},
		{"too long", strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 80) + "250 x\r\n", errProtocol},
		{"nothing", "", errSilent},
		{"cut off", "250 ok", io.ErrUnexpectedEOF},
		{"cut off between lines", "250-ok\r\n", io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := readReply(bufio.NewReaderSize(strings.NewReader(test.in), maxLine)); !errors.Is(err, test.want) {
				t.Errorf("error = %v, want %v", err, test.want)
			}
		})
	}
}

// Whatever is taken for a reply can be told on: it prints as a reply that reads the same.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "550-5.7.1 a\r\n550 5.7.1 b\r\n", "250\n", "354 5.1.1\r\n", "550 \x7f\xff\r\n", "421-4.3.2\t\r\n421\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := readReply(bufio.NewReaderSize(bytes.NewReader(in), maxLine))
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Lines) > maxLines {
			t.Fatalf("reply %+v", r)
		}
		for _, l := range r.Lines {
			if i := strings.IndexFunc(l, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }); i >= 0 {
				t.Fatalf("control character in %q", l)
			}
		}
		wire := r.AppendTo(nil)
		again, err := readReply(bufio.NewReaderSize(bytes.NewReader(wire), 2*maxLine))
		if err != nil {
			t.Fatalf("%q: %v", wire, err)
		}
		if again.Code != r.Code || len(again.Lines) != len(r.Lines) {
			t.Fatalf("%+v reads back as %+v", r, again)
		}
	})
}
