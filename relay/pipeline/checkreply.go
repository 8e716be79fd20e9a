package pipeline

import (
	"fmt"
	"slices"

	"example.org/relay/relay/reply"
)

// What a reply of an agent may have.
const (
	maxReplyLine  = 510 // octets without CRLF, code and all (RFC 5321 §4.5.3.1.5)
	maxReplyLines = 50
)

// checkReply says why an agent's reply must not reach a client: a class that does not fit
// the action, or text that is more than text (RFC 5321 §4.2: textstring).
func checkReply(r reply.Reply, classes ...int) error {
	if !slices.Contains(classes, r.Class()) || r.Code/10%10 > 5 {
		return fmt.Errorf("code %d: must be one of class %v", r.Code, classes)
	}
	e := r.Enhanced
	if !e.None && (e.Subject < 0 || e.Subject > 999 || e.Detail < 0 || e.Detail > 999) {
		return fmt.Errorf("enhanced status code %s: subject and detail have up to 3 digits", r.EnhancedString()) // RFC 3463 §2
	}
	if len(r.Lines) > maxReplyLines {
		return fmt.Errorf("%d lines of text: at most %d are taken", len(r.Lines), maxReplyLines)
	}
	room := maxReplyLine - len("550 ") - len(r.EnhancedString()) - len(" ")
	for _, l := range r.Lines {
		if len(l) > room {
			return fmt.Errorf("a line of text has %d octets: at most %d are left for it", len(l), room)
		}
		for i := range len(l) {
			if c := l[i]; c != '\t' && (c < ' ' || c > '~') {
				return fmt.Errorf("text %.80q: must be printable ASCII", l)
			}
		}
	}
	return nil
}
