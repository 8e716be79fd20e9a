package nexthop

import (
	"strconv"
	"strings"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// traceRoom is added to a declared SIZE: the message grows by the trace fields, and what
// agents add, between the client and the next hop.
const traceRoom = 4096

// Answers that are ours, not the server's: it lacks what the message needs, and leaving that
// away would change what the sender asked for.
var (
	lacksUTF8   = reply.New(550, reply.Enhanced{Subject: 6, Detail: 7}, "next hop does not support SMTPUTF8")
	lacks8Bit   = reply.New(554, reply.Enhanced{Subject: 6, Detail: 3}, "next hop does not support 8-bit content")
	lacksBinary = reply.New(554, reply.Enhanced{Subject: 6, Detail: 3}, "next hop does not support BINARYMIME")
	lacksDSN    = reply.New(451, reply.Enhanced{Subject: 3, Detail: 3}, "next hop does not support delivery status notifications")
	// RFC 8689 §4.2.1: mail that asks for TLS all the way does not leave without.
	lacksTLS  = reply.New(550, reply.Enhanced{Subject: 7, Detail: 30}, "next hop does not support REQUIRETLS")
	badSender = reply.New(553, reply.Enhanced{Subject: 1, Detail: 7}, "sender address cannot be passed on")
	badRcpt   = reply.New(553, reply.Enhanced{Subject: 1, Detail: 3}, "recipient address cannot be passed on")
)

// checkMail returns the refusal of an envelope that this server cannot take as it is, or the
// zero Reply.
func checkMail(env *mail.Envelope, ext mail.Extensions) reply.Reply {
	if !writable(env.From) || !writableParams(env.Params) {
		return badSender
	}
	if body, ok := env.Params.Get("BODY"); ok && strings.EqualFold(body, "BINARYMIME") {
		return lacksBinary
	}
	if !ext.SMTPUTF8 && needsUTF8(env) {
		return lacksUTF8
	}
	if _, ok := env.Params.Get("REQUIRETLS"); ok && !ext.RequireTLS {
		return lacksTLS
	}
	return reply.Reply{}
}

// needsUTF8 reports whether MAIL has to say SMTPUTF8 (RFC 6531 §3.4).
func needsUTF8(env *mail.Envelope) bool {
	if _, ok := env.Params.Get("SMTPUTF8"); ok || env.From.NeedsUTF8() {
		return true
	}
	for i := range env.Recipients {
		if env.Recipients[i].Path.NeedsUTF8() {
			return true
		}
	}
	return false
}

// checkRcpt returns the refusal of a recipient that this server cannot take as asked for, or
// the zero Reply. utf8: MAIL said SMTPUTF8.
func checkRcpt(r *mail.Recipient, ext mail.Extensions, utf8 bool) reply.Reply {
	switch {
	case r.Path.IsNull() || !writable(r.Path) || !writableParams(r.Params):
		return badRcpt
	case !utf8 && r.Path.NeedsUTF8():
		return lacksUTF8
	case !ext.DSN && wantsSuccess(r.Params):
		return lacksDSN
	}
	return reply.Reply{}
}

// wantsSuccess reports NOTIFY=SUCCESS. A relay that passes such mail to a server without DSN
// owes the sender a notification "relayed" (RFC 3461 §5.2.2), and this one writes none.
func wantsSuccess(p mail.Params) bool {
	notify, ok := p.Get("NOTIFY")
	if !ok {
		return false
	}
	for word := range strings.SplitSeq(notify, ",") {
		if strings.EqualFold(word, "SUCCESS") {
			return true
		}
	}
	return false
}

// writable reports whether the path means the same to whoever reads what is printed for it.
// It is the last check before the wire: an address must not bring commands or parameters of
// its own.
func writable(p mail.Path) bool {
	if p.IsNull() || plain(p) {
		return true
	}
	s := p.Wire()
	if !printable(s, " ") {
		return false
	}
	again, rest, err := mail.ParsePath(s, true)
	return err == nil && rest == "" && again == p
}

// plain reports an address of letters, digits, and "-" "_" "." with an atom at both ends and
// no two dots together: most are, and those need no parser.
func plain(p mail.Path) bool { return plainWord(p.Local) && plainWord(p.Domain) }

func plainWord(s string) bool {
	dot := true
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			dot = false
		case c == '-' || c == '_':
			if dot {
				return false
			}
		case c == '.':
			if dot || s[i-1] == '-' || s[i-1] == '_' {
				return false
			}
			dot = true
		default:
			return false
		}
	}
	return !dot && len(s) <= 64 && s[len(s)-1] != '-' && s[len(s)-1] != '_'
}

func writableParams(params mail.Params) bool {
	for i := range params {
		if !printable(params[i].Keyword, "") || !printable(params[i].Value, "") {
			return false
		}
	}
	return true
}

// printable reports a string without control characters and without spaces, but for those in
// also.
func printable(s, also string) bool {
	for i := range len(s) {
		if c := s[i]; (c <= ' ' || c == 0x7f) && strings.IndexByte(also, c) < 0 {
			return false
		}
	}
	return true
}

// appendMail appends MAIL with the parameters that this server takes. RET and ENVID can be
// left away where it does not know DSN (RFC 3461 §5.2.2), BODY where the content turns out to be
// 7-bit, SIZE always: it is a help. AUTH is left away where the server has no reason to believe
// it, and never made up (RFC 4954 §5).
func appendMail(b []byte, env *mail.Envelope, ext mail.Extensions, utf8 bool) []byte {
	b = append(b, "MAIL FROM:"...)
	b = append(b, env.From.Wire()...)
	for i := range env.Params {
		switch p := &env.Params[i]; p.Keyword {
		case "SIZE":
			if ext.SizeOffered {
				b = appendSize(b, p.Value, ext.Size)
			}
		case "BODY":
			if ext.EightBitMIME {
				b = appendParam(b, p)
			}
		case "AUTH":
			if ext.Auth {
				b = appendParam(b, p)
			}
		case "RET", "ENVID":
			if ext.DSN {
				b = appendParam(b, p)
			}
		case "REQUIRETLS": // checkMail has seen that the server takes it
			b = appendParam(b, p)
		}
	}
	if utf8 {
		b = append(b, " SMTPUTF8"...)
	}
	return append(b, '\r', '\n')
}

// appendSize declares what the client declared and room for trace, unless the room alone
// would break the server's limit: then the server may judge the content itself.
func appendSize(b []byte, declared string, limit int64) []byte {
	n, err := strconv.ParseInt(declared, 10, 64)
	if err != nil || n < 0 {
		return b
	}
	if limit == 0 || n > limit || n+traceRoom <= limit {
		n += traceRoom
	}
	b = append(b, " SIZE="...)
	return strconv.AppendInt(b, n, 10)
}

// appendRcpt appends RCPT with the parameters that this server takes.
func appendRcpt(b []byte, r *mail.Recipient, ext mail.Extensions) []byte {
	b = append(b, "RCPT TO:"...)
	b = append(b, r.Path.Wire()...)
	if ext.DSN {
		for i := range r.Params {
			if p := &r.Params[i]; p.Keyword == "NOTIFY" || p.Keyword == "ORCPT" {
				b = appendParam(b, p)
			}
		}
	}
	return append(b, '\r', '\n')
}

func appendParam(b []byte, p *mail.Param) []byte {
	b = append(b, ' ')
	b = append(b, p.Keyword...)
	if p.HasValue {
		b = append(b, '=')
		b = append(b, p.Value...)
	}
	return b
}
