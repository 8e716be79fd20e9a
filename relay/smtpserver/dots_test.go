package smtpserver

import (
	"bytes"
	"testing"
)

// What may look like the end of data, after a message and before a forged transaction. Only
// CRLF "." CRLF is; whatever has a bare CR or LF is refused, so that nobody behind us
// finds an end where we found none.
func TestEndOfDataIsOneThingOnly(t *testing.T) {
	const before, after = "a: b\r\n\r\ntext", "MAIL FROM:<>\r\n"
	tests := []struct {
		name, octets string
		end          int    // how many of octets are up to the end; 0: none
		message      string // of octets, where there is nothing bad
		bad          bool
	}{
		{"CRLF.CRLF", "\r\n.\r\n", 5, "\r\n", false},
		{"LF.LF", "\n.\n", 0, "", true},
		{"LF.CRLF", "\n.\r\n", 0, "", true},
		{"LFLF.LFLF", "\n\n.\n\n", 0, "", true},
		{"LFCR.CRLF", "\n\r.\r\n", 0, "", true},
		{"LF.CR", "\n.\r", 0, "", true},
		{"CR.CR", "\r.\r", 0, "", true},
		{"CR.CRLF", "\r.\r\n", 0, "", true},
		{"CRLF.LF", "\r\n.\n", 0, "", true},
		{"CRLF.LFCRLF", "\r\n.\n\r\n", 0, "", true},
		{"CRLF.CRx", "\r\n.\rx", 0, "", true},
		{"CRLF.CRCRLF", "\r\n.\r\r\n", 0, "", true},
		{"CRCRLF.CRLF", "\r\r\n.\r\n", 6, "", true},
		{"CRLF.NULCRLF", "\r\n.\x00\r\n", 0, "", true},
		{"CRLFNUL.CRLF", "\r\n\x00.\r\n", 0, "", true},
		{"CRLF. CRLF", "\r\n. \r\n", 0, "\r\n \r\n", false},
		{"CRLF..CRLF", "\r\n..\r\n", 0, "\r\n.\r\n", false},
		{"CRLF.x", "\r\n.x\r\n", 0, "\r\nx\r\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := []byte(before + tt.octets + after)
			for piece := 1; piece <= len(src); piece++ {
				got, d, used := decodeIn(src, piece, 7)
				want := len(before) + tt.end
				if tt.end == 0 {
					want = len(src)
				}
				if d.end != (tt.end > 0) || used != want {
					t.Fatalf("pieces of %d: end %v after %d octets, want %v after %d", piece, d.end, used, tt.end > 0, want)
				}
				if (d.bad(false) != "") != tt.bad {
					t.Fatalf("pieces of %d: bad() = %q", piece, d.bad(false))
				}
				message := before + tt.message
				if tt.end == 0 {
					message += after
				}
				if !tt.bad && string(got) != message {
					t.Fatalf("pieces of %d: message %q, want %q", piece, got, message)
				}
			}
		})
	}
}

// decodeIn decodes src as it comes in pieces, into a reader's buffer of size room.
func decodeIn(src []byte, piece, room int) (message []byte, d dots, used int) {
	d = newDots()
	dst := make([]byte, room)
	for arrived := 0; arrived < len(src) && !d.end; {
		arrived = min(arrived+piece, len(src))
		for {
			n, u := d.decode(dst, src[used:arrived])
			message = append(message, dst[:n]...)
			used += u
			if n == 0 && u == 0 || d.end {
				break
			}
		}
	}
	return message, d, used
}

// dumbDots is the rule octet by octet.
func dumbDots(src []byte) (message []byte, end bool, bad bool) {
	start := true
	for i := 0; i < len(src); i++ {
		if start && src[i] == '.' {
			if bytes.HasPrefix(src[i:], []byte(".\r\n")) {
				return message, true, bad
			}
			start = false
			continue
		}
		message = append(message, src[i])
		switch src[i] {
		case 0:
			bad = true
		case '\n':
			if i == 0 || src[i-1] != '\r' {
				bad = true
			}
		case '\r':
			if i+1 == len(src) || src[i+1] != '\n' {
				bad = true
			}
		}
		start = src[i] == '\n' && i > 0 && src[i-1] == '\r'
	}
	return message, false, bad
}

// The fast decoder finds what the rule, octet by octet, finds, whatever the pieces.
func FuzzDots(f *testing.F) {
	for _, s := range []string{"", ".\r\n", "a\r\n.\r\nb", "\r\n..\r\n.\r\n", "\r.\n", "a\x00\r\n.\r\n", ".\r.\r\n", "..\r\n.\r\n", ".\n.\r\n", "\r\r\n.\r\n"} {
		f.Add([]byte(s), uint8(1), uint8(1))
		f.Add([]byte(s), uint8(3), uint8(64))
	}
	f.Fuzz(func(t *testing.T, src []byte, piece, room uint8) {
		got, d, used := decodeIn(src, int(piece)+1, int(room)+1)
		message, end, bad := dumbDots(src)
		if d.end != end {
			t.Fatalf("end %v, want %v", d.end, end)
		}
		if end {
			if !bytes.Equal(got, message) || (d.bad(false) != "") != bad {
				t.Fatalf("message %q bad %v, want %q %v", got, d.bad(false), message, bad)
			}
			return
		}
		// Up to two octets wait for what comes.
		if !bytes.HasPrefix(message, got) || len(src)-used > 2 {
			t.Fatalf("message so far %q of %d octets, want %q", got, used, message)
		}
	})
}
