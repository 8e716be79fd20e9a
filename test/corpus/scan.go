package corpus

import "fmt"

// A Kind is a reason for which content cannot be relayed truthfully.
type Kind string

// The kinds, each with the octets or the count that makes it. Long lines, 8-bit octets (where the next hop has
// 8BITMIME), fields without colon, an empty or unterminated header section and empty content are none: they pass as they are.
const (
	// BareCR is a CR that no LF follows. RFC 5321 §2.3.8 forbids it; servers disagree whether it ends a line, so that
	// what is passed on may be split into two messages (SMTP smuggling).
	BareCR Kind = "bare CR"
	// BareLF is an LF that no CR precedes; the same section, the same attack.
	BareLF Kind = "bare LF"
	// NUL is a zero octet: 7-bit and 8-bit content have none (RFC 2045 §2.7, §2.8), and many servers cut a line there.
	NUL Kind = "NUL"
	// LargeHeader is a header section over Limits.Header.
	LargeHeader Kind = "large header section"
	// LargeMessage is content over Limits.Message.
	LargeMessage Kind = "large message"
	// ManyHops is more Received fields than Limits.Received: a loop (RFC 5321 §6.3).
	ManyHops Kind = "many Received fields"
)

// Reply is the reply code and the enhanced status code with which the relay refuses content of this kind.
func (k Kind) Reply() (code int, enhanced string) {
	switch k {
	case LargeHeader, LargeMessage:
		return 552, "5.3.4" // RFC 3463 §3.4: message too big for system
	case ManyHops:
		return 554, "5.4.6" // RFC 3463 §3.5: routing loop detected
	}
	return 550, "5.6.11" // not registered; Exchange gives it for bare line feeds
}

// A Defect is one reason to refuse content. There is one for each kind, however often it occurs.
type Defect struct {
	Kind Kind
	// Offset is where it occurs first; for a limit, the first octet beyond it.
	Offset int
	// Count is how often it occurs; for a size, the octets there are.
	Count int
	// Text says the same to people.
	Text string
}

// Limits is what a relay takes at most. Sizes are in octets, of content as the client sends it and before the relay
// adds its trace. A zero is no limit.
type Limits struct {
	Header   int
	Message  int
	Received int
}

// DefaultLimits are those of a config.toml without [limits]; KB and MB are powers of ten.
var DefaultLimits = Limits{Header: 256_000, Message: 35_000_000, Received: 100}

// Scan lists why a relay with the default limits must refuse this content; none means it must pass, octet for octet.
func Scan(wire []byte) []Defect { return DefaultLimits.Scan(wire) }

// Scan is Scan under limits of one's own. Octets come first in the list, then sizes, then hops.
func (l Limits) Scan(wire []byte) []Defect {
	defects := scanOctets(wire)
	header, _ := Split(wire)
	if l.Header > 0 && len(header) > l.Header {
		defects = append(defects, Defect{LargeHeader, l.Header, len(header),
			fmt.Sprintf("header section of %d octets, limit %d", len(header), l.Header)})
	}
	if l.Message > 0 && len(wire) > l.Message {
		defects = append(defects, Defect{LargeMessage, l.Message, len(wire),
			fmt.Sprintf("message of %d octets, limit %d", len(wire), l.Message)})
	}
	if count, beyond := countHops(header, l.Received); l.Received > 0 && count > l.Received {
		defects = append(defects, Defect{ManyHops, beyond, count,
			fmt.Sprintf("%d Received fields, limit %d", count, l.Received)})
	}
	return defects
}

// scanOctets finds the octets that content must not have.
func scanOctets(wire []byte) []Defect {
	var defects []Defect
	at := map[Kind]int{}
	found := func(kind Kind, offset int) {
		if _, ok := at[kind]; !ok {
			at[kind] = len(defects)
			defects = append(defects, Defect{Kind: kind, Offset: offset})
		}
		defects[at[kind]].Count++
	}
	for i, octet := range wire {
		switch {
		case octet == 0:
			found(NUL, i)
		case octet == '\r' && (i+1 == len(wire) || wire[i+1] != '\n'):
			found(BareCR, i)
		case octet == '\n' && (i == 0 || wire[i-1] != '\r'):
			found(BareLF, i)
		}
	}
	for i, d := range defects {
		defects[i].Text = fmt.Sprintf("%s, %d times, first at octet %d", d.Kind, d.Count, d.Offset)
	}
	return defects
}

// countHops counts Received fields and says where the first one beyond the limit begins.
func countHops(header []byte, limit int) (count, beyond int) {
	offset := 0
	for _, field := range FieldLines(header) {
		if NameIs(field, "Received") {
			if count++; count == limit+1 {
				beyond = offset
			}
		}
		offset += len(field)
	}
	return count, beyond
}

// Has8Bit reports whether an octet is over 127: a client has to say BODY=8BITMIME then (RFC 6152 §3).
func Has8Bit(wire []byte) bool {
	for _, octet := range wire {
		if octet > 127 {
			return true
		}
	}
	return false
}
