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
//	2yz, to DATA 354                          it goes on
//	421, 500–504, 521, 530–538, 555           451 4.4.0 and an alert: it speaks of us
//	any other 4yz or 5yz                      that reply, cleaned
//	anything else (3yz, 2yz to DATA)          451 4.4.2 and an alert
//
// The second row is our misconfiguration, or our fault; it must never bounce other
// people's mail, and its text is not for them.

// What is hoped for. RFC 5321 §4.2.1: the first digit says it all, and who answers the final
// dot by 2yz has the message, whatever the other digits.
func taken(r reply.Reply) bool   { return r.Class() == 2 }
func goAhead(r reply.Reply) bool { return r.Code == 354 }

// judge returns nil where the reply is what was hoped for, and else the refusal to tell.
func (tx *transaction) judge(r reply.Reply, remote, command string, good func(reply.Reply) bool) *reply.Error {
	if good(r) {
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

// accepts is the reply to a RCPT that the next hop has taken: 250, or 251 and 252, which
// clients know too.
func (tx *transaction) accepts(r reply.Reply) reply.Reply {
	if r.Code > 252 {
		r.Code = 250
	}
	return tx.clean(r)
}

// Alert is a next hop's reply that asks for the operator's attention: it refuses us, not the
// mail.
type Alert struct{ Reply reply.Reply }

func (a *Alert) Error() string { return fmt.Sprintf("next hop refuses this relay: %s", a.Reply) }

func speaksOfUs(code int) bool {
	// 521: the host takes no mail at all (RFC 7504 §3), so that we should not have asked it.
	return code == 421 || code >= 500 && code <= 504 || code == 521 || code >= 530 && code <= 538 || code == 555
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
	if masks := tx.masks(); len(masks) > 0 {
		r.Lines = slices.Clone(r.Lines)
		for i, l := range r.Lines {
			r.Lines[i] = maskAll(l, masks)
		}
	}
	return r
}

// mask is an address, in small letters, and what the client reads in its place.
type mask struct{ address, by string }

// masks are the addresses that agents have put in the place of the client's own.
func (tx *transaction) masks() []mask {
	var all []mask
	if !tx.env.From.Equal(tx.from) && !tx.env.From.IsNull() {
		by := tx.from.String()
		if tx.from.IsNull() {
			by = "the sender"
		}
		all = append(all, mask{small(tx.env.From.String()), by})
	}
	for _, r := range tx.env.Recipients {
		if !r.Path.Equal(r.Original) {
			all = append(all, mask{small(r.Path.String()), knownAs(r)})
		}
	}
	return all
}

// knownAs is the name by which the client knows the recipient.
func knownAs(r mail.Recipient) string {
	if r.Original.IsNull() {
		return "a further recipient"
	}
	return r.Original.String()
}

// maskAll replaces every address in line, whatever its case, but not where it is a part of
// another one. What it puts there is not looked at again.
func maskAll(line string, masks []mask) string {
	lower := small(line)
	var b strings.Builder
	done := 0
	for i := 0; i < len(line); {
		m, ok := maskAt(lower, i, masks)
		if !ok {
			i++
			continue
		}
		b.WriteString(line[done:i])
		b.WriteString(m.by)
		i += len(m.address)
		done = i
	}
	if done == 0 {
		return line
	}
	b.WriteString(line[done:])
	return b.String()
}

// maskAt is the mask of the whole address that begins at i.
func maskAt(lower string, i int, masks []mask) (mask, bool) {
	if i > 0 && inAddress(lower[i-1]) {
		return mask{}, false
	}
	for _, m := range masks {
		rest, ok := strings.CutPrefix(lower[i:], m.address)
		if !ok || rest != "" && (inAddress(rest[0]) && rest[0] != '.' || rest[0] == '.' && len(rest) > 1 && inAddress(rest[1])) {
			continue // "a@b.example" is not in "a@b.example.org", but in "a@b.example."
		}
		return m, true
	}
	return mask{}, false
}

// small is s with the ASCII letters small, as long as s in octets.
func small(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// inAddress reports a character by which an address goes on.
func inAddress(c byte) bool {
	return c == '.' || c == '-' || c == '_' || c == '+' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c >= 0x80
}

// tagged puts the message's id behind the text.
func (tx *transaction) tagged(r reply.Reply) reply.Reply { return r.Tagged(tx.env.ID) }
