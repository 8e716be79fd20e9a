package agents

import (
	"crypto/tls"
	"net/netip"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// slot is one event of a frame with the objects its detail needs, used again for the next
// frame: objects are what an event costs most.
type slot struct {
	event      agentv1.Event
	box        agentv1.Mailbox
	mail       agentv1.Event_Mail
	rcpt       agentv1.Event_Rcpt
	argument   agentv1.CommandDetail
	command    agentv1.Event_Command
	disconnect agentv1.DisconnectDetail
	end        agentv1.Event_Disconnect
	hop        agentv1.ProxyDetail
	proxy      agentv1.Event_Proxy
}

// fill makes the slot's event that of e, with nothing attached.
func (s *slot) fill(e *event.Event) *agentv1.Event {
	w := &s.event
	w.Seq, w.Type, w.Notify = e.Seq, agentv1.EventType(e.Kind), e.Notify
	w.Connection, w.Client, w.Envelope, w.Headers, w.Content = nil, nil, nil, nil, nil
	w.Properties, w.Detail = w.Properties[:0], nil
	switch e.Kind {
	case event.MailCommand:
		s.box.Address, s.box.Original, s.box.Id = e.From.String(), "", 0
		s.box.Params = appendParams(s.box.Params[:0], e.Params)
		s.mail.Mail = &s.box
		w.Detail = &s.mail
	case event.RcptCommand:
		fillRecipient(&s.box, &e.Recipient)
		s.rcpt.Rcpt = &s.box
		w.Detail = &s.rcpt
	case event.Reject:
		if e.Rejection != nil {
			w.Detail = &agentv1.Event_Reject{Reject: rejectDetail(e.Rejection)}
		}
	case event.AuthCommand, event.EndOfAuthentication:
		if a := e.Auth; a != nil {
			w.Detail = &agentv1.Event_Auth{Auth: &agentv1.AuthDetail{Mechanism: a.Mechanism, User: a.User, Success: a.Success}}
		}
	case event.ProxyInboundMessage:
		if h := e.NextHop; h != nil {
			s.hop.NextHop, s.hop.Address = h.Name, h.Address
			s.proxy.Proxy = &s.hop
			w.Detail = &s.proxy
		}
	case event.Disconnect:
		s.disconnect.Reason = endReason(e.Disconnect)
		s.end.Disconnect = &s.disconnect
		w.Detail = &s.end
	case event.HeloCommand, event.EhloCommand, event.HelpCommand, event.NoopCommand, event.RsetCommand,
		event.StartTlsCommand, event.DataCommand:
		s.argument.Argument = e.Argument
		s.command.Command = &s.argument
		w.Detail = &s.command
	}
	return w
}

func fillRecipient(box *agentv1.Mailbox, r *mail.Recipient) {
	box.Address, box.Id, box.Original = r.Path.String(), r.ID, ""
	if !r.Original.IsNull() && !r.Original.Equal(r.Path) {
		box.Original = r.Original.String()
	}
	box.Params = appendParams(box.Params[:0], r.Params)
}

func appendParams(to []*agentv1.EsmtpParam, params mail.Params) []*agentv1.EsmtpParam {
	for _, p := range params {
		to = append(to, &agentv1.EsmtpParam{Key: p.Keyword, Value: p.Value})
	}
	return to
}

func endReason(r event.DisconnectReason) agentv1.SessionEnd_Reason {
	return agentv1.SessionEnd_Reason(r) + agentv1.SessionEnd_REASON_QUIT
}

func rejectDetail(r *event.Rejection) *agentv1.RejectDetail {
	return &agentv1.RejectDetail{
		Reply: &agentv1.Reply{
			Code: uint32(r.Reply.Code), Enhanced: r.Reply.EnhancedString(), Lines: r.Reply.Lines,
		},
		Command:   r.Command,
		Recipient: r.Recipient,
		Cause:     agentv1.RejectDetail_Cause(r.Cause) + agentv1.RejectDetail_CAUSE_RELAY,
		Agent:     r.Agent,
		At:        agentv1.EventType(r.At),
	}
}

func connectionInfo(c *event.Connection) *agentv1.ConnectionInfo {
	info := &agentv1.ConnectionInfo{
		RemoteIp: octets(c.Remote.Addr()), RemotePort: uint32(c.Remote.Port()),
		LocalIp: octets(c.Local.Addr()), LocalPort: uint32(c.Local.Port()),
		RemoteHost: c.RemoteHost, Listener: c.Listener, StartedUnixMs: c.Started.UnixMilli(), ProxyIp: octets(c.Proxy),
		EarlyTalker: c.EarlyTalker, Internal: c.Internal, ImplicitTls: c.ImplicitTLS,
	}
	// The client of networks.relay knows who came to it; we do not. Of a proxy with nobody behind it there
	// is nothing to tell.
	if !c.Internal && c.Proxy != c.Remote.Addr() {
		info.LastExternalIp = info.RemoteIp
	}
	return info
}

func octets(a netip.Addr) []byte {
	if !a.IsValid() {
		return nil
	}
	return a.Unmap().AsSlice()
}

func clientState(c *event.Client) *agentv1.ClientState {
	s := &agentv1.ClientState{Hello: c.Hello, Esmtp: c.ESMTP, AuthUser: c.User, AuthMechanism: c.Mechanism}
	if c.TLS != nil {
		s.TlsVersion = tls.VersionName(c.TLS.Version)
		s.TlsCipher = tls.CipherSuiteName(c.TLS.CipherSuite)
		s.TlsSni = c.TLS.ServerName
		if len(c.TLS.PeerCertificates) > 0 {
			s.TlsPeerCertificate = c.TLS.PeerCertificates[0].Raw
		}
		s.TlsPeerVerified = len(c.TLS.VerifiedChains) > 0
	}
	return s
}

// envelopeOf makes the wire's envelope; an empty one says that there is no transaction.
func envelopeOf(e *mail.Envelope) *agentv1.Envelope {
	if e == nil {
		return &agentv1.Envelope{}
	}
	w := &agentv1.Envelope{
		From:      &agentv1.Mailbox{Address: e.From.String(), Params: appendParams(nil, e.Params)},
		MessageId: e.ID,
	}
	w.EnvelopeId, _ = e.Params.Get("ENVID")
	boxes := make([]agentv1.Mailbox, len(e.Recipients))
	w.Recipients = make([]*agentv1.Mailbox, len(e.Recipients))
	for i := range e.Recipients {
		fillRecipient(&boxes[i], &e.Recipients[i])
		w.Recipients[i] = &boxes[i]
	}
	return w
}

// fillHeaders makes block the fields that the agent is to see. names empty: all.
func fillHeaders(block *agentv1.HeaderBlock, h *mail.Header, names []string) {
	block.Raw, block.End, block.Id = block.Raw[:0], block.End[:0], block.Id[:0]
	plain := true // ids are 1..n and need not be sent
	for f := range h.All() {
		if !wanted(f, names) {
			continue
		}
		block.Raw = append(block.Raw, f.Raw...)
		block.End = append(block.End, uint32(len(block.Raw)))
		block.Id = append(block.Id, f.ID)
		plain = plain && f.ID == uint32(len(block.Id))
	}
	if plain {
		block.Id = block.Id[:0]
	}
}

func wanted(f mail.Field, names []string) bool {
	for _, n := range names {
		if f.Is(n) {
			return true
		}
	}
	return len(names) == 0
}

func propertyOf(p *event.Property, removed bool) *agentv1.Property {
	w := &agentv1.Property{Scope: agentv1.Property_SCOPE_SESSION, Key: p.Agent + "/" + p.Key, Removed: removed}
	if p.Scope == event.ScopeMessage {
		w.Scope = agentv1.Property_SCOPE_MESSAGE
	}
	if !removed {
		w.Value = p.Value
	}
	return w
}
