package smtpserver

import (
	"bytes"
	"testing"
)

// Every lookalike of the end of data, made safe: the only end is CRLF "." CRLF as the client sent it, and what
// goes on has neither a bare CR nor a bare LF.
func TestLineEndsAreRepaired(t *testing.T) {
	const before, after = "a: b\r\n\r\ntext", "MAIL FROM:<>\r\n"
	tests := []struct {
		name, octets string
		end          int    // how many of octets are up to the end; 0: none
		message      string // what octets become
	}{
		{"CRLF.CRLF", "\r\n.\r\n", 5, "\r\n"},
		{"LF.LF", "\n.\n", 0, "\r\n.\r\n"},
		{"LF.CRLF", "\n.\r\n", 0, "\r\n.\r\n"},
		{"LFLF.LFLF", "\n\n.\n\n", 0, "\r\n\r\n.\r\n\r\n"},
		{"LFCR.CRLF", "\n\r.\r\n", 0, "\r\n\r\n.\r\n"},
		{"LF.CR", "\n.\r", 0, "\r\n.\r\n"},
		{"CR.CR", "\r.\r", 0, "\r\n.\r\n"},
		{"CR.CRLF", "\r.\r\n", 0, "\r\n.\r\n"},
		{"CRLF.LF", "\r\n.\n", 0, "\r\n\r\n"},
		{"CRLF.LFCRLF", "\r\n.\n\r\n", 0, "\r\n\r\n\r\n"},
		{"CRLF.CRx", "\r\n.\rx", 0, "\r\n\r\nx"},
		{"CRLF.CRCRLF", "\r\n.\r\r\n", 0, "\r\n\r\n\r\n"},
		{"CRCRLF.CRLF", "\r\r\n.\r\n", 6, "\r\n\r\n"},
		{"CRLF.NULCRLF", "\r\n.\x00\r\n", 0, "\r\n\x00\r\n"}, // refused for its NUL
		{"CRLFNUL.CRLF", "\r\n\x00.\r\n", 0, "\r\n\x00.\r\n"},
		{"CRLF. CRLF", "\r\n. \r\n", 0, "\r\n \r\n"},
		{"CRLF..CRLF", "\r\n..\r\n", 0, "\r\n.\r\n"},
		{"LF..LF", "\n..\n", 0, "\r\n..\r\n"},
		{"CRLF.x", "\r\n.x\r\n", 0, "\r\nx\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := []byte(before + tt.octets + after)
			want := before + tt.message
			if tt.end == 0 {
				want += after
			}
			for piece := 1; piece <= len(src); piece++ {
				decoded, d, _ := decodeIn(src, piece, 7)
				if d.end != (tt.end > 0) {
					t.Fatalf("pieces of %d: end %v", piece, d.end)
				}
				if got := repairIn(decoded, piece); string(got) != want {
					t.Fatalf("pieces of %d: message %q, want %q", piece, got, want)
				}
				if nul := bytes.Contains(src, []byte{0}); (d.bad(true) != "") != nul {
					t.Fatalf("pieces of %d: bad(true) = %q", piece, d.bad(true))
				}
			}
		})
	}
}

// repairIn repairs src as it comes in pieces.
func repairIn(src []byte, piece int) []byte {
	var r repairs
	var dst []byte
	for at := 0; at < len(src); at += piece {
		dst = r.appendTo(dst, src[at:min(at+piece, len(src))])
	}
	return r.appendEnd(dst)
}

// dumbRepair is the rule octet by octet.
func dumbRepair(src []byte) []byte {
	var dst []byte
	for i, c := range src {
		switch {
		case c == '\r' && i+1 < len(src) && src[i+1] == '\n':
		case c == '\r', c == '\n':
			dst = append(dst, '\r', '\n')
		default:
			dst = append(dst, c)
		}
	}
	if len(dst) > 0 && dst[len(dst)-1] != '\n' {
		dst = append(dst, '\r', '\n')
	}
	return dst
}

func FuzzRepair(f *testing.F) {
	for _, s := range []string{"", "\r", "\n", "\r\n", "a", "a\rb\nc\r\nd\r\r\n\n\r", "\n.\n", "a\r\n.\rb"} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, src []byte, piece uint8) {
		got := repairIn(src, int(piece)+1)
		if want := dumbRepair(src); !bytes.Equal(got, want) {
			t.Fatalf("%q becomes %q, want %q", src, got, want)
		}
		if again := repairIn(got, int(piece)+1); !bytes.Equal(again, got) {
			t.Fatalf("%q is repaired again: %q", got, again)
		}
	})
}
