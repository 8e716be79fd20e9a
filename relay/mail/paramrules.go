package mail

import (
	"strconv"
	"strings"

	"example.org/relay/relay/reply"
)

// MailParams judges the parameters of MAIL against the extensions that are offered. The
// error is a *reply.Error: 555 5.5.4 for a parameter that nobody offered, 501 5.5.4 for a
// bad value, 552 5.3.4 for a size over the limit, 555 5.6.1 for BODY=BINARYMIME.
func MailParams(p Params, offered Extensions) error {
	_, utf8 := p.Get("SMTPUTF8")
	for _, p := range p {
		rule, known := mailRules[p.Keyword]
		if err := judge(p, rule, known, offered, utf8); err != nil {
			return err
		}
	}
	return nil
}

// RcptParams judges those of RCPT likewise. Pass SMTPUTF8 as not offered where MAIL did
// not ask for it.
func RcptParams(p Params, offered Extensions) error {
	for _, p := range p {
		rule, known := rcptRules[p.Keyword]
		if err := judge(p, rule, known, offered, offered.SMTPUTF8); err != nil {
			return err
		}
	}
	return nil
}

// paramRule is what one parameter needs.
type paramRule struct {
	offered func(Extensions) bool
	value   func(value string, offered Extensions) error // nil: it takes no value
}

var mailRules = map[string]paramRule{
	"SIZE":       {func(e Extensions) bool { return e.SizeOffered }, checkSize},
	"BODY":       {func(e Extensions) bool { return e.EightBitMIME }, checkBody},
	"SMTPUTF8":   {func(e Extensions) bool { return e.SMTPUTF8 }, nil},
	"REQUIRETLS": {func(e Extensions) bool { return e.RequireTLS }, nil},
	"RET":        {func(e Extensions) bool { return e.DSN }, checkRet},
	"ENVID":      {func(e Extensions) bool { return e.DSN }, checkEnvID},
	"AUTH":       {func(e Extensions) bool { return e.Auth }, checkAuth},
}

var rcptRules = map[string]paramRule{
	"NOTIFY": {func(e Extensions) bool { return e.DSN }, checkNotify},
	"ORCPT":  {func(e Extensions) bool { return e.DSN }, checkOrcpt},
}

func judge(p Param, rule paramRule, known bool, offered Extensions, utf8 bool) error {
	if !known || !rule.offered(offered) {
		return reply.Refuse(reply.New(555, reply.Enhanced{Subject: 5, Detail: 4}, "parameter "+p.Keyword+" not recognized"))
	}
	switch {
	case rule.value == nil && p.HasValue:
		return badParam("%s takes no value", p.Keyword)
	case rule.value == nil:
		return nil
	case !p.HasValue:
		return badParam("%s needs a value", p.Keyword)
	case !isParamValue(p.Value):
		return badParam("bad value of %s", p.Keyword)
	case !utf8 && !isASCII(p.Value):
		return badParam("value of %s is not ASCII", p.Keyword)
	}
	return rule.value(p.Value, offered)
}

// checkSize: RFC 1870 §4, §6.1. What does not fit into 63 bits fits nowhere else either.
func checkSize(value string, offered Extensions) error {
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return badParam("SIZE is not a number")
		}
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || offered.Size > 0 && n > offered.Size {
		return reply.Refuse(reply.New(552, reply.Enhanced{Subject: 3, Detail: 4}, "message is too big"))
	}
	return nil
}

// checkBody: RFC 6152 §3. BINARYMIME (RFC 3030) is known to senders, and not offered.
func checkBody(value string, _ Extensions) error {
	switch strings.ToUpper(value) {
	case "7BIT", "8BITMIME":
		return nil
	case "BINARYMIME":
		return reply.Refuse(reply.New(555, reply.Enhanced{Subject: 6, Detail: 1}, "BINARYMIME is not offered"))
	}
	return badParam("BODY must be 7BIT or 8BITMIME")
}

// checkRet: RFC 3461 §4.3.
func checkRet(value string, _ Extensions) error {
	if strings.EqualFold(value, "FULL") || strings.EqualFold(value, "HDRS") {
		return nil
	}
	return badParam("RET must be FULL or HDRS")
}

// checkEnvID: RFC 3461 §4.4.
func checkEnvID(value string, _ Extensions) error {
	if len(value) > 100 || !isASCII(value) || !isXtext(value) {
		return badParam("ENVID must be xtext of at most 100 characters")
	}
	return nil
}

// checkAuth: RFC 4954 §5, a mailbox in xtext or "<>".
func checkAuth(value string, _ Extensions) error {
	if value != "<>" && (len(value) > 500 || !isXtext(value)) {
		return badParam("AUTH must be xtext or <>")
	}
	return nil
}

// checkNotify: RFC 3461 §4.1.
func checkNotify(value string, _ Extensions) error {
	if strings.EqualFold(value, "NEVER") {
		return nil
	}
	for word := range strings.SplitSeq(value, ",") {
		switch strings.ToUpper(word) {
		case "SUCCESS", "FAILURE", "DELAY":
		default:
			return badParam("NOTIFY must be NEVER or a list of SUCCESS, FAILURE, DELAY")
		}
	}
	return nil
}

// checkOrcpt: RFC 3461 §4.2; RFC 6533 §3 for the type utf-8, whose address may be 8-bit.
func checkOrcpt(value string, _ Extensions) error {
	kind, address, ok := strings.Cut(value, ";")
	if !ok || kind == "" || strings.IndexFunc(kind, func(r rune) bool { return r >= 0x80 || !isAtext(byte(r)) }) >= 0 ||
		address == "" || len(value) > 500 || !isXtext(address) {
		return badParam("ORCPT must be a type, ; and an address in xtext, of at most 500 characters")
	}
	if !strings.EqualFold(kind, "utf-8") && !isASCII(address) {
		return badParam("ORCPT of type %s is not ASCII", kind)
	}
	return nil
}

// isXtext reports xtext (RFC 3461 §4) that stands for no control character: what it means is
// printed in delivery reports one day. Small hexadecimal digits are taken too.
func isXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			continue // isParamValue has refused space, control characters and "="
		}
		if i+2 >= len(s) {
			return false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || n < ' ' || n == 0x7f {
			return false
		}
		i += 2
	}
	return true
}
