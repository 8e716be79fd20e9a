package agent

import (
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// Permission is something an agent may do to the mail. It asks with [Asks], the operator
// grants at install, and the relay refuses whatever was not granted.
type Permission int32

// The permissions. An agent bound to OnEndOfHeaders or a later event of a message asks for
// ReadHeaders without saying so, one bound to OnEndOfData or OnDeliverMailItem for ReadBody as
// well, and the latter for DeliverMail.
const (
	ReadHeaders      = Permission(agentv1.Permission_PERMISSION_READ_HEADERS)      // sees the header section
	ReadBody         = Permission(agentv1.Permission_PERMISSION_READ_BODY)         // sees the body
	ChangeHeaders    = Permission(agentv1.Permission_PERMISSION_CHANGE_HEADERS)    // header edits
	ChangeBody       = Permission(agentv1.Permission_PERMISSION_CHANGE_BODY)       // a new body
	ChangeSender     = Permission(agentv1.Permission_PERMISSION_CHANGE_SENDER)     // SetSender, SetParam
	ChangeRecipients = Permission(agentv1.Permission_PERMISSION_CHANGE_RECIPIENTS) // add, remove, replace recipients
	RejectMail       = Permission(agentv1.Permission_PERMISSION_REJECT)            // Reject, TempFail, Disconnect
	DiscardMail      = Permission(agentv1.Permission_PERMISSION_DISCARD)           // Discard
	SubmitMail       = Permission(agentv1.Permission_PERMISSION_SUBMIT)            // new messages
	RelayMail        = Permission(agentv1.Permission_PERMISSION_RELAY)             // addresses outside the accepted domains
	UseNetwork       = Permission(agentv1.Permission_PERMISSION_NETWORK)           // talks to others over the network
	RouteMail        = Permission(agentv1.Permission_PERMISSION_ROUTE)             // SetRoute, SetPriority
	DeliverMail      = Permission(agentv1.Permission_PERMISSION_DELIVER)           // delivers in the relay's place
)

// String returns the name, such as "change_headers".
func (p Permission) String() string {
	return strings.ToLower(strings.TrimPrefix(agentv1.Permission(p).String(), "PERMISSION_"))
}
