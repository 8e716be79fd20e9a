package pipeline

import "example.org/relay/relay/event"

// Entry is one verdict that did something, or one failure, for the log of the message.
type Entry struct {
	Agent  string
	At     event.Kind
	Action event.Action
	Edits  []string // "replace-header Subject", "replace-recipient alice_shop@example.org by alice@example.org"
	Reason string
	Err    error // the failure; Action is then what the policy made of it
}

// maxEntries bounds what is kept of a session that nobody takes the entries of: a client
// that is refused for hours without ever coming to a message.
const maxEntries = 256

// maxReason bounds what the log takes of an agent's own words, in bytes.
const maxReason = 500

// TakeEntries returns the entries since the last call, the latest 256 of them.
func (s *Session) TakeEntries() []Entry {
	taken := s.entries
	s.entries = nil
	return taken
}

func (s *Session) note(e Entry) {
	e.Reason = bounded(e.Reason)
	if len(s.entries) >= maxEntries {
		s.entries = append(s.entries[:0], s.entries[1:]...)
	}
	s.entries = append(s.entries, e)
}

// bounded cuts an agent's words to what the log takes.
func bounded(words string) string { return words[:min(len(words), maxReason)] }
