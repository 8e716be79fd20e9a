package main

import (
	"bytes"
	"strings"
	"testing"
)

// wire is message id as it leaves the load, without the final dot.
func wire(c *corpus, id int) string { return string(c.head(id)) + string(c.shared) }

func TestCheckFindsEachChange(t *testing.T) {
	c := newCorpus(4096, false)
	good := wire(c, 7)
	rcpts := []string{recipient}
	tests := []struct {
		name  string
		rcpts []string
		data  string
		want  string // part of the error; empty: none
	}{
		{"untouched", rcpts, good, ""},
		{"trace fields on top", rcpts, "Received: from x\r\n\tby y; date\r\n" + good, ""},
		{"recipient in capitals", []string{strings.ToUpper(recipient)}, good, ""},
		{"a header line lost", rcpts, strings.Replace(good, "MIME-Version: 1.0\r\n", "", 1), "MIME-Version"},
		{"a header line twice", rcpts, "MIME-Version: 1.0\r\n" + good, "MIME-Version"},
		{"a header name in other case", rcpts, strings.Replace(good, "Message-ID:", "Message-Id:", 1), "Message-ID"},
		{"a body byte changed", rcpts, strings.Replace(good, "lazy", "hazy", 1), "body differs"},
		{"a stuffed dot lost", rcpts, strings.Replace(good, "\r\n..", "\r\n.", 1), "body differs"},
		{"the last line lost", rcpts, strings.TrimSuffix(good, "end\r\n"), "body differs"},
		{"another message's body", rcpts, strings.Replace(good, "body of 7", "body of 8", 1), "body differs"},
		{"no recipient", nil, good, "recipients"},
		{"two recipients", []string{recipient, newRecipient}, good, "recipients"},
		{"another recipient", []string{newRecipient}, good, "recipients"},
		{"no header end", rcpts, "Subject: x\r\n", "no end of header"},
		{"no number", rcpts, "Subject: x\r\n\r\nx\r\n", "no X-Bench-Id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := c.check(tt.rcpts, []byte(tt.data))
			switch {
			case tt.want == "" && (err != nil || id != 7):
				t.Errorf("check = %d, %v, want 7, nil", id, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("check error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestCheckInsistsOnTheRewriting(t *testing.T) {
	c := newCorpus(4096, true)
	plain := wire(c, 7)
	subject := strings.Replace(plain, "Subject: "+subject(7), "Subject: "+newSubject, 1)
	both := newHeader + "\r\n" + subject
	tests := []struct {
		name, rcpt, data string
		ok               bool
	}{
		{"rewritten", newRecipient, both, true},
		{"the recipient is not", recipient, both, false},
		{"the header is not added", newRecipient, subject, false},
		{"the Subject is not replaced", newRecipient, newHeader + "\r\n" + plain, false},
		{"nothing is", recipient, plain, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := c.check([]string{tt.rcpt}, []byte(tt.data)); (err == nil) != tt.ok {
				t.Errorf("check = %v, want ok %v", err, tt.ok)
			}
		})
	}
}

func TestMessagesAreOfTheSizeAskedFor(t *testing.T) {
	for _, size := range []int{4096, 51200, 5242880} {
		c := newCorpus(size, false)
		if n := len(wire(c, 123456)); n < size-192 || n > size {
			t.Errorf("size %d: message of %d bytes", size, n)
		}
		if bytes.Contains(c.shared, []byte("\n.\r\n")) {
			t.Errorf("size %d: the body ends the data early", size)
		}
	}
}
