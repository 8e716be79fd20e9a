package pipeline

import (
	"fmt"

	"example.org/relay/relay/event"
	"example.org/relay/relay/reply"
)

// actions is a set of actions.
type actions uint16

func set(all ...event.Action) actions {
	var s actions
	for _, a := range all {
		s |= 1 << a
	}
	return s
}

func (s actions) has(a event.Action) bool { return a < 16 && s&(1<<a) != 0 }

// What an event has beside Continue, Skip and Detach, which every event has.
var (
	onCommand = set(event.RejectIt, event.TempFail, event.Hangup, event.Accept)
	onMessage = onCommand | set(event.Discard)
)

// allowed is which actions an event has. At RcptCommand they are about the recipient. With
// OnProxyInboundMessage a message's fate is settled already; Reject follows a reply that
// has been given, so that only the connection is left to decide on.
var allowed = [event.NumKinds]actions{
	event.Connect:             onCommand,
	event.HeloCommand:         onCommand,
	event.EhloCommand:         onCommand,
	event.StartTlsCommand:     onCommand,
	event.AuthCommand:         onCommand,
	event.EndOfAuthentication: onCommand,
	event.MailCommand:         onMessage,
	event.RcptCommand:         onMessage,
	event.DataCommand:         onMessage,
	event.EndOfHeaders:        onMessage,
	event.EndOfData:           onMessage,
	event.HelpCommand:         onCommand,
	event.NoopCommand:         onCommand,
	event.RsetCommand:         onCommand,
	event.ProxyInboundMessage: set(event.Accept),
	event.Reject:              set(event.Hangup),
}

// permitted says why an agent may not take this action at this event.
func permitted(role event.Role, k event.Kind, a event.Action, granted event.Permissions) error {
	if !a.Terminal() {
		return nil
	}
	if !role.Has(k) || !allowed[k].has(a) {
		return fmt.Errorf("%s is no verdict on %s at the %s", a, k, role)
	}
	needs := event.Permission(0)
	switch a {
	case event.RejectIt, event.TempFail, event.Hangup:
		needs = event.MayReject
	case event.Discard:
		needs = event.MayDiscard
	}
	if needs != 0 && !granted.Has(needs) {
		return fmt.Errorf("%s needs the permission %q, which was not granted", a, needs)
	}
	return nil
}

// replyFor checks the reply of a verdict, or finds the default one. It is the zero Reply where
// the event goes on as usual.
func replyFor(k event.Kind, a event.Action, r reply.Reply) (reply.Reply, error) {
	var classes []int
	switch a {
	case event.RejectIt:
		classes = []int{5}
	case event.TempFail:
		classes = []int{4}
	case event.Hangup:
		classes = []int{4, 5}
	case event.Continue, event.Accept, event.Skip, event.Detach:
		if k != event.HelpCommand && k != event.NoopCommand || r.Code == 0 && len(r.Lines) == 0 {
			return reply.Reply{}, nil
		}
		classes = []int{2}
	default:
		return reply.Reply{}, nil
	}
	usual := defaultReply(k, a)
	if r.Code == 0 {
		r.Code, r.Enhanced = usual.Code, usual.Enhanced
	}
	if len(r.Lines) == 0 {
		r.Lines = usual.Lines
	}
	if err := checkReply(r, classes...); err != nil {
		return reply.Reply{}, fmt.Errorf("verdict %s: %w", a, err)
	}
	return r, nil
}

// defaultReply is what the client hears where the agent has not said.
func defaultReply(k event.Kind, a event.Action) reply.Reply {
	switch a {
	case event.Hangup:
		return reply.New(421, reply.Enhanced{Subject: 7}, "closing connection")
	case event.RejectIt:
		switch k {
		case event.Connect:
			return reply.New(554, reply.Enhanced{Subject: 7, Detail: 1}, "rejected") // RFC 5321 §3.1
		case event.EndOfAuthentication:
			// RFC 4954 §6; in the words of a wrong password: whoever guesses must not learn that it was right.
			return reply.New(535, reply.Enhanced{Subject: 7, Detail: 8}, "authentication credentials invalid")
		}
		return reply.New(550, reply.Enhanced{Subject: 7, Detail: 1}, "rejected")
	case event.TempFail:
		switch k {
		case event.Connect:
			return reply.New(421, reply.Enhanced{Subject: 7, Detail: 1}, "try again later") // RFC 5321 §4.3.2
		case event.StartTlsCommand, event.AuthCommand, event.EndOfAuthentication:
			return reply.New(454, reply.Enhanced{Subject: 7}, "try again later") // RFC 3207 §4, RFC 4954 §6
		}
		return reply.New(451, reply.Enhanced{Subject: 7, Detail: 1}, "try again later")
	}
	if k == event.HelpCommand {
		return reply.New(214, reply.Enhanced{}, "ok") // RFC 5321 §4.3.2
	}
	return reply.New(250, reply.Enhanced{}, "ok")
}

// checkReply says why an agent's reply must not reach a client. Text beyond ASCII is for
// clients that have asked for it (RFC 6531 §3.7.4.2), which an agent cannot know of all its
// replies.
func checkReply(r reply.Reply, classes ...int) error {
	if err := reply.Check(r, classes...); err != nil {
		return err
	}
	if r.Code/10%10 > 5 { // RFC 5321 §4.2: Reply-code
		return fmt.Errorf("reply code %d: its second digit must be from 0 to 5", r.Code)
	}
	for _, l := range r.Lines {
		for i := range len(l) {
			if l[i] > '~' {
				return fmt.Errorf("reply line %.40q: must be printable ASCII", l)
			}
		}
	}
	return nil
}
