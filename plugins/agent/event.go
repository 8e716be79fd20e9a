package agent

import (
	agentv1 "example.org/relay/proto/agent/v1"
)

// Event names a point in a session or in the life of a message.
type Event int32

// The events. Which of them an agent may bind depends on the transport service it is
// installed for: the relay refuses at install what the service does not offer.
const (
	EventConnect             = Event(agentv1.EventType_EVENT_TYPE_CONNECT)
	EventEhloCommand         = Event(agentv1.EventType_EVENT_TYPE_EHLO_COMMAND)
	EventHeloCommand         = Event(agentv1.EventType_EVENT_TYPE_HELO_COMMAND)
	EventStartTlsCommand     = Event(agentv1.EventType_EVENT_TYPE_START_TLS_COMMAND)
	EventAuthCommand         = Event(agentv1.EventType_EVENT_TYPE_AUTH_COMMAND)
	EventEndOfAuthentication = Event(agentv1.EventType_EVENT_TYPE_END_OF_AUTHENTICATION)
	EventMailCommand         = Event(agentv1.EventType_EVENT_TYPE_MAIL_COMMAND)
	EventRcptCommand         = Event(agentv1.EventType_EVENT_TYPE_RCPT_COMMAND)
	EventDataCommand         = Event(agentv1.EventType_EVENT_TYPE_DATA_COMMAND)
	EventEndOfHeaders        = Event(agentv1.EventType_EVENT_TYPE_END_OF_HEADERS)
	EventEndOfData           = Event(agentv1.EventType_EVENT_TYPE_END_OF_DATA)
	EventRsetCommand         = Event(agentv1.EventType_EVENT_TYPE_RSET_COMMAND)
	EventNoopCommand         = Event(agentv1.EventType_EVENT_TYPE_NOOP_COMMAND)
	EventHelpCommand         = Event(agentv1.EventType_EVENT_TYPE_HELP_COMMAND)
	EventReject              = Event(agentv1.EventType_EVENT_TYPE_REJECT)
	EventDisconnect          = Event(agentv1.EventType_EVENT_TYPE_DISCONNECT)
	EventProxyInboundMessage = Event(agentv1.EventType_EVENT_TYPE_PROXY_INBOUND_MESSAGE)
	EventSubmittedMessage    = Event(agentv1.EventType_EVENT_TYPE_SUBMITTED_MESSAGE)
	EventResolvedMessage     = Event(agentv1.EventType_EVENT_TYPE_RESOLVED_MESSAGE)
	EventRoutedMessage       = Event(agentv1.EventType_EVENT_TYPE_ROUTED_MESSAGE)
	EventCategorizedMessage  = Event(agentv1.EventType_EVENT_TYPE_CATEGORIZED_MESSAGE)
	EventOpenConnection      = Event(agentv1.EventType_EVENT_TYPE_OPEN_CONNECTION)
	EventDeliverMailItem     = Event(agentv1.EventType_EVENT_TYPE_DELIVER_MAIL_ITEM)
	EventCloseConnection     = Event(agentv1.EventType_EVENT_TYPE_CLOSE_CONNECTION)
)

// String returns the name of the event's handler, such as "OnMailCommand".
func (e Event) String() string {
	for i := range bindings {
		if bindings[i].event == e {
			return bindings[i].name
		}
	}
	return agentv1.EventType(e).String()
}

// Auth is what AUTH gave.
type Auth struct {
	Mechanism string
	User      string
	Success   bool // at OnEndOfAuthentication
}

// NextHop is where a FrontEnd is about to send a message.
type NextHop struct {
	Name    string // as the relay's configuration calls it
	Address string
}

// Reply is an SMTP reply.
type Reply struct {
	Code     int
	Enhanced string // "5.7.1"; empty where there is none
	Lines    []string
}

// Rejection is a refusal that the client was just given.
type Rejection struct {
	Reply     Reply
	Command   string // the command line refused; "." for the end of data
	Recipient string // at RCPT: the address in question
	Cause     Cause
	Agent     string // with CauseAgent: who refused
	At        Event  // with CauseAgent: where
}

// Cause says who refused.
type Cause int32

// The causes of a Rejection.
const (
	CauseRelay   = Cause(agentv1.RejectDetail_CAUSE_RELAY)    // a rule of the relay
	CauseAgent   = Cause(agentv1.RejectDetail_CAUSE_AGENT)    // an agent's verdict
	CauseNextHop = Cause(agentv1.RejectDetail_CAUSE_NEXT_HOP) // the next hop's answer
)

// DisconnectReason says how a session ended.
type DisconnectReason int32

// The reasons of OnDisconnect.
const (
	Quit       = DisconnectReason(agentv1.SessionEnd_REASON_QUIT)        // the client said QUIT
	ClientLost = DisconnectReason(agentv1.SessionEnd_REASON_CLIENT_LOST) // the connection broke
	HostClosed = DisconnectReason(agentv1.SessionEnd_REASON_HOST_CLOSED) // the relay closed it
	Drain      = DisconnectReason(agentv1.SessionEnd_REASON_DRAIN)       // the relay is shutting down
)

// wire is nil for the zero Reply: the relay says its own.
func (r Reply) wire() *agentv1.Reply {
	if r.Code == 0 && r.Enhanced == "" && len(r.Lines) == 0 {
		return nil
	}
	return &agentv1.Reply{Code: uint32(r.Code), Enhanced: r.Enhanced, Lines: split(r.Lines)}
}

func replyOf(r *agentv1.Reply) Reply {
	return Reply{Code: int(r.GetCode()), Enhanced: r.GetEnhanced(), Lines: r.GetLines()}
}

func rejection(d *agentv1.RejectDetail) Rejection {
	return Rejection{
		Reply:     replyOf(d.GetReply()),
		Command:   d.GetCommand(),
		Recipient: d.GetRecipient(),
		Cause:     Cause(d.GetCause()),
		Agent:     d.GetAgent(),
		At:        Event(d.GetAt()),
	}
}

func authentication(d *agentv1.AuthDetail) Auth {
	return Auth{Mechanism: d.GetMechanism(), User: d.GetUser(), Success: d.GetSuccess()}
}
