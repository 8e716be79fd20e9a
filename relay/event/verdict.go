package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Action is what an agent wants to happen. The values are those of the wire contract.
type Action uint8

// The actions. The zero value continues.
const (
	Continue   Action = 0
	RejectIt   Action = 1 // 5yz
	TempFail   Action = 2 // 4yz
	Hangup     Action = 3 // reply (421 by default), then close: the contract's DISCONNECT
	Discard    Action = 4 // 250 to the client, then drop
	Accept     Action = 5 // no further agents for this event
	Skip       Action = 6 // continue; no more events of this kind in this session
	Detach     Action = 7 // continue; nothing more of this session
	Quarantine Action = 8
	Defer      Action = 9
	Delete     Action = 10
	Delivered  Action = 11
)

var actionNames = [...]string{"continue", "reject", "tempfail", "disconnect", "discard", "accept", "skip", "detach",
	"quarantine", "defer", "delete", "delivered"}

// String returns the word for logs and documents.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown"
}

// Terminal reports whether the action ends the event's chain.
func (a Action) Terminal() bool {
	return a != Continue && a != Skip && a != Detach
}

// Verdict is an agent's answer to one event. The zero value continues.
type Verdict struct {
	Seq    uint32 // of the event it answers
	Action Action
	Reply  reply.Reply // Code 0: the default of the action
	Edits  []Edit      // in order, all or none
	Reason string      // for log and trace, never for the client
}

// Op is the kind of an edit.
type Op uint8

// The edits of this contract.
const (
	AddHeader Op = iota + 1
	ReplaceHeader
	RemoveHeader    // by Field
	RemoveHeaders   // all of Name
	SetSender       // Addresses[0], Params[0]
	AddRecipient    // Addresses[0], Params[0]
	RemoveRecipient // Recipient
	ReplaceRecipient
	SetMailParams // Params[0]
	SetRcptParams // Recipient, Params[0]
	SetProperty
	// Unsupported is an edit the host's contract knows but that no event of a configured role takes.
	Unsupported
)

var opNames = [...]string{"", "add-header", "replace-header", "remove-header", "remove-headers", "set-sender",
	"add-recipient", "remove-recipient", "replace-recipient", "set-mail-params", "set-rcpt-params", "set-property", "unsupported"}

// String returns the word for logs and documents.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "unknown"
}

// Edit is one change an agent wants. Which fields count depends on Op. Addresses are not
// parsed yet: whoever applies the edit parses and checks them.
type Edit struct {
	Op        Op
	Name      string     // header edits
	Value     []byte     // header edits
	Field     uint32     // header edits: the field's id
	Place     mail.Place // AddHeader
	Recipient uint32     // recipient edits: the recipient's id
	Addresses []string   // SetSender, AddRecipient, ReplaceRecipient: mailboxes without <>
	// Params are what to set beside each of Addresses, one without a value to be taken out; nil where
	// there is nothing to set beside any.
	Params   []mail.Params
	Property Property // SetProperty; Agent is filled in by the host
	Removed  bool     // SetProperty: take the entry out
	Detail   string   // Unsupported: what it was
}

// Why a call to an agent gave no verdict. Each is wrapped with the circumstances.
var (
	// ErrTimeout: the agent did not answer within the event's time limit. Not retried.
	ErrTimeout = errors.New("agent did not answer in time")
	// ErrUnavailable: the process died or cannot be started, and time or patience for another try is over.
	ErrUnavailable = errors.New("agent is not running")
	// ErrProtocol: the agent said something the contract does not allow.
	ErrProtocol = errors.New("agent broke the contract")
	// ErrFailed: the agent says it could not judge (a panic in a handler among it).
	ErrFailed = errors.New("agent could not judge")
	// ErrOverloaded: no stream was free within the time limit.
	ErrOverloaded = errors.New("agent is overloaded")
	// ErrPoison: this message kills the agent. Tempfailed whatever the policy, and never shown again.
	ErrPoison = errors.New("message kills the agent")
	// ErrDetached: the agent was disabled or removed in mid-session; it has no say any more.
	ErrDetached = errors.New("agent is gone from this session")
)

// Permission is something an agent may do to the mail. The values are those of the wire contract.
type Permission uint8

// The permissions.
const (
	ReadHeaders      Permission = 1
	ReadBody         Permission = 2
	ChangeHeaders    Permission = 3
	ChangeBody       Permission = 4
	ChangeSender     Permission = 5
	ChangeRecipients Permission = 6
	MayReject        Permission = 7
	MayDiscard       Permission = 8
	MaySubmit        Permission = 9
	MayRelay         Permission = 10
	MayNetwork       Permission = 11
	MayRoute         Permission = 12
	MayDeliver       Permission = 13

	// NumPermissions is more than every Permission.
	NumPermissions = 14
)

var permissionNames = [...]string{"", "read-headers", "read-body", "change-headers", "change-body", "change-sender",
	"change-recipients", "reject", "discard", "submit", "relay", "network", "route", "deliver"}

// String returns the word operators grant by.
func (p Permission) String() string {
	if int(p) < len(permissionNames) {
		return permissionNames[p]
	}
	return "unknown"
}

var permissionMeanings = [...]string{"", "see the header section", "see the content", "change header fields",
	"change the content", "change the sender", "add, replace and drop recipients", "refuse mail and end sessions",
	"drop mail that the client is told was taken", "send mail of its own", "address mail to domains that are not accepted",
	"use the network", "choose the way of a message", "deliver messages itself"}

// Meaning says in plain words what the agent may do.
func (p Permission) Meaning() string {
	if int(p) < len(permissionMeanings) {
		return permissionMeanings[p]
	}
	return "unknown"
}

// Permissions is a set of them.
type Permissions uint32

// AllPermissions is the set of all there are.
const AllPermissions Permissions = 1<<NumPermissions - 1<<ReadHeaders

// ParsePermissions reads the words that operators grant by.
func ParsePermissions(words []string) (Permissions, error) {
	var set Permissions
	for _, w := range words {
		i := slices.Index(permissionNames[:], w)
		if i <= 0 {
			return 0, fmt.Errorf("unknown permission %q: must be one of %s", w, strings.Join(AllPermissions.List(), ", "))
		}
		set = set.With(Permission(i))
	}
	return set, nil
}

// Has reports whether p is in the set.
func (s Permissions) Has(p Permission) bool { return s&(1<<p) != 0 }

// With returns the set with p in it.
func (s Permissions) With(p Permission) Permissions { return s | 1<<p }

// List returns the words of all in the set.
func (s Permissions) List() []string {
	var all []string
	for p := ReadHeaders; p < NumPermissions; p++ {
		if s.Has(p) {
			all = append(all, p.String())
		}
	}
	return all
}

// Subscription is one event an agent is bound to.
type Subscription struct {
	Kind   Kind
	Notify bool
	Filter Filter // what the agent narrows itself to at this event
}

// Equal reports whether the subscriptions say the same.
func (s Subscription) Equal(t Subscription) bool {
	return s.Kind == t.Kind && s.Notify == t.Notify && s.Filter.Equal(t.Filter)
}
