// Package event is the vocabulary of agents: kinds of event, roles and which role has
// which event, the facts an event shows, the verdict and the edits that come back. It is
// pure; both the pipeline and the agents speak it.
package event

import (
	"crypto/tls"
	"net/netip"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Event is one thing that happened, as an agent is shown it. State travels beside it.
type Event struct {
	// Seq rises within a session; an event shown again after a crash keeps its Seq.
	Seq    uint32
	Kind   Kind
	Notify bool // no verdict awaited

	Argument   string           // HELO, EHLO, HELP, NOOP, RSET, DATA: what followed the verb
	From       mail.Path        // MailCommand
	Params     mail.Params      // MailCommand
	Recipient  mail.Recipient   // RcptCommand
	Rejection  *Rejection       // Reject
	Disconnect DisconnectReason // Disconnect
	Auth       *Authentication  // AuthCommand, EndOfAuthentication
	NextHop    *NextHop         // ProxyInboundMessage
}

// NextHop is where a FrontEnd is about to send a message.
type NextHop struct {
	Name    string // as the configuration calls it
	Address string // of the server: host and port, or "unix:" and a path
}

// Authentication is an attempt to log in.
type Authentication struct {
	Mechanism string // upper case
	User      string // EndOfAuthentication: who has logged in, or the name that was tried
	Success   bool   // EndOfAuthentication
}

// Rejection is a 4yz or 5yz reply that was given.
type Rejection struct {
	Reply     reply.Reply
	Command   string // the command line refused; "." for the end of data
	Recipient string // at RCPT: the address
	Cause     Cause
	Agent     string // Cause CauseAgent: its name
	At        Kind   // Cause CauseAgent: the event it decided
	// Of is MailCommand or RcptCommand where it is such a command that was refused, with Path for the
	// address it had; else 0.
	Of   Kind
	Path mail.Path
}

// Cause is who caused a rejection.
type Cause uint8

// The causes. CauseRelay is a rule of the relay itself.
const (
	CauseRelay Cause = iota
	CauseAgent
	CauseNextHop
)

// DisconnectReason is how a session ended.
type DisconnectReason uint8

// The reasons.
const (
	DisconnectQuit DisconnectReason = iota
	DisconnectClientLost
	DisconnectHostClosed // the relay or an agent closed
	DisconnectDrain      // the relay is going down
)

// State is what a session knows at one moment. The pipeline owns it; a conversation only
// reads it, during the call it is given to, and compares revisions with what it has shown.
type State struct {
	SessionID  string
	Connection *Connection    // set once, never changed
	Client     Client         // as of ClientRevision
	Envelope   *mail.Envelope // nil outside a transaction
	Header     *mail.Header   // nil before the header section is in
	Bag        []Property     // all entries, all scopes
	Submitter  Submitter      // of the agent that is deciding; nil: nothing can be submitted

	// The revisions rise with each change of their part, including to and from nil.
	ClientRevision   uint64
	EnvelopeRevision uint64
	HeaderRevision   uint64
	BagRevision      uint64
}

// Connection is what is known of the TCP connection.
type Connection struct {
	Remote     netip.AddrPort // the client: whom PROXY or XCLIENT told, else who has connected
	RemoteHost string         // the client's name, where a trusted hop has told it; "": not known
	Local      netip.AddrPort // where the client has connected to: at the proxy, where there is one
	Listener   string         // its address as configured
	Started    time.Time
	// Proxy is who told Remote, by PROXY or XCLIENT; not valid: nobody. Where it is Remote's own
	// address, it has nobody behind it, or does not know whom.
	Proxy       netip.Addr
	EarlyTalker bool // spoke before the banner
	Internal    bool // the client is in networks.relay
	ImplicitTLS bool
}

// Client is what the client said of itself.
type Client struct {
	Hello string // argument of HELO or EHLO
	ESMTP bool
	TLS   *tls.ConnectionState // nil: no TLS
	User  string               // authenticated identity; "": has not logged in
	// Mechanism is how User has logged in.
	Mechanism string
}

// Property is one entry of a bag.
type Property struct {
	Scope   Scope
	Agent   string // whose namespace
	Key     string
	Value   []byte
	Private bool // only its agent reads it
}

// Scope is how long a bag entry lives.
type Scope uint8

// The scopes.
const (
	ScopeSession Scope = iota
	ScopeMessage
)
