package corpus

import "testing"

func TestWire(t *testing.T) {
	for _, test := range []struct{ name, raw, want string }{
		{"empty stays empty", "", ""},
		{"CRLF stays", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
		{"LF becomes CRLF", "a\n\nb\n", "a\r\n\r\nb\r\n"},
		{"CR becomes CRLF where no LF is", "a\r\rb\r", "a\r\n\r\nb\r\n"},
		{"CR stays where LF is", "a\rb\nc\r\n", "a\rb\r\nc\r\n"},
		{"LF CR keeps its CR", "a\n\rb\n\r", "a\r\n\rb\r\n\r\r\n"},
		{"CR CR LF keeps its CR", "a\r\r\nb\r\n", "a\r\r\nb\r\n"},
		{"mixed", "a\r\nb\nc", "a\r\nb\r\nc\r\n"},
		{"no line end", "x", "x\r\n"},
		{"CR last", "a\nb\r", "a\r\nb\r\r\n"},
		{"mbox line goes", "From x Thu\na\n", "a\r\n"},
		{"mbox line of CRLF goes", "From x Thu\r\na\r\n", "a\r\n"},
		{"mbox line of CR goes", "From x Thu\ra\r", "a\r\n"},
		{"one mbox line goes", "From x\nFrom y\n", "From y\r\n"},
		{"mbox line alone", "From x", ""},
		{"quoted mbox line stays", ">From x\n", ">From x\r\n"},
		{"From field stays", "From: x\n", "From: x\r\n"},
		{"dots are not stuffed", ".\n..\n", ".\r\n..\r\n"},
		{"NUL stays", "a\x00b\n", "a\x00b\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			raw := []byte(test.raw)
			if got := string(Message{Raw: raw}.Wire()); got != test.want {
				t.Errorf("Wire(%q) = %q, want %q", test.raw, got, test.want)
			}
			if string(raw) != test.raw {
				t.Errorf("Wire changed its message to %q", raw)
			}
		})
	}
}
