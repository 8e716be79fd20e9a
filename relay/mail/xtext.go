package mail

import (
	"strconv"
	"strings"
)

// DecodeXtext undoes xtext (RFC 3461 §4): "+" and two hexadecimal digits stand for an octet.
func DecodeXtext(s string) (string, bool) {
	if strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for ; s != ""; s = s[1:] {
		if s[0] != '+' {
			b = append(b, s[0])
			continue
		}
		if len(s) < 3 {
			return "", false
		}
		n, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(n))
		s = s[2:]
	}
	return string(b), true
}
