package agent

import (
	"maps"
	"net/netip"
	"strings"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Session is one SMTP session as the agent sees it. It is valid in the handler it is given
// to, on that handler's goroutine.
type Session struct {
	id      string
	agent   string // the installed name
	resumed bool
	conn    *agentv1.ConnectionInfo
	client  *agentv1.ClientState
	message *Message // nil between transactions
	bag     bag

	// What the running handler did. edits go out with the next verdict, undo takes them back
	// where the handler breaks. Watching handlers leave edits of the bags only.
	edits    []*agentv1.Edit
	undo     []func()
	turn     uint64 // counts verdicts: an edit can be changed only before it went out
	watching bool
	event    Event  // in hand
	uploads  uint32 // the last upload's id

	conversation *conversation
	kind         agentv1.SessionKind
	delivery     delivery
}

// TLS is what the client's TLS handshake came to.
type TLS struct {
	Version         string
	Cipher          string
	ServerName      string // SNI
	PeerCertificate []byte // DER; empty where the client sent none, or was not asked for one
	PeerVerified    bool   // the relay's system trusts who issued it; whose it is, is another matter
}

// ID returns the session's id, as in the relay's log.
func (s *Session) ID() string { return s.id }

// Resumed reports whether another process of this agent saw the session's beginning.
func (s *Session) Resumed() bool { return s.resumed }

// RemoteAddr returns the client's address and port, of the real client behind a proxy.
func (s *Session) RemoteAddr() netip.AddrPort {
	return netip.AddrPortFrom(address(s.conn.GetRemoteIp()), uint16(s.conn.GetRemotePort()))
}

// LocalAddr returns the address and port the client connected to.
func (s *Session) LocalAddr() netip.AddrPort {
	return netip.AddrPortFrom(address(s.conn.GetLocalIp()), uint16(s.conn.GetLocalPort()))
}

// RemoteHost returns the client's name, as a trusted hop has told it by XCLIENT; "" if not known.
func (s *Session) RemoteHost() string { return s.conn.GetRemoteHost() }

// LastExternalIP returns the last hop outside the relay's own networks; not valid if unknown.
func (s *Session) LastExternalIP() netip.Addr { return address(s.conn.GetLastExternalIp()) }

// ProxyIP returns who told the client's address, by PROXY or XCLIENT; not valid if nobody did. Where it is
// the client's own address, the proxy has nobody behind it, or does not know whom.
func (s *Session) ProxyIP() netip.Addr { return address(s.conn.GetProxyIp()) }

// Listener returns the address of the listener, as configured.
func (s *Session) Listener() string { return s.conn.GetListener() }

// Started returns when the client connected.
func (s *Session) Started() time.Time { return time.UnixMilli(s.conn.GetStartedUnixMs()) }

// Internal reports whether the client may send to any domain.
func (s *Session) Internal() bool { return s.conn.GetInternal() }

// EarlyTalker reports whether the client spoke before the banner.
func (s *Session) EarlyTalker() bool { return s.conn.GetEarlyTalker() }

// Hello returns the argument of HELO or EHLO; empty before.
func (s *Session) Hello() string { return s.client.GetHello() }

// ESMTP reports whether the client said EHLO.
func (s *Session) ESMTP() bool { return s.client.GetEsmtp() }

// AuthUser returns who the client has authenticated as; empty if it has not.
func (s *Session) AuthUser() string { return s.client.GetAuthUser() }

// AuthMechanism returns how it has, as "SCRAM-SHA-256"; empty if it has not.
func (s *Session) AuthMechanism() string { return s.client.GetAuthMechanism() }

// TLS returns the state of TLS, and whether there is any.
func (s *Session) TLS() (TLS, bool) {
	c := s.client
	return TLS{
		Version: c.GetTlsVersion(), Cipher: c.GetTlsCipher(), ServerName: c.GetTlsSni(),
		PeerCertificate: c.GetTlsPeerCertificate(), PeerVerified: c.GetTlsPeerVerified(),
	}, c.GetTlsVersion() != ""
}

// ImplicitTLS reports whether the listener begins with TLS, without STARTTLS.
func (s *Session) ImplicitTLS() bool { return s.conn.GetImplicitTls() }

// Message returns the message of the running transaction, nil if there is none.
func (s *Session) Message() *Message { return s.message }

// inHand is the message for a handler that needs one.
func inHand(s *Session) *Message {
	if s.message == nil {
		s.message = newMessage(s)
	}
	return s.message
}

// take brings s up to what is attached to an event.
func (s *Session) take(e *agentv1.Event) {
	if e.Connection != nil {
		s.conn = e.Connection
	}
	if e.Client != nil {
		s.client = e.Client
	}
	s.takeItem(e)
	if e.Envelope != nil {
		s.takeEnvelope(e.Envelope)
	}
	if e.Type == agentv1.EventType_EVENT_TYPE_MAIL_COMMAND && e.Envelope == nil {
		s.message = newMessage(s)
		s.message.from = e.GetMail()
	}
	if e.Headers != nil {
		inHand(s).header.take(e.Headers)
	}
	if e.Content != nil {
		inHand(s).content.take(e.Content)
	}
	s.takeProperties(e.Properties)
}

// takeEnvelope begins another message where the envelope is another one's. An empty envelope
// says that there is no transaction.
func (s *Session) takeEnvelope(e *agentv1.Envelope) {
	if e.From == nil && len(e.Recipients) == 0 && e.MessageId == "" {
		s.message = nil
		return
	}
	m := s.message
	if m == nil || m.id != e.MessageId {
		m = newMessage(s)
		s.message = m
	}
	m.take(e)
}

func (s *Session) takeProperties(list []*agentv1.Property) {
	for _, p := range list {
		b := &s.bag
		if p.Scope == agentv1.Property_SCOPE_MESSAGE {
			b = &inHand(s).bag
		}
		b.put(p.Key, p.Value, p.Removed)
	}
}

// record adds an edit of the message or a bag to the coming verdict.
func (s *Session) record(e *agentv1.Edit) { s.edits = append(s.edits, e) }

// onFailure notes how to take back what the handler is about to do.
func (s *Session) onFailure(restore func()) { s.undo = append(s.undo, restore) }

// rollBack takes back what the handler did: its verdict is a failure.
func (s *Session) rollBack(edits int) {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
	s.edits = s.edits[:edits]
}

// nextTurn ends a handler's turn: what it did stands, and its edits cannot be changed any more.
func (s *Session) nextTurn() {
	clear(s.undo)
	s.undo = s.undo[:0]
	s.turn++
	if s.message != nil {
		s.message.content.release()
	}
}

// mayEdit panics where an edit of the message could not be sent: the handler's author has to
// know, and a panic in a handler is reported as its failure.
func (s *Session) mayEdit() {
	if s.watching {
		panic("a handler that only watches cannot edit the message: it runs when the event may be long over")
	}
	if s.kind == agentv1.SessionKind_SESSION_KIND_DELIVERY {
		panic("a message that is delivered cannot be edited: OnCategorizedMessage is the last event for that")
	}
}

// bag holds values by their full name, "agent-name/key".
type bag struct{ values map[string][]byte }

func (b *bag) put(key string, value []byte, removed bool) {
	if removed {
		delete(b.values, key)
		return
	}
	if b.values == nil {
		b.values = make(map[string][]byte)
	}
	b.values[key] = value
}

func (b *bag) clone() bag { return bag{maps.Clone(b.values)} }

func address(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// qualified is the full name of a key: bare names are the agent's own.
func (s *Session) qualified(key string) string {
	if strings.Contains(key, "/") {
		return key
	}
	return s.agent + "/" + key
}
