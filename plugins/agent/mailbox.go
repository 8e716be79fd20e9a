package agent

import (
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Mailbox is an address of the envelope with its ESMTP parameters. The zero Mailbox is the
// null sender.
type Mailbox struct {
	p *agentv1.Mailbox
}

// Address returns the address without <>, quoted where it must be; "" is the null sender.
func (m Mailbox) Address() string { return m.p.GetAddress() }

// String is Address.
func (m Mailbox) String() string { return m.p.GetAddress() }

// IsNull reports whether this is the null sender, as of a bounce (RFC 5321 §4.5.5).
func (m Mailbox) IsNull() bool { return m.p.GetAddress() == "" }

// Local returns the local part without quoting: it may hold any character.
func (m Mailbox) Local() string {
	local, _ := Split(m.p.GetAddress())
	return local
}

// Domain returns the domain as the client wrote it; "" for <postmaster> and the null sender.
func (m Mailbox) Domain() string {
	_, domain := Split(m.p.GetAddress())
	return domain
}

// Param returns the value of an ESMTP parameter, such as SIZE or ORCPT, and whether it was given. It is
// as the client wrote it: see DecodeXtext.
func (m Mailbox) Param(key string) (string, bool) {
	for _, p := range m.p.GetParams() {
		if strings.EqualFold(p.GetKey(), key) {
			return p.GetValue(), true
		}
	}
	return "", false
}

// Recipient is one recipient of a message.
type Recipient struct {
	Mailbox
}

// Original returns the address the client gave, also where an agent has replaced it.
func (r Recipient) Original() string {
	if o := r.p.GetOriginal(); o != "" {
		return o
	}
	return r.Address()
}

// Split parts an address into its local part, unquoted, and its domain. An address without
// a domain (postmaster) is all local part.
func Split(address string) (local, domain string) {
	if !strings.HasPrefix(address, `"`) {
		at := strings.LastIndexByte(address, '@')
		if at < 0 {
			return address, ""
		}
		return address[:at], address[at+1:]
	}
	var b strings.Builder
	for i := 1; i < len(address); i++ {
		switch c := address[i]; {
		case c == '\\' && i+1 < len(address): // quoted-pair, RFC 5321 §4.1.2
			i++
			b.WriteByte(address[i])
		case c == '"':
			domain, _ = strings.CutPrefix(address[i+1:], "@")
			return b.String(), domain
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// Join makes an address of a local part and a domain, with quotes where the local part is
// no Dot-string (RFC 5321 §4.1.2).
func Join(local, domain string) string {
	if !isDotString(local) {
		var b strings.Builder
		b.WriteByte('"')
		for i := 0; i < len(local); i++ {
			if local[i] == '"' || local[i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(local[i])
		}
		b.WriteByte('"')
		local = b.String()
	}
	if domain == "" {
		return local
	}
	return local + "@" + domain
}

func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '.' && !isAtom(c) {
			return false
		}
	}
	return true
}

// isAtom reports whether c may stand in an atom (RFC 5322 §3.2.3; above ASCII RFC 6531 §3.3).
func isAtom(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= 0x80 ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
