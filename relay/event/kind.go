package event

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is an event agents can be bound to. The values are those of the wire contract's
// EventType.
type Kind uint8

// The events, named as in the documents.
const (
	Connect             Kind = 1
	EhloCommand         Kind = 2
	HeloCommand         Kind = 3
	StartTlsCommand     Kind = 4
	AuthCommand         Kind = 5
	EndOfAuthentication Kind = 6
	MailCommand         Kind = 7
	RcptCommand         Kind = 8
	DataCommand         Kind = 9
	EndOfHeaders        Kind = 10
	EndOfData           Kind = 11
	RsetCommand         Kind = 12
	NoopCommand         Kind = 13
	HelpCommand         Kind = 14
	Reject              Kind = 15
	Disconnect          Kind = 16
	ProxyInboundMessage Kind = 17
	SubmittedMessage    Kind = 32
	ResolvedMessage     Kind = 33
	RoutedMessage       Kind = 34
	CategorizedMessage  Kind = 35
	OpenConnection      Kind = 48
	DeliverMailItem     Kind = 49
	CloseConnection     Kind = 50

	// NumKinds is more than every Kind: arrays indexed by Kind have this length.
	NumKinds = 51
)

// kinds are all events in firing order, with their documented names.
var kinds = []struct {
	kind Kind
	name string
}{
	{Connect, "OnConnect"},
	{HeloCommand, "OnHeloCommand"},
	{EhloCommand, "OnEhloCommand"},
	{StartTlsCommand, "OnStartTlsCommand"},
	{AuthCommand, "OnAuthCommand"},
	{EndOfAuthentication, "OnEndOfAuthentication"},
	{MailCommand, "OnMailCommand"},
	{RcptCommand, "OnRcptCommand"},
	{DataCommand, "OnDataCommand"},
	{EndOfHeaders, "OnEndOfHeaders"},
	{ProxyInboundMessage, "OnProxyInboundMessage"},
	{EndOfData, "OnEndOfData"},
	{HelpCommand, "OnHelpCommand"},
	{NoopCommand, "OnNoopCommand"},
	{RsetCommand, "OnRsetCommand"},
	{Reject, "OnReject"},
	{Disconnect, "OnDisconnect"},
	{SubmittedMessage, "OnSubmittedMessage"},
	{ResolvedMessage, "OnResolvedMessage"},
	{RoutedMessage, "OnRoutedMessage"},
	{CategorizedMessage, "OnCategorizedMessage"},
	{OpenConnection, "OnOpenConnection"},
	{DeliverMailItem, "OnDeliverMailItem"},
	{CloseConnection, "OnCloseConnection"},
}

// Kinds returns all events in firing order. The ones that can come at any time follow
// those of a message.
func Kinds() []Kind {
	all := make([]Kind, len(kinds))
	for i := range kinds {
		all[i] = kinds[i].kind
	}
	return all
}

// String returns the documented name, "OnRcptCommand".
func (k Kind) String() string {
	for i := range kinds {
		if kinds[i].kind == k {
			return kinds[i].name
		}
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// aliases are the second spellings in Exchange's documents.
var aliases = map[string]Kind{
	"onconnectevent":    Connect,
	"ondisconnectevent": Disconnect,
	"onrcpttocommand":   RcptCommand,
}

// ParseKind reads a documented name, whatever the case, aliases included.
func ParseKind(name string) (Kind, bool) {
	for i := range kinds {
		if strings.EqualFold(kinds[i].name, name) {
			return kinds[i].kind, true
		}
	}
	k, ok := aliases[strings.ToLower(name)]
	return k, ok
}

// Role is a transport service that agents are installed for.
type Role string

// The roles. Agents run in the first three.
const (
	FrontEnd          Role = "FrontEnd"
	Hub               Role = "Hub"
	Edge              Role = "Edge"
	MailboxSubmission Role = "MailboxSubmission"
	MailboxDelivery   Role = "MailboxDelivery"
)

var roles = []Role{FrontEnd, Hub, Edge, MailboxSubmission, MailboxDelivery}

// ParseRole reads a role's name, whatever the case.
func ParseRole(name string) (Role, error) {
	for _, r := range roles {
		if strings.EqualFold(string(r), name) {
			return r, nil
		}
	}
	return "", fmt.Errorf("transport service %q: must be FrontEnd, Hub, Edge, MailboxSubmission or MailboxDelivery", name)
}

var smtpEvents = []Kind{
	HeloCommand, EhloCommand, StartTlsCommand, AuthCommand, EndOfAuthentication, MailCommand, RcptCommand, DataCommand,
	EndOfHeaders, HelpCommand, NoopCommand, RsetCommand, Reject, Disconnect,
}

var queueEvents = []Kind{
	EndOfData, SubmittedMessage, ResolvedMessage, RoutedMessage, CategorizedMessage,
	OpenConnection, DeliverMailItem, CloseConnection,
}

// roleEvents is the role matrix.
var roleEvents = map[Role][]Kind{
	FrontEnd: append([]Kind{Connect, ProxyInboundMessage}, smtpEvents...),
	Hub:      append(slices.Clone(queueEvents), smtpEvents...),
	Edge:     append(append([]Kind{Connect}, queueEvents...), smtpEvents...),
}

// Has reports whether agents of the role see the event.
func (r Role) Has(k Kind) bool { return slices.Contains(roleEvents[r], k) }

// Events returns the role's events in firing order.
func (r Role) Events() []Kind {
	var all []Kind
	for _, k := range Kinds() {
		if r.Has(k) {
			all = append(all, k)
		}
	}
	return all
}

// CheckRole says, in a sentence for the operator, why an agent that binds these events
// cannot be installed for the role. It returns nil where it can.
func CheckRole(agent string, role Role, bound []Kind) error {
	if len(roleEvents[role]) == 0 {
		return fmt.Errorf("agent %s: no agents in this service: %s takes none; %s do", agent, role, rolesWithAgents())
	}
	for _, k := range bound {
		if role.Has(k) {
			continue
		}
		var takes []string
		for _, r := range roles {
			if r.Has(k) {
				takes = append(takes, string(r))
			}
		}
		if len(takes) == 0 {
			return fmt.Errorf("agent %s binds %s, which no transport service has", agent, k)
		}
		return fmt.Errorf("agent %s binds %s, which transport service %s does not have; it can be installed for %s",
			agent, k, role, strings.Join(takes, " or "))
	}
	return nil
}

// rolesWithAgents names the roles that have events: "A, B and C".
func rolesWithAgents() string {
	var names []string
	for _, r := range roles {
		if len(roleEvents[r]) > 0 {
			names = append(names, string(r))
		}
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
