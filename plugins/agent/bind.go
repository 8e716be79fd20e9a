package agent

import (
	"context"
	"reflect"

	agentv1 "example.org/relay/proto/agent/v1"
)

// call runs one handler with what the event carries.
type call func(ctx context.Context, s *Session, e *agentv1.Event) Verdict

// binding ties an event to the two forms of its handler.
type binding struct {
	event   Event
	name    string
	headers bool // the event shows the header section
	// The interfaces of the two forms; decide is nil where there is only the watching one.
	decide, watch reflect.Type
	// bind returns the call of v's handler and whether it decides; nil where v has none.
	bind func(v any) (c call, decides bool)
}

func (b binding) withHeaders() binding {
	b.headers = true
	return b
}

func bind[D, W any](event Event, name string, decide func(D) call, watch func(W) call) binding {
	return binding{
		event: event, name: name, decide: reflect.TypeFor[D](), watch: reflect.TypeFor[W](),
		bind: func(v any) (call, bool) {
			if h, ok := v.(D); ok {
				return decide(h), true
			}
			if h, ok := v.(W); ok {
				return watch(h), false
			}
			return nil, false
		},
	}
}

// about and aboutWith make a call of a handler: subject picks the session or the message,
// detail what the handler gets beside it.
func about[S any](subject func(*Session) S, f func(context.Context, S) Verdict) call {
	return func(ctx context.Context, s *Session, _ *agentv1.Event) Verdict { return f(ctx, subject(s)) }
}

func aboutWith[S, D any](subject func(*Session) S, detail func(*agentv1.Event) D, f func(context.Context, S, D) Verdict) call {
	return func(ctx context.Context, s *Session, e *agentv1.Event) Verdict { return f(ctx, subject(s), detail(e)) }
}

// on and onWith are about and aboutWith for subjects that the event brings.
func on[S any](subject func(*Session, *agentv1.Event) S, f func(context.Context, S) Verdict) call {
	return func(ctx context.Context, s *Session, e *agentv1.Event) Verdict { return f(ctx, subject(s, e)) }
}

func onWith[S, D any](subject func(*Session, *agentv1.Event) S, detail func(*Session, *agentv1.Event) D, f func(context.Context, S, D) Verdict) call {
	return func(ctx context.Context, s *Session, e *agentv1.Event) Verdict {
		return f(ctx, subject(s, e), detail(s, e))
	}
}

// quiet and quietWith give a watching handler the result it does not have.
func quiet[S any](f func(context.Context, S)) func(context.Context, S) Verdict {
	return func(ctx context.Context, s S) Verdict { f(ctx, s); return Verdict{} }
}

func quietWith[S, D any](f func(context.Context, S, D)) func(context.Context, S, D) Verdict {
	return func(ctx context.Context, s S, d D) Verdict { f(ctx, s, d); return Verdict{} }
}

func itself(s *Session) *Session            { return s }
func argument(e *agentv1.Event) string      { return e.GetCommand().GetArgument() }
func sender(e *agentv1.Event) Mailbox       { return Mailbox{e.GetMail()} }
func inQuestion(e *agentv1.Event) Recipient { return Recipient{Mailbox{e.GetRcpt()}} }
func auth(e *agentv1.Event) Auth            { return authentication(e.GetAuth()) }
func refused(e *agentv1.Event) Rejection    { return rejection(e.GetReject()) }
func hop(e *agentv1.Event) NextHop {
	return NextHop{Name: e.GetProxy().GetNextHop(), Address: e.GetProxy().GetAddress()}
}
func item(s *Session, e *agentv1.Event) *MailItem {
	return &MailItem{inHand(s), routing(e.GetRouting())}
}
func resolved(s *Session, e *agentv1.Event) *ResolvedItem {
	return &ResolvedItem{item(s, e)}
}
func toDeliver(s *Session, e *agentv1.Event) *DeliveryItem {
	return &DeliveryItem{&MailItem{inHand(s), routing(e.GetDelivery().GetItem())}}
}

// routing is never nil: an edit changes it.
func routing(d *agentv1.RoutingDetail) *agentv1.RoutingDetail {
	if d == nil {
		return &agentv1.RoutingDetail{}
	}
	return d
}

func ended(e *agentv1.Event) DisconnectReason {
	return DisconnectReason(e.GetDisconnect().GetReason())
}

// ctx is short for the table below.
type ctx = context.Context

// bindings has every event once, in the order in which they fire. Set by init, because
// Event.String reads it.
var bindings []binding

func init() {
	bindings = []binding{
		bind(EventConnect, "OnConnect",
			func(h ConnectHandler) call { return about(itself, h.OnConnect) },
			func(h interface{ OnConnect(ctx, *Session) }) call { return about(itself, quiet(h.OnConnect)) }),
		bind(EventEhloCommand, "OnEhloCommand",
			func(h EhloCommandHandler) call { return aboutWith(itself, argument, h.OnEhloCommand) },
			func(h interface{ OnEhloCommand(ctx, *Session, string) }) call {
				return aboutWith(itself, argument, quietWith(h.OnEhloCommand))
			}),
		bind(EventHeloCommand, "OnHeloCommand",
			func(h HeloCommandHandler) call { return aboutWith(itself, argument, h.OnHeloCommand) },
			func(h interface{ OnHeloCommand(ctx, *Session, string) }) call {
				return aboutWith(itself, argument, quietWith(h.OnHeloCommand))
			}),
		bind(EventStartTlsCommand, "OnStartTlsCommand",
			func(h StartTlsCommandHandler) call { return about(itself, h.OnStartTlsCommand) },
			func(h interface{ OnStartTlsCommand(ctx, *Session) }) call {
				return about(itself, quiet(h.OnStartTlsCommand))
			}),
		bind(EventAuthCommand, "OnAuthCommand",
			func(h AuthCommandHandler) call { return aboutWith(itself, auth, h.OnAuthCommand) },
			func(h interface{ OnAuthCommand(ctx, *Session, Auth) }) call {
				return aboutWith(itself, auth, quietWith(h.OnAuthCommand))
			}),
		bind(EventEndOfAuthentication, "OnEndOfAuthentication",
			func(h EndOfAuthenticationHandler) call { return aboutWith(itself, auth, h.OnEndOfAuthentication) },
			func(h interface{ OnEndOfAuthentication(ctx, *Session, Auth) }) call {
				return aboutWith(itself, auth, quietWith(h.OnEndOfAuthentication))
			}),
		bind(EventMailCommand, "OnMailCommand",
			func(h MailCommandHandler) call { return aboutWith(inHand, sender, h.OnMailCommand) },
			func(h interface{ OnMailCommand(ctx, *Message, Mailbox) }) call {
				return aboutWith(inHand, sender, quietWith(h.OnMailCommand))
			}),
		bind(EventRcptCommand, "OnRcptCommand",
			func(h RcptCommandHandler) call { return aboutWith(inHand, inQuestion, h.OnRcptCommand) },
			func(h interface {
				OnRcptCommand(ctx, *Message, Recipient)
			}) call {
				return aboutWith(inHand, inQuestion, quietWith(h.OnRcptCommand))
			}),
		bind(EventDataCommand, "OnDataCommand",
			func(h DataCommandHandler) call { return about(inHand, h.OnDataCommand) },
			func(h interface{ OnDataCommand(ctx, *Message) }) call { return about(inHand, quiet(h.OnDataCommand)) }),
		bind(EventEndOfHeaders, "OnEndOfHeaders",
			func(h EndOfHeadersHandler) call { return about(inHand, h.OnEndOfHeaders) },
			func(h interface{ OnEndOfHeaders(ctx, *Message) }) call {
				return about(inHand, quiet(h.OnEndOfHeaders))
			}).withHeaders(),
		bind(EventProxyInboundMessage, "OnProxyInboundMessage",
			func(h ProxyInboundMessageHandler) call { return aboutWith(inHand, hop, h.OnProxyInboundMessage) },
			func(h interface{ OnProxyInboundMessage(ctx, *Message, NextHop) }) call {
				return aboutWith(inHand, hop, quietWith(h.OnProxyInboundMessage))
			}).withHeaders(),
		bind(EventEndOfData, "OnEndOfData",
			func(h EndOfDataHandler) call { return about(inHand, h.OnEndOfData) },
			func(h interface{ OnEndOfData(ctx, *Message) }) call {
				return about(inHand, quiet(h.OnEndOfData))
			}).withHeaders(),
		bind(EventRsetCommand, "OnRsetCommand",
			func(h RsetCommandHandler) call { return about(itself, h.OnRsetCommand) },
			func(h interface{ OnRsetCommand(ctx, *Session) }) call { return about(itself, quiet(h.OnRsetCommand)) }),
		bind(EventNoopCommand, "OnNoopCommand",
			func(h NoopCommandHandler) call { return aboutWith(itself, argument, h.OnNoopCommand) },
			func(h interface{ OnNoopCommand(ctx, *Session, string) }) call {
				return aboutWith(itself, argument, quietWith(h.OnNoopCommand))
			}),
		bind(EventHelpCommand, "OnHelpCommand",
			func(h HelpCommandHandler) call { return aboutWith(itself, argument, h.OnHelpCommand) },
			func(h interface{ OnHelpCommand(ctx, *Session, string) }) call {
				return aboutWith(itself, argument, quietWith(h.OnHelpCommand))
			}),
		bind(EventReject, "OnReject",
			func(h RejectHandler) call { return aboutWith(itself, refused, h.OnReject) },
			func(h interface {
				OnReject(ctx, *Session, Rejection)
			}) call {
				return aboutWith(itself, refused, quietWith(h.OnReject))
			}),
		watchOnly(EventDisconnect, "OnDisconnect",
			func(h DisconnectHandler) call { return aboutWith(itself, ended, quietWith(h.OnDisconnect)) }),
		bind(EventSubmittedMessage, "OnSubmittedMessage",
			func(h SubmittedMessageHandler) call { return on(item, h.OnSubmittedMessage) },
			func(h interface{ OnSubmittedMessage(ctx, *MailItem) }) call {
				return on(item, quiet(h.OnSubmittedMessage))
			}).withHeaders(),
		bind(EventResolvedMessage, "OnResolvedMessage",
			func(h ResolvedMessageHandler) call { return on(resolved, h.OnResolvedMessage) },
			func(h interface{ OnResolvedMessage(ctx, *ResolvedItem) }) call {
				return on(resolved, quiet(h.OnResolvedMessage))
			}).withHeaders(),
		bind(EventRoutedMessage, "OnRoutedMessage",
			func(h RoutedMessageHandler) call { return on(item, h.OnRoutedMessage) },
			func(h interface{ OnRoutedMessage(ctx, *MailItem) }) call {
				return on(item, quiet(h.OnRoutedMessage))
			}).withHeaders(),
		bind(EventCategorizedMessage, "OnCategorizedMessage",
			func(h CategorizedMessageHandler) call { return on(item, h.OnCategorizedMessage) },
			func(h interface{ OnCategorizedMessage(ctx, *MailItem) }) call {
				return on(item, quiet(h.OnCategorizedMessage))
			}).withHeaders(),
		bind(EventOpenConnection, "OnOpenConnection",
			func(h OpenConnectionHandler) call { return on(connection, h.OnOpenConnection) },
			func(h interface{ OnOpenConnection(ctx, *Connection) }) call {
				return on(connection, quiet(h.OnOpenConnection))
			}),
		bind(EventDeliverMailItem, "OnDeliverMailItem",
			func(h DeliverMailItemHandler) call { return onWith(connection, toDeliver, h.OnDeliverMailItem) },
			func(h interface {
				OnDeliverMailItem(ctx, *Connection, *DeliveryItem)
			}) call {
				return onWith(connection, toDeliver, quietWith(h.OnDeliverMailItem))
			}).withHeaders(),
		bind(EventCloseConnection, "OnCloseConnection",
			func(h CloseConnectionHandler) call { return on(connection, h.OnCloseConnection) },
			func(h interface{ OnCloseConnection(ctx, *Connection) }) call {
				return on(connection, quiet(h.OnCloseConnection))
			}),
	}
}

func watchOnly[W any](event Event, name string, watch func(W) call) binding {
	return binding{
		event: event, name: name, watch: reflect.TypeFor[W](),
		bind: func(v any) (call, bool) {
			if h, ok := v.(W); ok {
				return watch(h), false
			}
			return nil, false
		},
	}
}
