package frontend

import (
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

const message = "Subject: hello\r\nTo: alice@example.org\r\n\r\nbody\r\n"

func TestNextHopsAnswersAreTheClients(t *testing.T) {
	h := start(t, Live, nil)
	h.hop.answers["alice@example.org"] = reply.New(250, reply.Enhanced{Subject: 1, Detail: 5}, "alice is welcome")
	h.hop.answers["content"] = reply.New(250, reply.Enhanced{Subject: 6}, "queued as 4711")
	h.wantReply(h.mail("bob@example.net"), 250, "")
	h.wantReply(h.rcpt("alice@example.org"), 250, "2.1.5 alice is welcome")
	h.wantReply(h.send(message), 250, "2.6.0 queued as 4711 (id S1-1)")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "DATA", "content", "release")
	if !strings.HasSuffix(h.hop.content, message) {
		t.Errorf("content %q does not end with the message", h.hop.content)
	}
	if !strings.Contains(h.log.String(), "result=relayed id=S1-1") {
		t.Errorf("no line for the message in the log:\n%s", h.log)
	}
}

func TestStrangersMayWriteToAcceptedDomainsOnly(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("carol@example.com"), 550, "5.7.1 relaying denied")
	h.wantReply(h.rcpt(`"carol@example.com"@example.net`), 550, "5.7.1")
	h.wantReply(h.rcpt("x@[192.0.2.7]"), 550, "5.7.1")
	h.wantHop()
	h.agents.State.Connection.Internal = true
	h.wantReply(h.rcpt("carol@example.com"), 250, "")
}

func TestLiveRefusalOfARecipientLeavesTheOthers(t *testing.T) {
	h := start(t, Live, nil)
	h.hop.answers["nobody@example.org"] = reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "no such user")
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("nobody@example.org"), 550, "5.1.1 no such user")
	h.wantReply(h.rcpt("alice@example.org"), 250, "")
	h.wantReply(h.rcpt("carol@example.org"), 250, "")
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <nobody@example.org>", "RCPT <alice@example.org>", "RCPT <carol@example.org>",
		"DATA", "content", "release")
}

func TestRefusalOfMailIsToldAtEachRcpt(t *testing.T) {
	h := start(t, Live, nil)
	h.hop.answers["MAIL"] = reply.New(550, reply.Enhanced{Subject: 1, Detail: 8}, "sender unknown")
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("alice@example.org"), 550, "5.1.8 sender unknown")
	h.wantReply(h.rcpt("carol@example.org"), 550, "5.1.8 sender unknown")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "release")
}

// What the next hop says of us must never bounce other people's mail.
func TestRepliesThatSpeakOfUsAre451(t *testing.T) {
	for _, stage := range []string{"MAIL", "alice@example.org", "DATA", "content"} {
		for _, code := range []int{421, 500, 501, 502, 503, 504, 530, 535, 538, 555} {
			h := start(t, Live, nil)
			h.hop.answers[stage] = reply.New(code, reply.Enhanced{}, "go away, relay")
			h.mail("bob@example.net")
			got := h.rcpt("alice@example.org")
			if got.Positive() {
				got = h.send(message)
			}
			if got.Code != 451 || got.EnhancedString() != "4.4.0" || strings.Contains(got.Text(), "go away") {
				t.Errorf("%d at %s became %q, want 451 4.4.0 in our words", code, stage, got)
			}
			if stage != "MAIL" && stage != "alice@example.org" && !strings.Contains(h.log.String(), "level=ERROR") {
				t.Errorf("%d at %s: no alert in the log:\n%s", code, stage, h.log)
			}
		}
	}
}

func TestRefusalsAfterDataAreTheNextHops(t *testing.T) {
	for _, stage := range []string{"DATA", "content"} {
		for _, code := range []int{450, 452, 550, 552, 554} {
			h := start(t, Live, nil)
			h.hop.answers[stage] = reply.New(code, reply.Enhanced{None: true}, "not this one")
			h.mail("bob@example.net")
			h.rcpt("alice@example.org")
			got := h.send(message)
			if got.Code != code || !strings.Contains(got.Text(), "not this one (id S1-1)") || got.EnhancedString() == "" {
				t.Errorf("%d at %s became %q", code, stage, got)
			}
		}
	}
}

func TestNextHopDownIs451(t *testing.T) {
	for _, check := range []Check{Live, Deferred} {
		h := start(t, check, nil)
		h.hop.down = &reply.Error{Reply: reply.New(451, reply.Enhanced{Subject: 4, Detail: 1}, "next hop unavailable"), Err: errors.New("connection refused")}
		h.mail("bob@example.net")
		got := h.rcpt("alice@example.org")
		if check == Deferred {
			h.wantReply(got, 250, "")
			got = h.send(message)
		}
		h.wantReply(got, 451, "4.4.1 next hop unavailable")
	}
}

func TestDeferredAsksOnceTheHeaderIsIn(t *testing.T) {
	h := start(t, Deferred, nil)
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.rcpt("carol@example.org")
	h.wantHop()
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <carol@example.org> DATA", "content", "release")
}

// If a recipient that was answered 250 is refused at the end, nothing is sent.
func TestDeferredNeverSendsAPart(t *testing.T) {
	for _, tt := range []struct {
		name         string
		alice, carol int
		want         int
		text         string
	}{
		{"one permanent", 250, 550, 550, "refused for <carol@example.org>:"},
		{"one transient", 452, 250, 451, "refused for <alice@example.org>:"},
		{"transient beats permanent", 550, 450, 451, "refused for <alice@example.org>, <carol@example.org>:"},
		{"both permanent", 551, 553, 550, "refused for <alice@example.org>, <carol@example.org>:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, Deferred, nil)
			h.hop.answers["alice@example.org"] = reply.New(tt.alice, reply.Enhanced{}, "says hop")
			h.hop.answers["carol@example.org"] = reply.New(tt.carol, reply.Enhanced{}, "says hop")
			h.mail("bob@example.net")
			h.rcpt("alice@example.org")
			h.rcpt("carol@example.org")
			h.wantReply(h.send(message), tt.want, tt.text)
			h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org> RCPT <carol@example.org> DATA", "release")
		})
	}
}

func tagger() fakeAgent {
	return fakeAgent{event.EndOfHeaders: func(st *event.State, _ event.Event) event.Verdict {
		f, _ := st.Header.First("Subject")
		return event.Verdict{Edits: []event.Edit{
			{Op: event.ReplaceHeader, Field: f.ID, Value: []byte(" [shop] hello")},
			{Op: event.ReplaceRecipient, Recipient: 1, Addresses: []string{"alice@example.org"}},
		}}
	}}
}

func TestEditsReachTheNextHop(t *testing.T) {
	h := start(t, Auto, tagger())
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("alice_shop@example.org"), 250, "")
	h.wantHop() // auto defers where an agent changes recipients late
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release")
	if want := strings.Replace(message, "Subject: hello", "Subject: [shop] hello", 1); !strings.HasSuffix(h.hop.content, want) {
		t.Errorf("content %q, want it to end with %q", h.hop.content, want)
	}
	if !strings.Contains(h.log.String(), "<alice@example.org> for <alice_shop@example.org>") {
		t.Errorf("the log does not say who became whom:\n%s", h.log)
	}
}

func TestChangedEnvelopeIsAskedAgain(t *testing.T) {
	h := start(t, Live, tagger())
	h.mail("bob@example.net")
	h.rcpt("alice_shop@example.org")
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice_shop@example.org>", "RSET",
		"MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release")
}

func TestRewrittenAddressesAreMasked(t *testing.T) {
	h := start(t, Auto, tagger())
	h.hop.answers["alice@example.org"] = reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "<Alice@Example.org>: unknown")
	h.mail("bob@example.net")
	h.rcpt("alice_shop@example.org")
	got := h.send(message)
	h.wantReply(got, 550, "5.1.1 <alice_shop@example.org>: unknown")
	if strings.Contains(strings.ToLower(got.Text()), "alice@example.org") {
		t.Errorf("reply %q tells where the alias leads", got)
	}
}

func TestVerdicts(t *testing.T) {
	verdict := func(a event.Action) fakeAgent {
		return fakeAgent{event.EndOfHeaders: func(*event.State, event.Event) event.Verdict { return event.Verdict{Action: a} }}
	}
	for _, tt := range []struct {
		action event.Action
		code   int
		hop    []string
	}{
		{event.RejectIt, 550, nil},
		{event.TempFail, 451, nil},
		{event.Hangup, 421, nil},
		{event.Discard, 250, nil},
		{event.Accept, 250, []string{"begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release"}},
	} {
		t.Run(tt.action.String(), func(t *testing.T) {
			h := start(t, Deferred, verdict(tt.action))
			h.mail("bob@example.net")
			h.rcpt("alice@example.org")
			h.wantReply(h.send(message), tt.code, "")
			h.wantHop(tt.hop...)
		})
	}
}

func TestRemovedRecipientsAreDroppedSilently(t *testing.T) {
	h := start(t, Deferred, fakeAgent{event.EndOfHeaders: func(*event.State, event.Event) event.Verdict {
		return event.Verdict{Edits: []event.Edit{{Op: event.RemoveRecipient, Recipient: 1}}}
	}})
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.wantReply(h.send(message), 250, "(id S1-1)")
	h.wantHop()
	if !strings.Contains(h.log.String(), "result=discarded") {
		t.Errorf("the log does not say that the message was discarded:\n%s", h.log)
	}
}

func TestBodyThatBreaksIsNotDelivered(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	bare := reply.Refuse(reply.New(550, reply.Enhanced{Subject: 6, Detail: 11}, "bare line feed"))
	h.wantReply(h.sendBody("Subject: x\r\n", io.MultiReader(strings.NewReader("\r\nhalf"), iotest.ErrReader(bare))), 550, "5.6.11")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "DATA", "closed without a dot")
}

func TestLoopIsRefused(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.wantReply(h.send(strings.Repeat("received : from a by b\r\n", 101)+message), 554, "5.4.6")
}

func TestTrace(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.send("Authentication-Results: MX.example.org; spf=pass\r\nAuthentication-Results: (c) mx.example.net; spf=pass\r\n" + message)
	wantPrefix := "Received: from client.example.net ([192.0.2.1])\r\n\tby mx.example.org with ESMTP id S1-1\r\n\tfor <alice@example.org>;\r\n\t"
	if !strings.HasPrefix(h.hop.content, wantPrefix) {
		t.Errorf("content %q, want it to begin with %q", h.hop.content, wantPrefix)
	}
	if strings.Contains(h.hop.content, "MX.example.org; spf") || !strings.Contains(h.hop.content, "mx.example.net; spf") {
		t.Errorf("only results that claim our name are removed, got %q", h.hop.content)
	}
}

func TestIdleClientDoesNotPinAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Live, nil)
		h.mail("bob@example.net")
		h.rcpt("alice@example.org")
		time.Sleep(idleRelease + time.Second)
		synctest.Wait()
		h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "release")
		h.wantReply(h.send(message), 250, "")
		h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release")
	})
}

func TestConnectionLostBeforeDataIsReplayedOnce(t *testing.T) {
	h := start(t, Live, nil)
	h.hop.lost["DATA"] = true
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "DATA",
		"begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release")
}

func TestResetLetsGoOfTheNextHop(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	h.Session.Reset(t.Context())
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "release")
	h.Session.Close()
	h.wantHop()
}

func TestAgentRefusesARecipient(t *testing.T) {
	h := start(t, Live, fakeAgent{event.RcptCommand: func(_ *event.State, ev event.Event) event.Verdict {
		if ev.Recipient.Path.Local == "spamtrap" {
			return event.Verdict{Action: event.RejectIt}
		}
		return event.Verdict{}
	}})
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("spamtrap@example.org"), 550, "5.7.1")
	h.wantReply(h.rcpt("alice@example.org"), 250, "")
	h.wantReply(h.send(message), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>", "DATA", "content", "release")
}

func TestMaskAll(t *testing.T) {
	masks := []mask{{"bob@example.org", "x@example.org"}, {"x@example.org", "y@example.org"}, {`"a b"@example.org`, "z@example.org"}}
	for _, tt := range []struct{ in, want string }{
		{"<bob@example.org>: no", "<x@example.org>: no"},
		{"BOB@EXAMPLE.ORG and bob@example.org", "x@example.org and x@example.org"},
		{"x@example.org is not bob@example.org.", "y@example.org is not x@example.org."},
		{`<"A b"@example.org> \xff İ`, `<z@example.org> \xff İ`},
		{"rcpt=bob@example.org", "rcpt=x@example.org"},
		{"abob@example.org a.bob@example.org bob@example.org.uk bob@example.orgs", "abob@example.org a.bob@example.org bob@example.org.uk bob@example.orgs"},
		{"nothing", "nothing"},
		{"", ""},
	} {
		if got := maskAll(tt.in, masks); got != tt.want {
			t.Errorf("maskAll(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestKnownAsNeverNamesAnAddedRecipient(t *testing.T) {
	if got := knownAs(mail.Recipient{Path: mail.Path{Local: "archive", Domain: "example.org"}}); strings.Contains(got, "archive") {
		t.Errorf("knownAs = %q", got)
	}
}

func TestNextHopLearnsWhoTheClientIs(t *testing.T) {
	h := start(t, Live, nil)
	h.agents.SetClient(event.Client{Hello: "client.example.net", ESMTP: true, User: "bob"})
	h.agents.State.Connection.RemoteHost = "mail.example.net"
	h.mail("bob@example.net")
	h.rcpt("alice@example.org")
	want := mail.Client{
		Remote: netip.MustParseAddrPort("192.0.2.1:4711"), Host: "mail.example.net", Hello: "client.example.net", ESMTP: true, User: "bob",
	}
	if h.hop.client != want {
		t.Errorf("the next hop is told of %+v, want %+v", h.hop.client, want)
	}
}

// RFC 5321 §4.5.1: strangers may write to <postmaster>, as it is.
func TestPostmasterWithoutADomain(t *testing.T) {
	h := start(t, Live, nil)
	h.mail("")
	h.wantReply(h.rcpt("Postmaster"), 250, "")
	h.wantHop("begin", "MAIL <> RCPT <Postmaster>")
}

func TestWhoHasLoggedInMayWriteToAnyDomain(t *testing.T) {
	h := start(t, Live, nil)
	h.agents.State.Client = event.Client{Hello: "client.example.net", ESMTP: true, TLS: &tls.ConnectionState{}, User: "bob@example.net"}
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("carol@example.com"), 250, "")
	h.wantReply(h.send(message), 250, "")
	if !strings.Contains(h.hop.content, " with ESMTPSA ") || !strings.Contains(h.log.String(), "user=bob@example.net") {
		t.Errorf("neither trace nor log say that the client has logged in:\n%s\n%s", h.hop.content, h.log)
	}
}

func TestProtocolOfTheTrace(t *testing.T) {
	utf8 := mail.Params{{Keyword: "SMTPUTF8"}}
	for _, tt := range []struct {
		esmtp, tls, auth bool
		params           mail.Params
		want             string
	}{
		{false, false, false, nil, "SMTP"}, {true, false, false, nil, "ESMTP"}, {true, true, false, nil, "ESMTPS"},
		{true, false, true, nil, "ESMTPA"}, {true, true, true, nil, "ESMTPSA"},
		{true, false, false, utf8, "UTF8SMTP"}, {true, true, false, utf8, "UTF8SMTPS"}, {true, true, true, utf8, "UTF8SMTPSA"},
	} {
		client := event.Client{ESMTP: tt.esmtp}
		if tt.tls {
			client.TLS = &tls.ConnectionState{}
		}
		if tt.auth {
			client.User = "bob"
		}
		if got := protocol(&client, &mail.Envelope{Params: tt.params}); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt, got, tt.want)
		}
	}
}

// RFC 4954 §5: only what the relay itself knows is passed on.
func TestAuthOfMailIsVouchedFor(t *testing.T) {
	for _, tt := range []struct{ user, said, passed string }{
		{"", "bob@example.net", "<>"}, {"", "<>", "<>"},
		{"bob@example.net", "bob@example.net", "bob@example.net"}, {"bob@example.net", "Bob+40example.net", "Bob+40example.net"},
		{"bob@example.net", "alice@example.net", "<>"}, {"bob@example.net", "<>", "<>"},
	} {
		h := start(t, Live, nil)
		h.agents.State.Client.User = tt.user
		from, err := mail.ParseMailbox("bob@example.net", false)
		if err != nil {
			t.Fatal(err)
		}
		said := mail.Params{{Keyword: "AUTH", Value: tt.said, HasValue: true}}
		if _, err := h.Session.Mail(t.Context(), from, said); err != nil {
			t.Fatal(err)
		}
		if got, _ := h.Session.tx.env.Params.Get("AUTH"); got != tt.passed {
			t.Errorf("%q says AUTH=%s, which becomes %s, want %s", tt.user, tt.said, got, tt.passed)
		}
		if said[0].Value != tt.said {
			t.Error("what agents are shown has changed")
		}
	}
}
