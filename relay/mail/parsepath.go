package mail

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLocal is how long a local-part may be, in octets without its quoting.
// Deviates: RFC 5321 §4.5.3.1.1 has 64, as what everybody must take and not as what nobody
// may exceed; senders that write the recipient into the reverse-path (VERP, SRS) do.
const maxLocal = 255

// maxPath is how long a path may be as it is printed, quotes, "<" and ">" included: a command
// with it has at most the 512 octets that every server takes (RFC 5321 §4.5.3.1.4).
// Deviates: §4.5.3.1.3 has 256, again as what everybody must take.
const maxPath = 500

// ErrTooLong is the error of an address, or of a part of it, that is over its limit (RFC 5321
// §4.5.3.1.9: 501).
var ErrTooLong = errors.New("too long")

// ErrNeedsUTF8 is the error of an address beyond ASCII where SMTPUTF8 is not in force
// (RFC 6531 §3.5: 550 or 553, 5.6.7).
var ErrNeedsUTF8 = errors.New("address is not ASCII and SMTPUTF8 was not asked for")

// ParsePath reads the path at the start of s, "<" to ">", as MAIL and RCPT have it. The
// rest is what follows: "" or parameters with the space before them. A source route is
// read and dropped (RFC 5321 Appendix C). With utf8, addresses may go beyond ASCII
// (RFC 6531 §3.3); without, such a one is ErrNeedsUTF8.
//
// Deviates: dots are taken anywhere in a local-part, since hosts exist whose users have
// names like "name." and "a..b"; String prints them quoted, which is their legal form.
func ParsePath(s string, utf8 bool) (p Path, rest string, err error) {
	if !strings.HasPrefix(s, "<") {
		return Path{}, "", fmt.Errorf("path %.80q: does not begin with <", s)
	}
	in := parser{s: s, at: 1, utf8: utf8}
	if p, err = in.path(); err != nil {
		return Path{}, "", fmt.Errorf("path %.80q: %w", s, err)
	}
	rest = s[in.at:]
	if rest != "" && rest[0] != ' ' {
		return Path{}, "", fmt.Errorf("path %.80q: a space must follow >", s)
	}
	return p, rest, nil
}

// ParseMailbox reads an address without "<" and ">", by the same rules; "" is the null
// path, and there is no source route. It reads whatever Path.String prints.
func ParseMailbox(s string, utf8 bool) (Path, error) {
	if s == "" {
		return Path{}, nil
	}
	in := parser{s: s, utf8: utf8}
	p, err := in.mailbox()
	if err == nil && in.at < len(s) {
		err = fmt.Errorf("unexpected %q", s[in.at])
	}
	if err != nil {
		return Path{}, fmt.Errorf("address %.80q: %w", s, err)
	}
	return p, nil
}

// parser reads s from at onwards.
type parser struct {
	s    string
	at   int
	utf8 bool
}

// next reports whether c comes next, and goes past it.
func (in *parser) next(c byte) bool {
	if in.at < len(in.s) && in.s[in.at] == c {
		in.at++
		return true
	}
	return false
}

// path reads what stands after "<", and ">".
func (in *parser) path() (Path, error) {
	if in.next('>') {
		return Path{}, nil
	}
	routed, err := in.route()
	if err != nil {
		return Path{}, err
	}
	p, err := in.mailbox()
	if err != nil {
		return Path{}, err
	}
	if routed && p.Domain == "" {
		return Path{}, errors.New("no domain after the source route")
	}
	if !in.next('>') {
		return Path{}, errors.New("no > where the address ends")
	}
	return p, nil
}

// route goes past "@one,@two:".
func (in *parser) route() (bool, error) {
	if !in.next('@') {
		return false, nil
	}
	for {
		if err := in.name(&Path{}); err != nil {
			return false, fmt.Errorf("source route: %w", err)
		}
		switch {
		case in.next(':'):
			return true, nil
		case in.next(',') && in.next('@'):
		default:
			return false, errors.New("source route: no colon after its domains")
		}
	}
}

// mailbox reads a local-part and its domain, or "postmaster" (RFC 5321 §4.1.1.3).
func (in *parser) mailbox() (Path, error) {
	var p Path
	quoted := in.next('"')
	var err error
	if quoted {
		err = in.quotedString(&p)
	} else {
		err = in.dotString(&p)
	}
	if err != nil {
		return Path{}, err
	}
	if err = in.checkLocal(p.Local); err != nil {
		return Path{}, err
	}
	if !in.next('@') {
		if !quoted && strings.EqualFold(p.Local, "postmaster") {
			return p, nil
		}
		return Path{}, errors.New("no domain")
	}
	if in.at < len(in.s) && in.s[in.at] == '[' {
		err = in.literal(&p)
	} else {
		err = in.name(&p)
	}
	if err == nil && len(p.Local)+len(p.Domain) > maxPath/4 && len(p.Wire()) > maxPath {
		err = fmt.Errorf("%w: %d octets; at most %d", ErrTooLong, len(p.Wire()), maxPath)
	}
	return p, err
}

func (in *parser) dotString(p *Path) error {
	from := in.at
	for in.at < len(in.s) && (in.s[in.at] == '.' || isAtext(in.s[in.at])) {
		in.at++
	}
	if in.at == from {
		return errors.New("no local-part")
	}
	p.Local = in.s[from:in.at]
	return nil
}

// quotedString reads what stands between the quotes; the first one is read already.
func (in *parser) quotedString(p *Path) error {
	var local strings.Builder
	for in.at < len(in.s) {
		c := in.s[in.at]
		in.at++
		switch {
		case c == '"':
			p.Local = local.String()
			return nil
		case c == '\\' && in.at < len(in.s):
			if c = in.s[in.at]; c >= 0x80 {
				return errors.New("backslash before a character that is not ASCII")
			}
			in.at++
		}
		local.WriteByte(c)
	}
	return errors.New("quote is not closed")
}

// checkLocal refuses what no local-part may hold, quoted or not: nothing that this lets
// through can end a line or a word where it is printed.
func (in *parser) checkLocal(local string) error {
	if len(local) > maxLocal {
		return fmt.Errorf("%w: local-part has %d octets; at most %d", ErrTooLong, len(local), maxLocal)
	}
	return in.checkText(local)
}

func (in *parser) checkText(s string) error {
	if !isASCII(s) {
		if !in.utf8 {
			return ErrNeedsUTF8
		}
		if !utf8.ValidString(s) {
			return errors.New("not UTF-8")
		}
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		return fmt.Errorf("control character %q", s[i])
	}
	return nil
}

// name reads a domain name up to what cannot be part of one.
func (in *parser) name(p *Path) error {
	from := in.at
	for in.at < len(in.s) && strings.IndexByte("<>@,:;[]()\\\" ", in.s[in.at]) < 0 {
		in.at++
	}
	p.Domain = in.s[from:in.at]
	if err := in.checkText(p.Domain); err != nil {
		return err
	}
	return checkDomain(p.Domain)
}

// literal reads an address literal, brackets included.
func (in *parser) literal(p *Path) error {
	end := strings.IndexByte(in.s[in.at:], ']')
	if end < 0 {
		return errors.New("address literal is not closed")
	}
	p.Domain = in.s[in.at : in.at+end+1]
	in.at += end + 1
	return checkLiteral(p.Domain[1 : len(p.Domain)-1])
}
