package pipeline

import (
	"bytes"
	"errors"
	"fmt"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

var errProtected = errors.New("the relay's own trace cannot be changed")

func (t *trial) editHeader(e *event.Edit) error {
	if t.at != event.EndOfHeaders && t.at != event.EndOfData {
		return fmt.Errorf("header fields cannot be changed at %s", t.at)
	}
	if err := t.may(event.ChangeHeaders); err != nil {
		return err
	}
	if t.header == nil {
		if t.s.State.Header == nil {
			return errors.New("there is no header section")
		}
		t.header = t.s.State.Header.Clone()
	}
	switch e.Op {
	case event.AddHeader:
		if _, err := t.header.Add(e.Place, e.Name, e.Value); err != nil {
			return err
		}
		t.did("%s %s", e.Op, e.Name)
		return nil
	case event.RemoveHeaders:
		return t.removeHeaders(e.Name)
	}
	f, ok := fieldByID(t.header, e.Field)
	if !ok {
		return mail.ErrNoField
	}
	if t.protected(e.Field) {
		return errProtected
	}
	if e.Op == event.RemoveHeader {
		t.did("%s %s", e.Op, f.Name())
		return t.header.Remove(e.Field)
	}
	if err := t.header.Replace(e.Field, e.Name, e.Value); err != nil {
		return err
	}
	if e.Name == "" {
		t.did("%s %s", e.Op, f.Name())
	} else {
		t.did("%s %s", e.Op, e.Name)
	}
	return nil
}

// removeHeaders takes out all fields of the name but our own trace: who wants the trace of
// others gone does not mean ours.
func (t *trial) removeHeaders(name string) error {
	var ids []uint32
	for f := range t.header.All() {
		if f.Is(name) && !t.protected(f.ID) {
			ids = append(ids, f.ID)
		}
	}
	for _, id := range ids {
		if err := t.header.Remove(id); err != nil {
			return err
		}
	}
	if len(ids) > 0 {
		t.did("%s %s (%d)", event.RemoveHeaders, name, len(ids))
	}
	return nil
}

func fieldByID(h *mail.Header, id uint32) (mail.Field, bool) {
	for f := range h.All() {
		if f.ID == id {
			return f, true
		}
	}
	return mail.Field{}, false
}

// checkSeams says where an edit has put fields side by side that would be read as one. A
// section as it came may begin with white space or end without a line end: what is then put
// above or below it would run into it.
func checkSeams(was, now *mail.Header) error {
	next := map[uint32]uint32{} // of the odd fields only
	scan(was, func(above, below mail.Field) { next[above.ID] = below.ID })
	var err error
	scan(now, func(above, below mail.Field) {
		if id, there := next[above.ID]; !there || id != below.ID {
			err = fmt.Errorf("fields %q and %q would run into one", above.Name(), below.Name())
		}
	})
	return err
}

// scan calls f for neighbours with no boundary between them.
func scan(h *mail.Header, f func(above, below mail.Field)) {
	var above mail.Field
	for below := range h.All() {
		if above.ID != 0 && (!bytes.HasSuffix(above.Raw, []byte{'\n'}) || len(below.Raw) > 0 && (below.Raw[0] == ' ' || below.Raw[0] == '\t')) {
			f(above, below)
		}
		above = below
	}
}
