package frontend

import (
	"fmt"
	"slices"
	"strings"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// What the client is told of a next hop's reply.
//
//	the next hop's reply                      the client gets
//	one of want                               it goes on
//	421, 500–504, 530–538, 555                451 4.4.0 and an alert: it speaks of us
//	any other 4yz or 5yz                      that reply, cleaned
//	anything else (3yz, 2yz out of place)     451 4.4.2 and an alert
//
// The second row is our misconfiguration, or our fault; it must never bounce other
// people's mail, and its text is not for them.

// judge returns nil where the reply is one of want, and else the refusal to tell.
func (tx *transaction) judge(r reply.Reply, remote, command string, want ...int) *reply.Error {
	if slices.Contains(want, r.Code) {
		return nil
	}
	e := &reply.Error{Op: "next hop answered " + command, NextHop: remote}
	switch {
	case speaksOfUs(r.Code):
		e.Reply = tx.tagged(reply.New(451, reply.Enhanced{Subject: 4}, "next hop cannot take mail now, try again later"))
		e.Err = &Alert{Reply: r}
	case r.Transient(), r.Permanent():
		e.Reply = tx.told(r)
	default:
		e.Reply = tx.tagged(reply.New(451, reply.Enhanced{Subject: 4, Detail: 2}, "next hop cannot take mail now, try again later"))
		e.Err = &Alert{Reply: r}
	}
	return e
}

// Alert is a next hop's reply that asks for the operator's attention: it refuses us, not the
// mail.
type Alert struct{ Reply reply.Reply }

func (a *Alert) Error() string { return fmt.Sprintf("next hop refuses this relay: %s", a.Reply) }

func speaksOfUs(code int) bool {
	return code == 421 || code >= 500 && code <= 504 || code >= 530 && code <= 538 || code == 555
}

// told is the next hop's reply as the client gets it: cleaned, and with our id.
func (tx *transaction) told(r reply.Reply) reply.Reply { return tx.tagged(tx.clean(r)) }

// clean masks the addresses that agents have put in the place of the client's own: where an
// alias leads is nobody's business. A reply without an enhanced code gets the general one,
// since we have promised them (RFC 2034).
func (tx *transaction) clean(r reply.Reply) reply.Reply {
	if r.Enhanced.None {
		r.Enhanced = reply.Enhanced{}
	}
	r.Lines = slices.Clone(r.Lines)
	for _, rcpt := range tx.env.Recipients {
		if rcpt.Path.Equal(rcpt.Original) {
			continue
		}
		for i, l := range r.Lines {
			r.Lines[i] = maskAll(l, rcpt.Path.String(), knownAs(rcpt))
		}
	}
	return r
}

// knownAs is the name by which the client knows the recipient.
func knownAs(r mail.Recipient) string {
	if r.Original.IsNull() {
		return "a further recipient"
	}
	return r.Original.String()
}

// maskAll replaces every address in line, whatever its case.
func maskAll(line, address, by string) string {
	lower, address := strings.ToLower(line), strings.ToLower(address)
	if len(lower) != len(line) || !strings.Contains(lower, address) {
		return line
	}
	var b strings.Builder
	for {
		i := strings.Index(lower, address)
		if i < 0 {
			b.WriteString(line)
			return b.String()
		}
		b.WriteString(line[:i])
		b.WriteString(by)
		line, lower = line[i+len(address):], lower[i+len(address):]
	}
}

// tagged puts the message's id behind the text, the same id as in the log.
func (tx *transaction) tagged(r reply.Reply) reply.Reply {
	id := "(id " + tx.env.ID + ")"
	if len(r.Lines) == 0 {
		r.Lines = []string{id}
		return r
	}
	r.Lines = slices.Clone(r.Lines)
	last := len(r.Lines) - 1
	// RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets.
	if line := r.Lines[last] + " " + id; len(line) < 480 {
		r.Lines[last] = strings.TrimLeft(line, " ")
	} else {
		r.Lines = append(r.Lines, id)
	}
	return r
}
