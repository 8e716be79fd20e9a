package frontend

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// unreachable is a next hop that answers nobody, or has no connection to spare.
type unreachable struct {
	NextHop
	why reply.Enhanced
}

func (u unreachable) Begin(ctx context.Context, _ mail.Client) (Delivery, error) {
	<-ctx.Done()
	return nil, &reply.Error{Reply: reply.New(451, u.why, "next hop unavailable"), Err: context.Cause(ctx)}
}

func TestATransactionWaitsOnceForANextHopThatDoesNotAnswer(t *testing.T) {
	for want, why := range map[string]reply.Enhanced{"4.4.1": {Subject: 4, Detail: 1}, "4.3.2": {Subject: 3, Detail: 2}} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, Live, nil)
			set := *h.f.settings.Load()
			set.NextHop = unreachable{set.NextHop, why}
			h.f.Set(set)
			begun := time.Now()
			h.mail("bob@example.net")
			for range 100 {
				h.wantReply(h.rcpt("alice@example.org"), 451, want)
			}
			h.Session.Reset(t.Context())
			if waited := time.Since(begun); waited != hopPatience {
				t.Errorf("%s: waited %v, want %v", want, waited, hopPatience)
			}
		})
	}
}

var noSuchUser = reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "no such user")

// atRcpt is an agent that makes these edits at RCPT of an address, and gives this verdict.
func atRcpt(local string, action event.Action, edits ...event.Edit) fakeAgent {
	return fakeAgent{event.RcptCommand: func(_ *event.State, ev event.Event) event.Verdict {
		if ev.Recipient.Path.Local == local {
			return event.Verdict{Action: action, Edits: edits}
		}
		return event.Verdict{}
	}}
}

func replace(id uint32, by ...string) event.Edit {
	return event.Edit{Op: event.ReplaceRecipient, Recipient: id, Addresses: by}
}

// Whoever refuses the RCPT, what agents did on its occasion has not happened: a recipient
// that was answered 250 before is still to get the message, and nobody else is.
func TestRefusedRcptChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		agent fakeAgent
		code  int
		hop   []string
	}{
		{"agent refuses", atRcpt("carol", event.RejectIt, replace(1, "moved@example.org"), replace(2, "a@example.org", "b@example.org"),
			event.Edit{Op: event.SetSender, Addresses: []string{"s@example.org"}}), 550, []string{"DATA", "content", "release"}},
		{"agent discards", atRcpt("carol", event.Discard, replace(1, "moved@example.org"),
			event.Edit{Op: event.AddRecipient, Addresses: []string{"archive@example.org"}}), 250, []string{"DATA", "content", "release"}},
		{"next hop refuses", atRcpt("carol", event.Continue, replace(1, "moved@example.org"), replace(2, "a@example.org", "gone@example.org"),
			event.Edit{Op: event.SetSender, Addresses: []string{"s@example.org"}}), 550,
			[]string{"RSET", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, Live, tt.agent)
			h.hop.answers["gone@example.org"] = noSuchUser
			h.mail("bob@example.net")
			h.wantReply(h.rcpt("alice@example.org"), 250, "")
			h.wantReply(h.rcpt("carol@example.org"), tt.code, "")
			h.hop.log = nil
			h.wantReply(h.send(message), 250, "")
			h.wantHop(tt.hop...)
		})
	}
}

func TestRecipientReplacedByManyIsTakenOrRefusedWhole(t *testing.T) {
	h := start(t, Live, atRcpt("team", event.Continue, replace(2, "a@example.org", "gone@example.org", "c@example.org")))
	h.hop.answers["gone@example.org"] = reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "<gone@example.org>: no such user")
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("alice@example.org"), 250, "")
	h.wantReply(h.rcpt("team@example.org"), 550, "<team@example.org>: no such user")
	h.wantReply(h.rcpt("dave@example.org"), 250, "")
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "RCPT <a@example.org>", "RCPT <gone@example.org>",
		"RSET", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <dave@example.org>", "DATA", "content", "release")
}

// The next hop may have changed its mind about alice meanwhile, which is no answer to the RCPT
// of carol.
func TestAnswerToARcptIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Live, nil)
		h.mail("bob@example.net")
		h.wantReply(h.rcpt("alice@example.org"), 250, "")
		time.Sleep(idleRelease + time.Second)
		synctest.Wait()
		h.hop.answers["alice@example.org"] = reply.New(550, reply.Enhanced{Subject: 2, Detail: 1}, "alice is away")
		h.hop.answers["carol@example.org"] = reply.New(250, reply.Enhanced{Subject: 1, Detail: 5}, "carol is here")
		h.wantReply(h.rcpt("carol@example.org"), 250, "carol is here")
		h.hop.log = nil
		h.wantReply(h.send(message), 550, "refused for <alice@example.org>: alice is away")
		if log := strings.Join(h.hop.log, " "); strings.Contains(log, "content") {
			t.Errorf("a part was sent: %s", log)
		}
	})
}

func TestConnectionLostBetweenRecipientsIsReplayedOnce(t *testing.T) {
	h := start(t, Live, nil)
	h.hop.lost["RCPT"] = true
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("alice@example.org"), 250, "")
	h.wantReply(h.rcpt("carol@example.org"), 250, "")
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "RCPT <carol@example.org>",
		"begin", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <carol@example.org>", "DATA", "content", "release")
}

// A server says 421 too when its patience with an idle connection is over.
func Test421WhileTheClientWasThinkingIsReplayedOnce(t *testing.T) {
	for _, at := range []string{"carol@example.org", "DATA"} {
		h := start(t, Live, nil)
		h.mail("bob@example.net")
		h.wantReply(h.rcpt("alice@example.org"), 250, "")
		h.hop.once = map[string]reply.Reply{at: reply.New(421, reply.Enhanced{Subject: 4, Detail: 2}, "timeout exceeded")}
		h.wantReply(h.rcpt("carol@example.org"), 250, "")
		h.wantReply(h.send(message), 250, "")
	}
}

// RFC 5321 §4.2.1: the first digit decides. To call taken mail refused would have it sent again.
func TestAny2yzIsSuccess(t *testing.T) {
	for _, check := range []Check{Live, Deferred} {
		h := start(t, check, nil)
		for _, stage := range []string{"MAIL", "alice@example.org", "content"} {
			h.hop.answers[stage] = reply.New(253, reply.Enhanced{None: true}, "fine")
		}
		h.mail("bob@example.net")
		h.wantReply(h.rcpt("alice@example.org"), 250, "")
		h.wantReply(h.send(message), 250, "2.0.0 fine (id S1-1)")
	}
}

func Test3yzOutOfPlaceIs451(t *testing.T) {
	for _, check := range []Check{Live, Deferred} {
		for _, stage := range []string{"MAIL", "alice@example.org", "content"} {
			h := start(t, check, nil)
			h.hop.answers[stage] = reply.New(354, reply.None, "go ahead")
			h.mail("bob@example.net")
			got := h.rcpt("alice@example.org")
			if got.Positive() {
				got = h.send(message)
			}
			h.wantReply(got, 451, "4.4.2")
		}
	}
}

func TestRewrittenSenderIsMasked(t *testing.T) {
	for _, tt := range []struct{ from, want string }{
		{"bob@example.net", "5.1.8 <bob@example.net>: bad sender"},
		{"", "5.1.8 <the sender>: bad sender"},
	} {
		h := start(t, Live, fakeAgent{event.MailCommand: func(*event.State, event.Event) event.Verdict {
			return event.Verdict{Edits: []event.Edit{{Op: event.SetSender, Addresses: []string{"srs0=x@example.org"}}}}
		}})
		h.hop.answers["MAIL"] = reply.New(550, reply.Enhanced{Subject: 1, Detail: 8}, "<SRS0=x@example.org>: bad sender")
		h.mail(tt.from)
		h.wantReply(h.rcpt("alice@example.org"), 550, tt.want)
	}
}

func TestRefusalOfTheRelayAtRcptIsAnAlert(t *testing.T) {
	h := start(t, Live, nil)
	h.hop.answers["alice@example.org"] = reply.New(530, reply.Enhanced{Subject: 7}, "must issue STARTTLS first")
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("alice@example.org"), 451, "4.4.0")
	if log := h.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "must issue STARTTLS first") {
		t.Errorf("no alert in the log:\n%s", log)
	}
}

func TestEachRefusedRecipientIsNamedOnce(t *testing.T) {
	h := start(t, Deferred, fakeAgent{event.EndOfHeaders: func(*event.State, event.Event) event.Verdict {
		return event.Verdict{Edits: []event.Edit{replace(1, "a@example.org", "b@example.org"),
			{Op: event.AddRecipient, Addresses: []string{"archive@example.org"}}}}
	}})
	for _, r := range []string{"a", "b", "archive"} {
		h.hop.answers[r+"@example.org"] = reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "<"+r+"@example.org> unknown")
	}
	h.mail("bob@example.net")
	h.rcpt("team@example.org")
	got := h.send(message)
	h.wantReply(got, 550, "refused for <team@example.org>, <a further recipient>: <team@example.org> unknown")
	if strings.Contains(got.Text(), "archive") {
		t.Errorf("reply %q names what the agent added", got)
	}
}

func TestAuthServID(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{" mx.example.org; none", "mx.example.org"},
		{" mx.example.org 1; none", "mx.example.org"},
		{"\r\n (c (c) c) mx.example.org(c); none", "mx.example.org"},
		{` (\() mx.example.org; none`, "mx.example.org"},
		{` (\)) mx.example.org; none`, "mx.example.org"},
		{` "mx.example.org"; none`, "mx.example.org"},
		{` "mx\.example.\org"; none`, "mx.example.org"},
		{` "open`, "open"},
		{` "\`, `\`},
		{" (open mx.example.org", ""},
		{"", ""},
	} {
		if got := authServID([]byte(tt.value)); got != tt.want {
			t.Errorf("authServID(%q) = %q, want %q", tt.value, got, tt.want)
		}
	}
}

func params(keyword, value string) []mail.Params {
	return []mail.Params{{{Keyword: keyword, Value: value, HasValue: true}}}
}

// The next hop is told in the end what it would have been told at once.
func TestParametersSetAfterTheNextHopWasAskedAreAskedAgain(t *testing.T) {
	for name, edit := range map[string]event.Edit{
		"MAIL <bob@example.net> RET=HDRS RCPT <alice@example.org> DATA":     {Op: event.SetMailParams, Params: params("RET", "HDRS")},
		"MAIL <bob@example.net> RCPT <alice@example.org> NOTIFY=NEVER DATA": {Op: event.SetRcptParams, Recipient: 1, Params: params("NOTIFY", "NEVER")},
	} {
		h := start(t, Live, fakeAgent{event.EndOfHeaders: func(*event.State, event.Event) event.Verdict {
			return event.Verdict{Edits: []event.Edit{edit}}
		}})
		h.mail("bob@example.net")
		h.rcpt("alice@example.org")
		h.hop.log = nil
		h.wantReply(h.send(message), 250, "")
		h.wantHop("RSET", name, "content", "release")
	}
}

func TestRefusedRcptLeavesTheSendersParameters(t *testing.T) {
	h := start(t, Live, atRcpt("carol", event.RejectIt, event.Edit{Op: event.SetMailParams, Params: params("RET", "HDRS")}))
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.wantReply(h.rcpt("carol@example.org"), 550, "")
	h.hop.log = nil
	h.wantReply(h.send(message), 250, "")
	h.wantHop("DATA", "content", "release")
}
