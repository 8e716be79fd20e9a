package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// editParams sets parameters of MAIL or RCPT by themselves. No recipient is added or taken away by
// that, so that it needs no declaration.
func (t *trial) editParams(e *event.Edit) error {
	needs := event.ChangeRecipients
	if e.Op == event.SetMailParams {
		needs = event.ChangeSender
	}
	if err := t.may(needs); err != nil {
		return err
	}
	env, err := t.change()
	if err != nil {
		return err
	}
	set := beside(e, 0)
	if len(set) == 0 {
		return errors.New("no parameter")
	}
	if e.Op == event.SetMailParams {
		return t.setMailParams(set)
	}
	i := env.Index(e.Recipient)
	if i < 0 {
		if t.gone && e.Recipient == t.question {
			return nil // an agent before this one has dropped it, which is no fault of this one
		}
		return fmt.Errorf("no recipient with the id %d", e.Recipient)
	}
	return t.setRcptParams(i, set)
}

// setMailParams and setRcptParams work on the copy of the envelope that is there already.
func (t *trial) setMailParams(set mail.Params) error {
	if len(set) == 0 {
		return nil
	}
	p, err := mail.SetMailParams(t.envelope.Params, set, t.utf8())
	if err != nil {
		return err
	}
	t.envelope.SetParams(p)
	t.mailParams = append(t.mailParams, set...)
	t.did("%s %s", event.SetMailParams, words(set))
	return nil
}

func (t *trial) setRcptParams(i int, set mail.Params) error {
	if len(set) == 0 {
		return nil
	}
	r := &t.envelope.Recipients[i]
	p, err := mail.SetRcptParams(r.Params, set, t.utf8())
	if err != nil {
		return err
	}
	t.envelope.SetRcptParams(i, p)
	t.did("%s %s %s", event.SetRcptParams, r.Path, words(set))
	return nil
}

// utf8 reports that the message may go beyond ASCII.
func (t *trial) utf8() bool {
	_, utf8 := t.s.State.Envelope.Params.Get("SMTPUTF8")
	return utf8
}

// beside are the parameters to set beside the n-th address.
func beside(e *event.Edit, n int) mail.Params {
	if n >= len(e.Params) {
		return nil
	}
	return e.Params[n]
}

// words are the parameters for the log.
func words(set mail.Params) string {
	all := make([]string, len(set))
	for i, p := range set {
		all[i] = p.Keyword + "=" + p.Value
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
