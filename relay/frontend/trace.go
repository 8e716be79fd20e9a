package frontend

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// maxReceived is how often a message may have been passed on: with more, it goes in a
// circle (RFC 5321 §6.3).
const maxReceived = 100

// trace refuses a message that loops, takes out what only we may say, and adds our
// Received field on top, where no agent may change it.
func (s *Session) trace(h *mail.Header) error {
	if h.Count("Received") > maxReceived {
		return reply.Refuse(s.tx.tagged(reply.New(554, reply.Enhanced{Subject: 4, Detail: 6}, "too many hops, this message is looping")))
	}
	removeForgedResults(h, s.tx.set.Hostname)
	id, err := h.Add(mail.Top, "Received", s.received().Value())
	if err != nil {
		return err
	}
	s.agents.ProtectFields(id)
	s.traceSubmitted(h)
	return nil
}

func (s *Session) received() mail.Received {
	conn, client, env := s.agents.State.Connection, s.agents.State.Client, s.tx.env
	r := mail.Received{
		Hello: client.Hello, Client: conn.Remote.Addr(), Host: conn.RemoteHost, By: s.tx.set.Hostname, ID: env.ID, At: time.Now(),
		Protocol: protocol(&client, env),
	}
	if client.TLS != nil {
		r.TLS = tls.VersionName(client.TLS.Version) + ", " + tls.CipherSuiteName(client.TLS.CipherSuite)
	}
	// RFC 5321 §7.2: with several recipients, naming one would tell the others of it.
	if len(env.Recipients) == 1 && !env.Recipients[0].Original.IsNull() {
		if known := env.Recipients[0].Original.String(); isASCII(known) || r.Protocol[0] == 'U' {
			r.For = known
		}
	}
	return r
}

// protocol is the WITH clause: RFC 3848, RFC 6531 §4.3.
func protocol(client *event.Client, env *mail.Envelope) string {
	name := "SMTP"
	if _, utf8 := env.Params.Get("SMTPUTF8"); utf8 {
		name = "UTF8SMTP"
	} else if client.ESMTP {
		name = "ESMTP"
	}
	if client.ESMTP && client.TLS != nil {
		name += "S"
	}
	if client.ESMTP && client.User != "" {
		name += "A"
	}
	return name
}

// vouched are the parameters of MAIL with an AUTH= that the relay can answer for: the address that
// the client has logged in by, or else "<>", nobody's (RFC 4954 §5). Agents are shown at MAIL what the client
// said.
func (s *Session) vouched(params mail.Params) mail.Params {
	claimed, ok := params.Get("AUTH")
	if !ok || claimed == "<>" {
		return params
	}
	user := s.agents.State.Client.User
	if name, ok := mail.DecodeXtext(claimed); ok && user != "" && strings.EqualFold(name, user) {
		return params
	}
	params = slices.Clone(params)
	for i := range params {
		if params[i].Keyword == "AUTH" {
			params[i].Value = "<>"
		}
	}
	return params
}

// removeForgedResults takes out Authentication-Results that claim to be ours: nothing has
// been authenticated here yet (RFC 8601 §5).
func removeForgedResults(h *mail.Header, hostname string) {
	var forged []uint32
	for f := range h.All() {
		if f.Is("Authentication-Results") && strings.EqualFold(authServID(f.Value()), hostname) {
			forged = append(forged, f.ID)
		}
	}
	for _, id := range forged {
		_ = h.Remove(id) // it was there a moment ago
	}
}

// authServID is the name at the start of the field's value, behind white space and comments
// (RFC 8601 §2.2).
func authServID(value []byte) string {
	for depth := 0; len(value) > 0; value = value[1:] {
		switch c := value[0]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0 && len(value) > 1:
			value = value[1:] // quoted-pair: no end of the comment
		case depth > 0, c == ' ', c == '\t', c == '\r', c == '\n':
		case c == '"':
			return quotedString(value[1:])
		default:
			end := bytes.IndexAny(value, " \t\r\n;(")
			if end < 0 {
				end = len(value)
			}
			return string(value[:end])
		}
	}
	return ""
}

// quotedString is what a quoted-string means that begins before b (RFC 5322 §3.2.4).
func quotedString(b []byte) string {
	var s []byte
	for len(b) > 0 && b[0] != '"' {
		if b[0] == '\\' && len(b) > 1 {
			b = b[1:]
		}
		s = append(s, b[0])
		b = b[1:]
	}
	return string(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
