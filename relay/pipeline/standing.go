package pipeline

import (
	"fmt"
	"strings"

	"example.org/relay/relay/event"
)

// Standing is how an agent stands to an event.
type Standing struct {
	Agent   string
	Watches bool   // the event does not wait for it
	Asked   bool   // is shown the event
	Why     string // a phrase for the operator
}

// OpenQuestions are facts of a mail that is only thought of which nobody has told. What depends on them
// may come either way.
type OpenQuestions struct{ Sender, Recipients bool }

// Standings says how each agent bound to the event stands to it, in order, and asks none. It is for a
// session that is only thought of: as its events are gone through, in their order, agents count as
// having been shown those that concern them.
func (s *Session) Standings(ev event.Event, open OpenQuestions) []Standing {
	chain := s.order.byKind[ev.Kind]
	all := make([]Standing, len(chain))
	for i := range chain {
		b := &chain[i]
		p := &s.parts[b.index]
		asked, phrases := s.explain(b, p, &ev, open)
		all[i] = Standing{b.Name, b.notify, asked, strings.Join(phrases, "; ")}
		if asked {
			p.seq++
		}
	}
	return all
}

// LateAgents are those because of which LateRecipients holds, in order.
func (s *Session) LateAgents() []string {
	var all []string
	for i := range s.order.late {
		b := &s.order.late[i]
		if n := len(all); s.late(b) && (n == 0 || all[n-1] != b.Name) {
			all = append(all, b.Name)
		}
	}
	return all
}

// explain is concerns with its reasons. Where the agent is not asked, only what keeps it away is said.
func (s *Session) explain(b *bound, p *part, ev *event.Event, open OpenQuestions) (bool, []string) {
	if ev.Kind == event.Disconnect && b.filter.ofMessage() && b.filter.passes(ev, &s.State, byDirection) {
		if s.within(b, p, ev) {
			return true, []string{"bound, and has been shown something of the session"}
		}
		return false, []string{"narrowed by messages, and has been shown nothing of the session"}
	}
	phrases := []string{"bound"}
	for i := range b.filter {
		for c := byListener; c <= byRecipient; c++ {
			found := b.filter.judge(i, c, ev, &s.State)
			if found != unset && (c == bySender && open.Sender || c == byRecipient && open.Recipients) {
				found = unknown
			}
			n := &b.filter[i]
			switch found {
			case stops:
				return false, []string{fmt.Sprintf("narrowed %s to %s", n.by, n.words(c))}
			case matches:
				phrases = append(phrases, fmt.Sprintf("narrowed %s to %s, which it is", n.by, n.words(c)))
			case unknown:
				phrases = append(phrases, fmt.Sprintf("narrowed %s to %s, which is not known", n.by, n.words(c)))
			}
		}
	}
	return true, phrases
}

// words says what a criterion lets pass.
func (n *narrowing) words(c criterion) string {
	switch c {
	case byListener:
		return "listener " + strings.Join(n.Listeners, ", ")
	case byDirection:
		return n.Direction.String() + " clients"
	case byLogin:
		if n.Login == event.LoggedIn {
			return "clients who have logged in"
		}
		return "clients who have not logged in"
	case bySize:
		return fmt.Sprintf("messages of at most %d octets", n.MaxSize)
	case bySender:
		return "senders in " + strings.Join(n.SenderDomains, ", ")
	}
	return "recipients in " + strings.Join(n.RecipientDomains, ", ")
}
