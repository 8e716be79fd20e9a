package mail

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SubmittedField is the name of the header field by which the relay knows a message again that
// agents have submitted.
const SubmittedField = "X-Relay-Submitted"

// How old the field may be, longer than queues keep mail, and how far clocks may be apart.
const (
	maxSubmittedAge  = 7 * 24 * time.Hour
	maxSubmittedSkew = time.Hour
)

// maxSubmittedSize bounds what is looked at as such a field, in octets.
const maxSubmittedSize = 2000

// Submitted says which agents a message has come from: the last has submitted it, while it looked at
// a message of the one before, and so on. It goes with the message as a header field that only
// the relay can write, and that is of use for no other message: it is sealed with the Message-ID.
type Submitted struct {
	Chain []string // the agents, "FrontEnd/name"; at least one
	ID    string   // of the message
	At    time.Time
}

// Value returns the value of the field, folded, with its leading space. messageID is the value of
// the message's Message-ID field.
func (s Submitted) Value(key, messageID []byte) []byte {
	chain := make([]string, len(s.Chain))
	for i, a := range s.Chain {
		chain[i] = url.QueryEscape(a)
	}
	body := fmt.Sprintf("v=1;id=%s;t=%d;a=%s", url.QueryEscape(s.ID), s.At.Unix(), strings.Join(chain, ","))
	value := strings.Replace(body, ";a=", ";\r\n\ta=", 1)
	value = strings.ReplaceAll(value, ",", ",\r\n\t")
	return []byte(" " + value + ";\r\n\th=" + seal(key, body, messageID))
}

// ParseSubmitted reads the value of such a field. It reports whether this relay wrote it, for the
// message with this Message-ID, in the last days.
func ParseSubmitted(value, key, messageID []byte, now time.Time) (Submitted, bool) {
	if len(value) > maxSubmittedSize {
		return Submitted{}, false
	}
	// Whoever passed it on may have folded it anew; no white space is part of it.
	body, sum, ok := strings.Cut(string(bytes.Join(bytes.Fields(value), nil)), ";h=")
	if !ok || !hmac.Equal([]byte(sum), []byte(seal(key, body, messageID))) {
		return Submitted{}, false
	}
	parts := strings.Split(body, ";") // what is sealed was written above
	if len(parts) != 4 || parts[0] != "v=1" {
		return Submitted{}, false
	}
	var s Submitted
	seconds, err := strconv.ParseInt(strings.TrimPrefix(parts[2], "t="), 10, 64)
	if s.At = time.Unix(seconds, 0); err != nil || now.Sub(s.At) > maxSubmittedAge || s.At.Sub(now) > maxSubmittedSkew {
		return Submitted{}, false
	}
	s.ID, _ = url.QueryUnescape(strings.TrimPrefix(parts[1], "id="))
	for a := range strings.SplitSeq(strings.TrimPrefix(parts[3], "a="), ",") {
		name, _ := url.QueryUnescape(a)
		s.Chain = append(s.Chain, name)
	}
	return s, true
}

func seal(key []byte, body string, messageID []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(body))
	m.Write([]byte{'\n'})
	m.Write(bytes.Join(bytes.Fields(messageID), nil))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}
