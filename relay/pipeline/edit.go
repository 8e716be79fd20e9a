package pipeline

import (
	"fmt"
	"slices"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// MaxEdits is how many edits one verdict may have.
const MaxEdits = 1000

// trial is the edits of one verdict, made on copies of what they change, so that all or none
// of them happen.
type trial struct {
	s  *Session
	b  *Binding
	at event.Kind

	envelope *mail.Envelope // nil: not changed
	header   *mail.Header   // nil: not changed
	bag      []event.Property
	bagged   bool // bag is in use

	// question is at RcptCommand the recipient that the event is about, or that took its
	// place; gone, that an agent earlier in the chain has taken it out.
	question uint32
	gone     bool

	mailParams mail.Params // that were set on the sender

	done []string // for the log
}

// edit makes all edits, or none and says why. It returns what the log says of those that
// changed the mail.
func (s *Session) edit(b *Binding, ev *event.Event, edits []event.Edit) (done []string, err error) {
	if len(edits) == 0 {
		return nil, nil
	}
	if len(edits) > MaxEdits {
		return nil, fmt.Errorf("%d edits in one verdict: at most %d are taken", len(edits), MaxEdits)
	}
	defer func() {
		if v := recover(); v != nil {
			done, err = nil, fmt.Errorf("edits: panic: %v", v)
		}
	}()
	t := trial{s: s, b: b, at: ev.Kind}
	if ev.Kind == event.RcptCommand && s.State.Envelope != nil {
		t.question = ev.Recipient.ID
		t.gone = s.State.Envelope.Index(t.question) < 0
	}
	for i := range edits {
		if err := t.apply(&edits[i]); err != nil {
			return nil, fmt.Errorf("edit %d, %s: %w", i+1, edits[i].Op, err)
		}
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	t.commit()
	s.refresh(ev, &t)
	return t.done, nil
}

func (t *trial) apply(e *event.Edit) error {
	switch e.Op {
	case event.AddHeader, event.ReplaceHeader, event.RemoveHeader, event.RemoveHeaders:
		return t.editHeader(e)
	case event.SetSender:
		return t.setSender(e)
	case event.AddRecipient, event.RemoveRecipient, event.ReplaceRecipient:
		return t.editRecipients(e)
	case event.SetMailParams, event.SetRcptParams:
		return t.editParams(e)
	case event.SetProperty:
		return t.setProperty(e)
	case event.Unsupported:
		return fmt.Errorf("%s is not for the %s", e.Detail, t.s.pipeline.Role)
	}
	return fmt.Errorf("unknown kind of edit %d", uint8(e.Op))
}

// may says why the agent may not do what needs the permission.
func (t *trial) may(p event.Permission) error {
	if !t.b.Granted.Has(p) {
		return fmt.Errorf("needs the permission %q, which was not granted", p)
	}
	return nil
}

func (t *trial) did(format string, args ...any) {
	t.done = append(t.done, fmt.Sprintf(format, args...))
}

// check is what only the outcome of all edits can show.
func (t *trial) check() error {
	if h := t.header; h != nil {
		was := t.s.State.Header
		if size := h.Size(); t.s.HeaderLimit > 0 && size > t.s.HeaderLimit && size > was.Size() {
			return fmt.Errorf("edits make the header section %d octets long: at most %d are taken", size, t.s.HeaderLimit)
		}
		if err := checkSeams(was, h); err != nil {
			return err
		}
	}
	if e := t.envelope; e != nil {
		n := len(e.Recipients)
		if t.s.RecipientLimit > 0 && n > t.s.RecipientLimit && n > len(t.s.State.Envelope.Recipients) {
			return fmt.Errorf("edits make %d recipients: at most %d are taken", n, t.s.RecipientLimit)
		}
	}
	if t.bagged {
		return checkBag(t.bag, t.b.Name)
	}
	return nil
}

// commit puts the outcome in the place of what was. Whoever runs the session holds the same
// envelope and header, so that they are changed where they are.
func (t *trial) commit() {
	state := &t.s.State
	if t.envelope != nil {
		*state.Envelope = *t.envelope
	}
	if t.header != nil {
		*state.Header = *t.header
	}
	if t.bagged {
		state.Bag = t.bag
		state.BagRevision++
	}
	t.s.notice()
}

// refresh brings the facts of an event up to date after edits, for the next agent of the
// chain.
func (s *Session) refresh(ev *event.Event, t *trial) {
	e := s.State.Envelope
	if e == nil {
		return
	}
	switch ev.Kind {
	case event.MailCommand:
		ev.From = e.From
		if len(t.mailParams) > 0 { // what was not set stays as the client said it
			ev.Params, _ = mail.SetMailParams(ev.Params, t.mailParams, true) // they have been set once
		}
	case event.RcptCommand:
		if i := e.Index(t.question); i >= 0 {
			ev.Recipient = e.Recipients[i]
		}
	}
}

// changesMail reports whether an event is one at which sender and recipients can be changed.
func changesMail(k event.Kind) bool {
	switch k {
	case event.MailCommand, event.RcptCommand, event.DataCommand, event.EndOfHeaders, event.EndOfData:
		return true
	}
	return false
}

// firing is the place of each event in firing order.
var firing = func() (place [event.NumKinds]int) {
	for i, k := range event.Kinds() {
		place[k] = i
	}
	return place
}()

func (t *trial) protected(id uint32) bool { return slices.Contains(t.s.protected, id) }
