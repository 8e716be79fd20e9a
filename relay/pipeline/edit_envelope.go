package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// change returns the copy of the envelope that edits work on.
func (t *trial) change() (*mail.Envelope, error) {
	if !changesMail(t.at) {
		return nil, fmt.Errorf("sender and recipients cannot be changed at %s", t.at)
	}
	if t.envelope == nil {
		if t.s.State.Envelope == nil {
			return nil, errors.New("there is no mail transaction")
		}
		t.envelope = t.s.State.Envelope.Clone()
	}
	return t.envelope, nil
}

// parse reads an address that an agent made. It may go beyond ASCII only where the message
// may (RFC 6531 §3.3).
func (t *trial) parse(address string) (mail.Path, error) {
	return mail.ParseMailbox(address, t.utf8())
}

func (t *trial) setSender(e *event.Edit) error {
	if err := t.may(event.ChangeSender); err != nil {
		return err
	}
	env, err := t.change()
	if err != nil {
		return err
	}
	if len(e.Addresses) != 1 {
		return fmt.Errorf("%d addresses: must be one", len(e.Addresses))
	}
	from, err := t.parse(e.Addresses[0])
	if err != nil {
		return err
	}
	env.SetFrom(from)
	t.did("%s <%s>", e.Op, from)
	return t.setMailParams(beside(e, 0))
}

func (t *trial) editRecipients(e *event.Edit) error {
	if err := t.may(event.ChangeRecipients); err != nil {
		return err
	}
	env, err := t.change()
	if err != nil {
		return err
	}
	// Recipients may have been verified by now (recipient_check): only what was declared at
	// install time made the relay wait with that.
	if firing[t.at] >= firing[event.DataCommand] &&
		(t.b.ChangesRecipientsAt == 0 || firing[t.at] > firing[t.b.ChangesRecipientsAt]) {
		return fmt.Errorf("undeclared recipient edit: the agent has not declared that it changes recipients at %s", t.at)
	}
	to, err := t.forward(e)
	if err != nil {
		return err
	}
	if e.Op == event.AddRecipient {
		if len(to) != 1 {
			return fmt.Errorf("%d addresses: must be one", len(to))
		}
		env.Add(mail.Recipient{Path: to[0]})
		t.did("%s %s", e.Op, to[0])
		return t.setRcptParams(len(env.Recipients)-1, beside(e, 0))
	}
	i := env.Index(e.Recipient)
	if i < 0 {
		if t.gone && e.Recipient == t.question {
			return nil // an agent before this one has dropped it, which is no fault of this one
		}
		return fmt.Errorf("no recipient with the id %d", e.Recipient)
	}
	old := env.Recipients[i].Path
	if e.Op == event.RemoveRecipient {
		env.Remove(e.Recipient)
		t.did("%s %s", e.Op, old)
		return nil
	}
	if len(to) == 0 {
		return errors.New("no address: to drop a recipient, remove it")
	}
	env.Replace(e.Recipient, to)
	if e.Recipient == t.question {
		t.question = env.Recipients[i].ID
	}
	t.did("%s %s by %s", e.Op, old, join(to))
	for n := range to {
		if err := t.setRcptParams(i+n, beside(e, n)); err != nil {
			return err
		}
	}
	return nil
}

// forward reads the addresses of a recipient edit and checks that the agent may send there:
// without the permission, only to the accepted domains.
func (t *trial) forward(e *event.Edit) ([]mail.Path, error) {
	if e.Op == event.RemoveRecipient {
		return nil, nil
	}
	domains := t.s.pipeline.domains.Load()
	to := make([]mail.Path, 0, len(e.Addresses))
	for _, a := range e.Addresses {
		p, err := recipient(a, t.utf8(), domains, t.b.Granted)
		if err != nil {
			return nil, err
		}
		to = append(to, p)
	}
	return to, nil
}

// recipient reads an address that an agent has made and checks that it may send there.
func recipient(address string, utf8 bool, domains *mail.Domains, granted event.Permissions) (mail.Path, error) {
	p, err := mail.ParseMailbox(address, utf8)
	switch {
	case err != nil:
		return p, err
	case p.IsNull():
		return p, errors.New("the null path is no recipient")
	case !domains.Contains(p.Domain) && !granted.Has(event.MayRelay):
		return p, fmt.Errorf("%s is not in the accepted domains, and the permission %q was not granted", p, event.MayRelay)
	}
	return p, nil
}

// join prints paths for the log, as many as are of use there.
func join(paths []mail.Path) string {
	const most = 10
	words := make([]string, 0, most+1)
	for i, p := range paths {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(paths)-most))
			break
		}
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}
