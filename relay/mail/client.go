package mail

import "net/netip"

// Client is who a message comes from, for a server that trusts us and is to treat, or log, the
// message as that client's. Two are equal where such a server is told the same of both.
type Client struct {
	Remote netip.AddrPort // invalid: not known
	Local  netip.AddrPort // the address of ours that it connected to; invalid: not known
	Host   string         // its name, where that is known
	Hello  string         // argument of HELO or EHLO
	ESMTP  bool           // it was EHLO
	User   string         // who has logged in; "": nobody
}
