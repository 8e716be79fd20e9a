package mail

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/relay/relay/reply"
)

// ParseParams reads what follows the path of MAIL or RCPT: parameters, each with space
// before it (RFC 5321 §4.1.2). It judges their form; MailParams and RcptParams judge the rest. An
// error is a *reply.Error, 501 5.5.4.
func ParseParams(s string) (Params, error) {
	var all Params
	for word := range strings.SplitSeq(s, " ") {
		if word == "" {
			continue // Deviates: several spaces, and spaces at the end, do no harm.
		}
		p, err := parseParam(word)
		if err != nil {
			return nil, err
		}
		if _, twice := all.Get(p.Keyword); twice {
			return nil, badParam("%s is there twice", p.Keyword)
		}
		all = append(all, p)
	}
	return all, nil
}

func parseParam(word string) (Param, error) {
	keyword, value, hasValue := strings.Cut(word, "=")
	p := Param{Keyword: strings.ToUpper(keyword), Value: value, HasValue: hasValue}
	if !isKeyword(p.Keyword) {
		return Param{}, badParam("bad parameter")
	}
	if hasValue && !isParamValue(value) {
		return Param{}, badParam("bad value of %s", p.Keyword)
	}
	return p, nil
}

// isKeyword reports an esmtp-keyword in upper case.
func isKeyword(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// isParamValue reports an esmtp-value: no space, no control character, no "="; with
// RFC 6531 §3.3 also UTF-8.
func isParamValue(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == '=' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && (isASCII(s) || utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0)
}

// String prints the parameters as they go into a command, each with a space before it.
func (p Params) String() string {
	var b strings.Builder
	for i := range p {
		b.WriteByte(' ')
		b.WriteString(p[i].Keyword)
		if p[i].HasValue {
			b.WriteByte('=')
			b.WriteString(p[i].Value)
		}
	}
	return b.String()
}

func badParam(format string, args ...any) error {
	return reply.Refuse(reply.New(501, reply.Enhanced{Subject: 5, Detail: 4}, fmt.Sprintf(format, args...)))
}
