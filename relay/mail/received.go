package mail

import (
	"net/netip"
	"strings"
	"time"
)

// Received is the trace field a server adds (RFC 5321 §4.4).
type Received struct {
	Hello    string     // what the client called itself; shown only where it has the form of a name
	Client   netip.Addr // the real client
	Host     string     // its name, where a trusted hop has told it; empty: only the address is shown
	By       string     // our name
	Protocol string     // SMTP, ESMTP, ESMTPS, UTF8SMTP … (RFC 3848, RFC 6531 §4.3)
	TLS      string     // "TLS 1.3, TLS_AES_128_GCM_SHA256"; empty without
	ID       string
	For      string // a single recipient, as the client gave it; empty with several
	At       time.Time
}

// Value returns the value of the field, folded, with its leading space.
func (r Received) Value() []byte {
	b := make([]byte, 0, 256)
	b = append(b, " from "...)
	b = append(b, helloName(r.Hello)...)
	// Extended-Domain: TCP-info is the address, with a name before it where there is one.
	b = append(b, " ("...)
	if isHelloName(r.Host) {
		b = append(b, r.Host...)
		b = append(b, ' ')
	}
	b = append(b, '[')
	client := r.Client.Unmap()
	if client.Is6() {
		b = append(b, "IPv6:"...)
	}
	b = append(b, client.WithZone("").String()...)
	b = append(b, "])"...)
	if r.TLS != "" {
		b = append(b, "\r\n\t("...)
		b = append(b, r.TLS...)
		b = append(b, ')')
	}
	b = append(b, "\r\n\tby "...)
	b = append(b, r.By...)
	b = append(b, " with "...)
	b = append(b, r.Protocol...)
	b = append(b, " id "...)
	b = append(b, r.ID...)
	if r.For != "" {
		b = append(b, "\r\n\tfor <"...)
		b = append(b, r.For...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	return r.At.AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 -0700")
}

// helloName keeps what a client says of itself from writing anything else into the
// field than a name or an address literal (RFC 5321 §4.1.2).
func helloName(s string) string {
	if isHelloName(s) {
		return s
	}
	return "unknown"
}

func isHelloName(s string) bool {
	if literal, ok := strings.CutPrefix(s, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		return ok && checkLiteral(literal) == nil && !strings.ContainsAny(literal, "()\\,;<>\"")
	}
	return isASCII(s) && checkDomain(s) == nil
}
