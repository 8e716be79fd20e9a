package agent

import "context"

// The handlers. An agent has one or more of them; each binds its event. The same method
// without a result watches instead of deciding.
type (
	// ConnectHandler is asked when a client has connected, before the banner.
	ConnectHandler interface {
		OnConnect(ctx context.Context, s *Session) Verdict
	}
	// HeloCommandHandler is asked at HELO, with the domain the client gave.
	HeloCommandHandler interface {
		OnHeloCommand(ctx context.Context, s *Session, domain string) Verdict
	}
	// EhloCommandHandler is asked at EHLO, with the domain the client gave.
	EhloCommandHandler interface {
		OnEhloCommand(ctx context.Context, s *Session, domain string) Verdict
	}
	// StartTlsCommandHandler is asked at STARTTLS, before the relay answers 220.
	StartTlsCommandHandler interface {
		OnStartTlsCommand(ctx context.Context, s *Session) Verdict
	}
	// AuthCommandHandler is asked at AUTH, before the exchange.
	AuthCommandHandler interface {
		OnAuthCommand(ctx context.Context, s *Session, a Auth) Verdict
	}
	// EndOfAuthenticationHandler is asked when the exchange has ended.
	EndOfAuthenticationHandler interface {
		OnEndOfAuthentication(ctx context.Context, s *Session, a Auth) Verdict
	}
	// MailCommandHandler is asked at MAIL. m has no recipients yet.
	MailCommandHandler interface {
		OnMailCommand(ctx context.Context, m *Message, from Mailbox) Verdict
	}
	// RcptCommandHandler is asked at RCPT. m.Recipients are those accepted before.
	RcptCommandHandler interface {
		OnRcptCommand(ctx context.Context, m *Message, rcpt Recipient) Verdict
	}
	// DataCommandHandler is asked at DATA or the first BDAT, before 354.
	DataCommandHandler interface {
		OnDataCommand(ctx context.Context, m *Message) Verdict
	}
	// EndOfHeadersHandler is asked when the header section is in, before the body. A FrontEnd
	// takes edits up to here.
	EndOfHeadersHandler interface {
		OnEndOfHeaders(ctx context.Context, m *Message) Verdict
	}
	// EndOfDataHandler is asked when the whole message is in, before the relay answers 250.
	// Services without a queue do not have it.
	EndOfDataHandler interface {
		OnEndOfData(ctx context.Context, m *Message) Verdict
	}
	// RsetCommandHandler is asked at RSET. s.Message is the one given up.
	RsetCommandHandler interface {
		OnRsetCommand(ctx context.Context, s *Session) Verdict
	}
	// NoopCommandHandler is asked at NOOP.
	NoopCommandHandler interface {
		OnNoopCommand(ctx context.Context, s *Session, argument string) Verdict
	}
	// HelpCommandHandler is asked at HELP. Continue().Text(…) is the answer.
	HelpCommandHandler interface {
		OnHelpCommand(ctx context.Context, s *Session, argument string) Verdict
	}
	// RejectHandler is asked after every 4xx or 5xx reply, whoever caused it. It may only
	// continue or disconnect.
	RejectHandler interface {
		OnReject(ctx context.Context, s *Session, r Rejection) Verdict
	}
	// DisconnectHandler is told that the session has ended. It has no deciding form.
	DisconnectHandler interface {
		OnDisconnect(ctx context.Context, s *Session, reason DisconnectReason)
	}
	// ProxyInboundMessageHandler is asked when a FrontEnd has chosen the next hop, before DATA
	// goes to it; once for each message. It may only continue or accept, and set properties.
	ProxyInboundMessageHandler interface {
		OnProxyInboundMessage(ctx context.Context, m *Message, hop NextHop) Verdict
	}
	// SubmittedMessageHandler is asked when a message has come out of the queue, before its
	// recipients are resolved: an alias belongs here or earlier. Services without a queue have
	// neither this nor the events below.
	SubmittedMessageHandler interface {
		OnSubmittedMessage(ctx context.Context, i *MailItem) Verdict
	}
	// ResolvedMessageHandler is asked when the recipients are resolved and none has its next
	// hop: the one place to choose it.
	ResolvedMessageHandler interface {
		OnResolvedMessage(ctx context.Context, i *ResolvedItem) Verdict
	}
	// RoutedMessageHandler is asked when each recipient has its next hop.
	RoutedMessageHandler interface {
		OnRoutedMessage(ctx context.Context, i *MailItem) Verdict
	}
	// CategorizedMessageHandler is asked last before delivery: sign here.
	CategorizedMessageHandler interface {
		OnCategorizedMessage(ctx context.Context, i *MailItem) Verdict
	}
	// OpenConnectionHandler is asked when mail waits for a next hop that the agent delivers
	// to. [Connected], [DeferQueue] and [FailQueue] are the answers.
	OpenConnectionHandler interface {
		OnOpenConnection(ctx context.Context, c *Connection) Verdict
	}
	// DeliverMailItemHandler is asked to deliver one message. [Delivered], [Defer] and [Reject]
	// are the answers, and those of the queue.
	DeliverMailItemHandler interface {
		OnDeliverMailItem(ctx context.Context, c *Connection, i *DeliveryItem) Verdict
	}
	// CloseConnectionHandler is asked to close the connection: nothing more is to come.
	CloseConnectionHandler interface {
		OnCloseConnection(ctx context.Context, c *Connection) Verdict
	}
)
