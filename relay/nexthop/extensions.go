package nexthop

import (
	"strconv"
	"strings"

	"example.org/relay/relay/mail"
)

// keywords are what a server offers: each line of its reply to EHLO but the first, by its keyword in
// capitals (RFC 5321 §4.1.1.1), with its parameters.
type keywords map[string]string

// parseKeywords reads the lines of a reply to EHLO. The first is the server's name.
func parseKeywords(lines []string) keywords {
	k := make(keywords, len(lines))
	for _, line := range lines[1:] {
		keyword, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		keyword = strings.ToUpper(keyword)
		// Servers from before RFC 2554 write "AUTH=LOGIN", many write both.
		if old, ok := strings.CutPrefix(keyword, "AUTH="); ok {
			keyword, params = "AUTH", old+" "+params
		}
		if keyword == "" {
			continue
		}
		if first, again := k[keyword]; again {
			params = first + " " + params
		}
		k[keyword] = strings.TrimSpace(params)
	}
	return k
}

func (k keywords) has(keyword string) bool {
	_, ok := k[keyword]
	return ok
}

// params are the parameters of a keyword in capitals, one by one.
func (k keywords) params(keyword string) []string {
	return strings.Fields(strings.ToUpper(k[keyword]))
}

// extensions are those that can be used on this connection. Auth is not among them before we have
// logged in: until then the server must not believe what we say of others (RFC 4954 §5).
func (k keywords) extensions() mail.Extensions {
	e := mail.Extensions{
		Pipelining:          k.has("PIPELINING"),
		EightBitMIME:        k.has("8BITMIME"),
		SMTPUTF8:            k.has("SMTPUTF8"),
		DSN:                 k.has("DSN"),
		EnhancedStatusCodes: k.has("ENHANCEDSTATUSCODES"),
		Chunking:            k.has("CHUNKING"),
		StartTLS:            k.has("STARTTLS"),
		RequireTLS:          k.has("REQUIRETLS"),
		SizeOffered:         k.has("SIZE"),
		RcptMax:             k.limit("RCPTMAX"),
		MailMax:             k.limit("MAILMAX"),
	}
	// RFC 1870 §4: up to 20 digits; what is beyond an int64 is no limit to us.
	if n, err := strconv.ParseInt(k["SIZE"], 10, 64); err == nil && n > 0 {
		e.Size = n
	}
	return e
}

// limit is one of LIMITS (RFC 9422 §4), six digits and not 0; 0 where the server names none or
// nothing that makes sense.
func (k keywords) limit(name string) int {
	for _, p := range k.params("LIMITS") {
		if value, ok := strings.CutPrefix(p, name+"="); ok && len(value) <= 6 {
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}

// common is what all the addresses that have been seen offer.
func common(addresses []*address) mail.Extensions {
	all, first := unknown, true
	for _, a := range addresses {
		switch {
		case !a.seen:
		case first:
			all, first = a.ext, false
		default:
			all = both(all, a.ext)
		}
	}
	return all
}

func both(a, b mail.Extensions) mail.Extensions {
	size := smaller(a.Size, b.Size)
	return mail.Extensions{
		Pipelining:          a.Pipelining && b.Pipelining,
		EightBitMIME:        a.EightBitMIME && b.EightBitMIME,
		SMTPUTF8:            a.SMTPUTF8 && b.SMTPUTF8,
		DSN:                 a.DSN && b.DSN,
		EnhancedStatusCodes: a.EnhancedStatusCodes && b.EnhancedStatusCodes,
		Chunking:            a.Chunking && b.Chunking,
		StartTLS:            a.StartTLS && b.StartTLS,
		RequireTLS:          a.RequireTLS && b.RequireTLS,
		Auth:                a.Auth && b.Auth,
		SizeOffered:         a.SizeOffered && b.SizeOffered || size > 0,
		Size:                size,
		RcptMax:             smaller(a.RcptMax, b.RcptMax),
		MailMax:             smaller(a.MailMax, b.MailMax),
	}
}

// smaller is the smaller of two limits, of which 0 is none.
func smaller[N int | int64](a, b N) N {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
