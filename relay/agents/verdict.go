package agents

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// verdictOf reads an agent's verdict. What the contract does not allow is event.ErrProtocol,
// the agent's own failure event.ErrFailed.
func verdictOf(w *agentv1.Verdict) (event.Verdict, error) {
	if f := w.Failure; f != nil {
		return event.Verdict{}, fmt.Errorf("%w: %s", event.ErrFailed, oneLine(f.Detail, 300))
	}
	if w.Action < 0 || w.Action > agentv1.Action_ACTION_DELIVERED {
		return event.Verdict{}, fmt.Errorf("%w: unknown action %d", event.ErrProtocol, w.Action)
	}
	if len(w.Edits) > agentv1.MaxEdits {
		return event.Verdict{}, fmt.Errorf("%w: %d edits in a verdict, at most %d are allowed", event.ErrProtocol, len(w.Edits), agentv1.MaxEdits)
	}
	v := event.Verdict{Seq: w.Seq, Action: event.Action(w.Action), Reason: oneLine(w.Reason, 500)}
	var err error
	if v.Reply, err = replyOf(w.Reply); err != nil {
		return event.Verdict{}, fmt.Errorf("%w: %w", event.ErrProtocol, err)
	}
	if len(w.Edits) > 0 {
		v.Edits = make([]event.Edit, len(w.Edits))
		for i, e := range w.Edits {
			v.Edits[i] = editOf(e)
		}
	}
	return v, nil
}

// replyOf reads a reply. Whether its class fits the action is the pipeline's to check.
func replyOf(w *agentv1.Reply) (reply.Reply, error) {
	if w == nil {
		return reply.Reply{}, nil
	}
	r := reply.Reply{Code: int(w.Code), Lines: w.Lines}
	if w.Code != 0 && (w.Code < 200 || w.Code > 599) {
		return r, fmt.Errorf("reply code %d: must be from 200 to 599", w.Code)
	}
	for _, l := range w.Lines {
		if len(l) > 510 || strings.ContainsAny(l, "\r\n\x00") {
			return r, errors.New("reply text: a line must have at most 510 octets and no CR, LF or NUL")
		}
	}
	if w.Enhanced == "" {
		r.Enhanced = defaultEnhanced(r.Code)
		return r, nil
	}
	class, e, err := parseEnhanced(w.Enhanced)
	if err == nil && class != r.Class() && r.Code != 0 {
		err = fmt.Errorf("enhanced status code %s: its class is not that of reply code %d", w.Enhanced, r.Code)
	}
	r.Enhanced = e
	return r, err
}

// defaultEnhanced is "delivery not authorized" (RFC 3463 §3.8) for a refusal: the reply of
// an agent is a policy's.
func defaultEnhanced(code int) reply.Enhanced {
	switch {
	case code < 400:
		return reply.Enhanced{}
	case code == 421:
		return reply.Enhanced{Subject: 7}
	}
	return reply.Enhanced{Subject: 7, Detail: 1}
}

// parseEnhanced reads "5.7.1" (RFC 3463 §2).
func parseEnhanced(s string) (class int, e reply.Enhanced, err error) {
	parts := strings.Split(s, ".")
	var n [3]int
	bad := len(parts) != 3 || (parts[0] != "2" && parts[0] != "4" && parts[0] != "5")
	for i := 0; i < len(parts) && !bad; i++ {
		digits := parts[i]
		v, convErr := strconv.Atoi(digits)
		bad = convErr != nil || len(digits) > 3 || strconv.Itoa(v) != digits || v < 0
		n[i] = v
	}
	if bad {
		return 0, e, fmt.Errorf("enhanced status code %.20q: must be like 5.7.1", s)
	}
	return n[0], reply.Enhanced{Subject: n[1], Detail: n[2]}, nil
}

func editOf(w *agentv1.Edit) event.Edit {
	switch op := w.Op.(type) {
	case *agentv1.Edit_AddHeader:
		e := event.Edit{Op: event.AddHeader, Name: op.AddHeader.GetName(), Value: op.AddHeader.GetValue()}
		switch at := op.AddHeader.GetAt().(type) {
		case *agentv1.AddHeader_Bottom:
			e.Place = mail.Place{Bottom: at.Bottom}
		case *agentv1.AddHeader_BeforeId:
			e.Place = mail.Place{Before: at.BeforeId}
		case *agentv1.AddHeader_AfterId:
			e.Place = mail.Place{After: at.AfterId}
		}
		return e
	case *agentv1.Edit_ReplaceHeader:
		h := op.ReplaceHeader
		return event.Edit{Op: event.ReplaceHeader, Field: h.GetId(), Name: h.GetName(), Value: h.GetValue()}
	case *agentv1.Edit_RemoveHeader:
		if name, ok := op.RemoveHeader.GetWhich().(*agentv1.RemoveHeader_AllNamed); ok {
			return event.Edit{Op: event.RemoveHeaders, Name: name.AllNamed}
		}
		return event.Edit{Op: event.RemoveHeader, Field: op.RemoveHeader.GetId()}
	case *agentv1.Edit_SetSender:
		return boxEdit(event.SetSender, op.SetSender)
	case *agentv1.Edit_AddRecipient:
		return boxEdit(event.AddRecipient, op.AddRecipient)
	case *agentv1.Edit_SetMailParams:
		return event.Edit{Op: event.SetMailParams, Params: []mail.Params{paramsOf(op.SetMailParams.GetParams())}}
	case *agentv1.Edit_SetRcptParams:
		w := op.SetRcptParams
		return event.Edit{Op: event.SetRcptParams, Recipient: w.GetRecipientId(), Params: []mail.Params{paramsOf(w.GetParams())}}
	case *agentv1.Edit_RemoveRecipient:
		if op.RemoveRecipient.GetDsn() {
			return event.Edit{Op: event.Unsupported, Detail: "remove_recipient with a DSN"}
		}
		return event.Edit{Op: event.RemoveRecipient, Recipient: op.RemoveRecipient.GetRecipientId()}
	case *agentv1.Edit_ReplaceRecipient:
		e := boxEdit(event.ReplaceRecipient, op.ReplaceRecipient.GetWith()...)
		e.Recipient = op.ReplaceRecipient.GetRecipientId()
		return e
	case *agentv1.Edit_SetProperty:
		return propertyEdit(op.SetProperty)
	}
	return event.Edit{Op: event.Unsupported, Detail: editName(w)}
}

// boxEdit is an edit that names mailboxes.
func boxEdit(op event.Op, boxes ...*agentv1.Mailbox) event.Edit {
	e := event.Edit{Op: op, Addresses: make([]string, len(boxes))}
	for i, box := range boxes {
		e.Addresses[i] = box.GetAddress()
		if len(box.GetParams()) == 0 {
			continue
		}
		if e.Params == nil {
			e.Params = make([]mail.Params, len(boxes))
		}
		e.Params[i] = paramsOf(box.GetParams())
	}
	return e
}

// paramsOf reads parameters that are to be set; which can be, is not decided here.
func paramsOf(list []*agentv1.EsmtpParam) mail.Params {
	all := make(mail.Params, len(list))
	for i, p := range list {
		all[i] = mail.Param{Keyword: p.GetKey(), Value: p.GetValue(), HasValue: p.GetValue() != ""}
	}
	return all
}

func propertyEdit(w *agentv1.SetProperty) event.Edit {
	p := w.GetProperty()
	e := event.Edit{Op: event.SetProperty, Removed: p.GetRemoved(), Property: event.Property{
		Key: p.GetKey(), Value: p.GetValue(), Private: w.GetPrivate(),
	}}
	switch p.GetScope() {
	case agentv1.Property_SCOPE_SESSION:
	case agentv1.Property_SCOPE_MESSAGE:
		e.Property.Scope = event.ScopeMessage
	default:
		return event.Edit{Op: event.Unsupported, Detail: "property of scope " + p.GetScope().String()}
	}
	return e
}

// editName is the contract's name of an edit, for the log.
func editName(w *agentv1.Edit) string {
	m := w.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().ByName("op")); f != nil {
		return string(f.Name())
	}
	return "an edit this relay does not know"
}
