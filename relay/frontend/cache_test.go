package frontend

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

func code(code int, subject, detail int) reply.Reply {
	return reply.New(code, reply.Enhanced{Subject: subject, Detail: detail}, "says hop")
}

func bare(code int) reply.Reply { return reply.New(code, reply.None, "says hop") }

// Only what is said of the address itself is told to others.
func TestWhatIsKept(t *testing.T) {
	to, bob, ann := mail.Path{Local: "x", Domain: "Example.ORG"}, mail.Path{Local: "bob", Domain: "example.net"}, mail.Path{Local: "ann", Domain: "example.net"}
	from := func(ip string) mail.Client {
		return mail.Client{Remote: netip.AddrPortFrom(netip.MustParseAddr(ip), 0), Hello: "client.example.net"}
	}
	at, elsewhere, loggedIn, renamed := from("192.0.2.1"), from("192.0.2.2"), from("192.0.2.1"), from("192.0.2.1")
	loggedIn.User, renamed.Hello = "bob", "other.example.net"
	const (
		nobody = iota
		same   // sender and client
		all
	)
	for _, tt := range []struct {
		answer reply.Reply
		kept   int
	}{
		{code(250, 1, 5), all},
		{bare(250), all},
		{code(251, 1, 5), all},
		{code(550, 1, 1), all},
		{code(550, 1, 2), all},
		{code(553, 1, 3), all},
		{code(556, 1, 10), all},
		{code(551, 1, 6), all},
		{bare(550), same},
		{bare(551), same},
		{bare(553), same},
		{bare(552), nobody},
		{bare(554), nobody},
		{code(550, 0, 0), nobody},
		{code(550, 1, 0), nobody}, // Postfix says so of senders
		{code(553, 1, 7), nobody}, // bad sender
		{code(550, 1, 8), nobody},
		{code(552, 2, 2), nobody}, // mailbox full
		{code(550, 2, 1), nobody},
		{code(550, 7, 1), nobody}, // permission
		{code(450, 1, 1), nobody},
		{code(451, 7, 1), nobody},
		{bare(452), nobody},
		{bare(354), nobody},
		// They speak of us.
		{bare(421), nobody}, {bare(500), nobody}, {bare(503), nobody}, {bare(521), nobody}, {bare(530), nobody}, {bare(535), nobody}, {bare(555), nobody},
		// The text is another's business.
		{reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "mail from BOB@example.net to x refused"), nobody},
		{reply.New(250, reply.Enhanced{Subject: 1, Detail: 5}, "hello [192.0.2.1]"), nobody},
	} {
		c := newCache(time.Minute, 100)
		c.learn(to, bob, at, tt.answer, "hop")
		to := mail.Path{Local: "x", Domain: "example.org"}
		for _, q := range []struct {
			from   mail.Path
			client mail.Client
			least  int
		}{{bob, at, same}, {ann, at, all}, {bob, elsewhere, all}, {bob, loggedIn, all}, {bob, renamed, all}} {
			k, ok := c.get(to, q.from, q.client)
			if want := tt.kept >= q.least; ok != want || ok && k.reply.String() != tt.answer.String() {
				t.Errorf("%s, asked for %v at %v: kept %v, want %v", tt.answer, q.from, q.client, ok, want)
			}
		}
		if _, ok := c.get(mail.Path{Local: "X", Domain: "example.org"}, bob, at); ok {
			t.Errorf("%s was told of a local-part in other letters", tt.answer)
		}
	}
}

func TestNewAnswerTakesThePlaceOfTheOld(t *testing.T) {
	to, from, at := mail.Path{Local: "x", Domain: "example.org"}, mail.Path{}, mail.Client{}
	for _, tt := range []struct {
		then reply.Reply
		want string // of what is kept at last; "": nothing
	}{
		{code(550, 1, 1), "550 5.1.1 says hop"},
		{bare(550), "550 says hop"},
		{code(450, 2, 1), ""},
		{code(550, 7, 1), ""},
		{bare(421), "250 2.1.5 says hop"}, // no news of x
	} {
		c := newCache(time.Minute, 100)
		c.learn(to, from, at, code(250, 1, 5), "hop")
		c.learn(to, from, at, tt.then, "hop")
		if k, _ := c.get(to, from, at); k.reply.Code != 0 && k.reply.String() != tt.want || k.reply.Code == 0 && tt.want != "" {
			t.Errorf("after %s: %q, want %q", tt.then, k.reply, tt.want)
		}
	}
}

func TestAnswersAreForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(time.Minute, 4)
		to := mail.Path{Local: "x", Domain: "example.org"}
		c.learn(to, mail.Path{}, mail.Client{}, code(250, 1, 5), "hop")
		time.Sleep(time.Minute - time.Nanosecond)
		for i := range 3 { // it moves to the young ones, and grows no younger by that
			c.learn(mail.Path{Local: fmt.Sprint(i), Domain: "example.org"}, mail.Path{}, mail.Client{}, code(250, 1, 5), "hop")
		}
		if _, ok := c.get(to, mail.Path{}, mail.Client{}); !ok {
			t.Error("forgotten within its time")
		}
		time.Sleep(time.Nanosecond)
		if _, ok := c.get(to, mail.Path{}, mail.Client{}); ok {
			t.Error("told after its time")
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(time.Hour, 100)
	often := mail.Path{Local: "often", Domain: "example.org"}
	c.learn(often, mail.Path{}, mail.Client{}, code(250, 1, 5), "hop")
	for i := range 10_000 {
		c.learn(mail.Path{Local: fmt.Sprint(i), Domain: "example.org"}, mail.Path{}, mail.Client{}, code(550, 1, 1), "hop")
		if n := len(c.young) + len(c.old); n > 100 {
			t.Fatalf("%d answers are kept, want at most 100", n)
		}
		if i%20 == 0 {
			if _, ok := c.get(often, mail.Path{}, mail.Client{}); !ok {
				t.Fatalf("what is asked for often is forgotten after %d others", i)
			}
		}
	}
}

// startCached is a session whose next hop's answers are kept.
func startCached(t *testing.T, agent fakeAgent) *harness {
	h := start(t, Live, agent)
	set := *h.f.settings.Load()
	set.RecipientCacheTTL, set.RecipientCacheSize = time.Minute, 1000
	h.f.Set(set)
	return h
}

// once sends a message to these recipients and returns the last reply.
func (h *harness) once(to ...string) reply.Reply {
	h.t.Helper()
	h.mail("bob@example.net")
	last := reply.Reply{Code: 503}
	taken := false
	for _, r := range to {
		last = h.rcpt(r)
		taken = taken || last.Positive()
	}
	if taken {
		return h.send(message)
	}
	h.Session.Reset(h.t.Context())
	return last
}

func TestNoIsToldWithoutAsking(t *testing.T) {
	h := startCached(t, nil)
	h.hop.answers["nobody@example.org"] = noSuchUser
	h.wantReply(h.once("nobody@example.org"), 550, "5.1.1 no such user (id S1-1)")
	h.hop.log = nil
	h.wantReply(h.once("nobody@EXAMPLE.org"), 550, "5.1.1 no such user (id S1-2)")
	h.wantHop()
	// Whoever has made the mailbox meanwhile finds no such answer in the next hop's log.
	h.mail("bob@example.net")
	nobody := mail.Path{Local: "nobody", Domain: "example.org"}
	if _, err := h.Session.Rcpt(t.Context(), nobody, nil); !errors.Is(err, errRemembered) {
		t.Errorf("the cause is %v", err)
	}
}

// "550 relaying denied" may be said of the client, who may have mended it since.
func TestNoOfAClientIsNotToldOfItsLogin(t *testing.T) {
	h := startCached(t, nil)
	h.hop.answers["alice@example.org"] = reply.New(550, reply.None, "relaying denied")
	h.wantReply(h.once("alice@example.org"), 550, "")
	h.hop.log = nil
	h.wantReply(h.once("alice@example.org"), 550, "")
	h.wantHop()
	h.agents.SetClient(event.Client{Hello: "client.example.net", ESMTP: true, User: "bob"})
	delete(h.hop.answers, "alice@example.org")
	h.wantReply(h.once("alice@example.org"), 250, "")
}

func TestYesIsAskedAgainBeforeAnythingIsSent(t *testing.T) {
	h := startCached(t, nil)
	h.wantReply(h.once("alice@example.org"), 250, "")
	h.hop.log = nil
	h.wantReply(h.once("alice@example.org"), 250, "")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "content", "release")
	h.hop.answers["alice@example.org"] = noSuchUser
	h.wantReply(h.once("alice@example.org"), 550, "refused for <alice@example.org>: no such user")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org> DATA", "release")
	h.wantReply(h.once("alice@example.org"), 550, "no such user") // at RCPT
	h.wantHop()
}

func TestTransientRefusalOfWhatWasYesEndsIt(t *testing.T) {
	h := startCached(t, nil)
	h.once("alice@example.org")
	h.hop.answers["alice@example.org"] = code(452, 2, 2)
	h.wantReply(h.once("alice@example.org"), 451, "refused for <alice@example.org>")
	h.hop.log = nil
	h.mail("bob@example.net")
	h.wantReply(h.rcpt("alice@example.org"), 452, "4.2.2 says hop")
	h.wantHop("begin", "MAIL <bob@example.net> RCPT <alice@example.org>")
}

// What was answered by what is kept goes with the next that is asked, and is no answer to it.
func TestKeptAndAskedInOneEnvelope(t *testing.T) {
	for _, gone := range []bool{false, true} {
		h := startCached(t, nil)
		h.once("kept1@example.org")
		h.once("kept2@example.org")
		if gone {
			h.hop.answers["kept2@example.org"] = noSuchUser
		}
		h.hop.log = nil
		h.mail("bob@example.net")
		for _, r := range []string{"kept1", "new1", "kept2", "new2"} {
			h.wantReply(h.rcpt(r+"@example.org"), 250, "")
		}
		h.wantHop("begin", "MAIL <bob@example.net> RCPT <kept1@example.org> RCPT <new1@example.org>", "RCPT <kept2@example.org>", "RCPT <new2@example.org>")
		if !gone {
			h.wantReply(h.send(message), 250, "")
			h.wantHop("DATA", "content", "release")
			continue
		}
		h.wantReply(h.send(message), 550, "refused for <kept2@example.org>")
		h.wantHop("RSET", "MAIL <bob@example.net> RCPT <kept1@example.org> RCPT <new1@example.org> RCPT <kept2@example.org> RCPT <new2@example.org> DATA", "release")
	}
}

func TestAgentsAliasIsKeptByItsFinalAddress(t *testing.T) {
	h := startCached(t, atRcpt("team", event.Continue, replace(1, "a@example.org", "gone@example.org")))
	h.hop.answers["gone@example.org"] = reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "<gone@example.org> unknown")
	h.wantReply(h.once("team@example.org"), 550, "<team@example.org> unknown")
	h.hop.log = nil
	h.wantReply(h.once("team@example.org"), 550, "<team@example.org> unknown")
	h.wantReply(h.once("gone@example.org"), 550, "<gone@example.org> unknown")
	h.wantHop()
	h.wantReply(h.once("a@example.org"), 250, "")
	h.hop.answers["gone@example.org"] = code(250, 1, 5)
	h.wantReply(h.once("team@example.org"), 550, "unknown")
}

func TestDeferredKeepsNothing(t *testing.T) {
	h := startCached(t, nil)
	set := *h.f.settings.Load()
	set.RecipientCheck = Deferred
	h.f.Set(set)
	h.hop.answers["nobody@example.org"] = noSuchUser
	for range 2 {
		h.hop.log = nil
		h.wantReply(h.once("nobody@example.org"), 550, "no such user")
		h.wantHop("begin", "MAIL <bob@example.net> RCPT <nobody@example.org> DATA", "release")
	}
}

func TestAnotherNextHopAnswersForItself(t *testing.T) {
	h := startCached(t, nil)
	h.hop.answers["nobody@example.org"] = noSuchUser
	h.once("nobody@example.org")
	set := *h.f.settings.Load()
	set.Hostname = "mx2.example.org"
	h.f.Set(set)
	h.hop.log = nil
	h.wantReply(h.once("nobody@example.org"), 550, "no such user")
	h.wantHop() // the same hop

	other := newFakeHop()
	set.NextHop = other
	h.f.Set(set)
	h.wantReply(h.once("nobody@example.org"), 250, "")
	if len(other.log) == 0 {
		t.Error("the new next hop was not asked")
	}
}
