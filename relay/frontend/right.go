package frontend

import (
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// Right is why a client may send to a recipient.
type Right uint8

// The rights. The zero value is none: relaying is denied.
const (
	NoRight        Right = iota
	ToPostmaster         // RFC 5321 §4.5.1: <postmaster> has no domain and is everybody's; the next hop knows who it is
	ToOurs               // the domain is accepted from everybody
	FromOurNetwork       // by the client's address
	ByLogin              // because it has logged in
)

// Right says by which right, if any, the client of this state may send to the recipient.
func (s *Settings) Right(to mail.Path, state *event.State) Right {
	switch {
	case to.Domain == "":
		return ToPostmaster
	case s.Domains.Contains(to.Domain):
		return ToOurs
	case state.Connection.Internal:
		return FromOurNetwork
	case state.Client.User != "":
		return ByLogin
	}
	return NoRight
}

// Live reports whether the recipients of a transaction that begins now are verified at RCPT.
func (c Check) Live(agents *pipeline.Session) bool {
	return c == Live || c != Deferred && !agents.LateRecipients()
}
