package corpus

import "bytes"

// Wire is the message as a client sends it after DATA, before dot-stuffing and without the final dot:
//
//   - a first line "From …" (mbox) is dropped;
//   - a bare LF becomes CRLF; in a file that has CR but no LF, each CR becomes CRLF;
//   - content that does not end with CRLF gets one. Content of no octets stays so: the dot may follow DATA at once.
//
// What is wrong besides stays wrong on purpose: NUL, CR that no LF follows. The result is the caller's.
func (m Message) Wire() []byte {
	wire := lineEnds(withoutMboxLine(m.Raw))
	if len(wire) > 0 && !bytes.HasSuffix(wire, []byte("\r\n")) {
		wire = append(wire, '\r', '\n')
	}
	return wire
}

// withoutMboxLine drops a first line that begins with "From ", up to its LF, or its CR in a file without LF.
func withoutMboxLine(raw []byte) []byte {
	if !bytes.HasPrefix(raw, []byte("From ")) {
		return raw
	}
	end := bytes.IndexByte(raw, '\n')
	if end < 0 {
		end = bytes.IndexByte(raw, '\r')
	}
	if end < 0 {
		return nil
	}
	return raw[end+1:]
}

// lineEnds copies raw with the line ends of SMTP.
func lineEnds(raw []byte) []byte {
	onlyCR := bytes.IndexByte(raw, '\n') < 0
	wire := make([]byte, 0, len(raw)+len(raw)/32+2)
	for i, octet := range raw {
		switch {
		case octet == '\n' && (i == 0 || raw[i-1] != '\r'):
			wire = append(wire, '\r', '\n')
		case octet == '\r' && onlyCR:
			wire = append(wire, '\r', '\n')
		default:
			wire = append(wire, octet)
		}
	}
	return wire
}
