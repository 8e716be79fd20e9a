package corpus

import (
	"bytes"
	"fmt"
	"strings"
)

// generatedHead begins the generated messages.
const generatedHead = "From: alice@example.org\r\nTo: bob@example.org\r\nSubject: generated\r\n"

// margin keeps the generated messages clear of the limits: whether the empty line counts, or the trace the relay adds,
// is for its own tests to say.
const margin = 1000

// Generated makes the messages that are too large to keep as files, up to a megabyte each. They are new on each call.
func Generated() []Message {
	header := DefaultLimits.Header - len(generatedHead)
	return []Message{
		generated("thousand-fields", "", manyFields(1000), "Hello.\r\n"),
		generated("megabyte-line", generatedHead, nil, strings.Repeat("x", 1_000_000)+"\r\nlast line\r\n"),
		generated("megabyte-of-dots", generatedHead, nil, strings.Repeat(".\r\n", 333_333)),
		generated("header-below-limit", generatedHead, padding(header-margin), "Hello.\r\n"),
		generated("header-over-limit", generatedHead, padding(header+margin), "Hello.\r\n"),
		generated("header-line-below-limit", generatedHead, longField(header-margin), "Hello.\r\n"),
		generated("header-line-over-limit", generatedHead, longField(header+margin), "Hello.\r\n"),
		generated("no-empty-line-over-limit", "", bytes.Repeat([]byte("prose without colon\r\n"), 20_000), ""),
	}
}

// GeneratedLarge makes a message just below the limit of the whole and one just over it: 70 MB together.
func GeneratedLarge() []Message {
	size := DefaultLimits.Message - len(generatedHead) - len("\r\n")
	return []Message{
		generated("message-below-limit", generatedHead, nil, text(size-margin)),
		generated("message-over-limit", generatedHead, nil, text(size+margin)),
	}
}

func generated(name, head string, fields []byte, body string) Message {
	raw := make([]byte, 0, len(head)+len(fields)+2+len(body))
	raw = append(raw, head...)
	raw = append(raw, fields...)
	raw = append(raw, "\r\n"...)
	raw = append(raw, body...)
	return Message{File: "generated/" + name, Set: "generated", Raw: raw}
}

// manyFields is n fields, of which one in the middle is the Subject.
func manyFields(n int) []byte {
	var fields bytes.Buffer
	for i := range n {
		if i == n/2 {
			fields.WriteString("Subject: one of many\r\n")
			continue
		}
		fmt.Fprintf(&fields, "X-Field-%d: value %d\r\n", i%7, i)
	}
	return fields.Bytes()
}

// padding is fields of size octets together, in lines of ordinary length but for the last, which takes what is over.
func padding(size int) []byte {
	line := []byte("X-Padding: " + strings.Repeat("p", 60) + "\r\n")
	fields := bytes.Repeat(line, size/len(line)-1)
	return append(fields, longField(size-len(fields))...)
}

// longField is one field in one line of size octets.
func longField(size int) []byte {
	const name, end = "X-Long: ", "\r\n"
	return []byte(name + strings.Repeat("l", size-len(name)-len(end)) + end)
}

// text is lines of size octets.
func text(size int) string {
	const line, end = "The quick brown fox jumps over the lazy dog, again and again.\r\n", "\r\n"
	lines := size/len(line) - 1
	return strings.Repeat(line, lines) + strings.Repeat("z", size-lines*len(line)-len(end)) + end
}
