package pipeline

import (
	"strings"
	"testing"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

func setting(t *testing.T, s string) []mail.Params {
	t.Helper()
	var p mail.Params
	for _, word := range strings.Fields(s) {
		key, value, _ := strings.Cut(word, "=")
		p = append(p, mail.Param{Keyword: key, Value: value})
	}
	return []mail.Params{p}
}

func TestParameterEdits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		at     event.Kind
		edit   event.Edit
		change func(*Binding)
		mail   string // afterwards
		rcpts  string
		fault  string
	}{
		{name: "of the sender", at: event.MailCommand, edit: event.Edit{Op: event.SetMailParams, Params: setting(t, "RET=HDRS ENVID=")},
			mail: " SIZE=9 RET=HDRS", rcpts: "|"},
		{name: "of a recipient, undeclared", edit: event.Edit{Op: event.SetRcptParams, Recipient: 2, Params: setting(t, "NOTIFY=NEVER")},
			change: func(b *Binding) { b.ChangesRecipientsAt = 0 }, mail: " SIZE=9 ENVID=x", rcpts: "| NOTIFY=NEVER"},
		{name: "beside a sender", edit: event.Edit{Op: event.SetSender, Addresses: []string{""}, Params: setting(t, "AUTH=<>")},
			mail: " SIZE=9 ENVID=x AUTH=<>", rcpts: "|"},
		{name: "beside a new recipient", edit: event.Edit{Op: event.AddRecipient, Addresses: []string{"c@example.org"}, Params: setting(t, "NOTIFY=DELAY")},
			mail: " SIZE=9 ENVID=x", rcpts: "|| NOTIFY=DELAY"},
		{name: "beside one of two", edit: event.Edit{Op: event.ReplaceRecipient, Recipient: 1, Addresses: []string{"c@example.org", "d@example.org"},
			Params: append([]mail.Params{nil}, setting(t, "NOTIFY=DELAY")...)}, mail: " SIZE=9 ENVID=x", rcpts: "| NOTIFY=DELAY|"},
		{name: "untrue", edit: event.Edit{Op: event.SetMailParams, Params: setting(t, "SIZE=1")}, fault: "cannot be set"},
		{name: "none", edit: event.Edit{Op: event.SetMailParams}, fault: "no parameter"},
		{name: "of nobody", edit: event.Edit{Op: event.SetRcptParams, Recipient: 7, Params: setting(t, "NOTIFY=NEVER")}, fault: "id 7"},
		{name: "sender's without permission", edit: event.Edit{Op: event.SetMailParams, Params: setting(t, "RET=FULL")},
			change: without(event.ChangeSender), fault: `"change-sender"`},
		{name: "recipient's without permission", edit: event.Edit{Op: event.SetRcptParams, Recipient: 1, Params: setting(t, "NOTIFY=NEVER")},
			change: without(event.ChangeRecipients), fault: `"change-recipients"`},
		{name: "too late", at: event.ProxyInboundMessage, edit: event.Edit{Op: event.SetMailParams, Params: setting(t, "RET=FULL")}, fault: "cannot be changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := tt.at
			if at == 0 {
				at = event.EndOfHeaders
			}
			f := &fake{decide: answer(event.Verdict{Edits: []event.Edit{tt.edit}})}
			b := bind("a", f, at)
			if tt.change != nil {
				tt.change(&b)
			}
			_, s := open(event.FrontEnd, b)
			env, _ := inMessage(t, s)
			env.SetParams(mail.Params{{Keyword: "SIZE", Value: "9", HasValue: true}, {Keyword: "ENVID", Value: "x", HasValue: true}})
			revision := env.Revision
			d := s.Fire(t.Context(), event.Event{Kind: at})
			if tt.fault != "" {
				if d.Err == nil || !strings.Contains(d.Err.Error(), tt.fault) || env.Revision != revision {
					t.Errorf("error %v, revision %d, want a fault with %q and no change", d.Err, env.Revision-revision, tt.fault)
				}
				return
			}
			var rcpts []string
			for _, r := range env.Recipients {
				rcpts = append(rcpts, r.Params.String())
			}
			if got := strings.Join(rcpts, "|"); d.Err != nil || env.Params.String() != tt.mail || got != tt.rcpts || env.Revision == revision {
				t.Errorf("%v: MAIL%s, RCPT %q, want %s, %q", d.Err, env.Params, got, tt.mail, tt.rcpts)
			}
		})
	}
}

// What the client said at MAIL, agents further down are shown as those before them have left it.
func TestParametersSetAtMailAreShownToTheNextAgent(t *testing.T) {
	first := &fake{decide: answer(event.Verdict{Edits: []event.Edit{{Op: event.SetMailParams, Params: setting(t, "RET=HDRS")}}})}
	second := &fake{}
	_, s := open(event.FrontEnd, bind("a", first, event.MailCommand), bind("b", second, event.MailCommand))
	said := mail.Params{{Keyword: "AUTH", Value: "claimed@example.net", HasValue: true}, {Keyword: "RET", Value: "FULL", HasValue: true}}
	s.Begin(&mail.Envelope{ID: "m1", Params: mail.Params{{Keyword: "AUTH", Value: "<>", HasValue: true}, said[1]}})
	s.Fire(t.Context(), event.Event{Kind: event.MailCommand, Params: said})
	if got := second.frames[0][0].Params.String(); got != " AUTH=claimed@example.net RET=HDRS" {
		t.Errorf("shown%s", got)
	}
	if said[1].Value != "FULL" {
		t.Error("the client's own parameters have been changed")
	}
}
