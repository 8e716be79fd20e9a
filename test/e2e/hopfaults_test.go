package e2e

import (
	"strings"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// hopFault is a row of the table in docs/next-hop.md: what a next hop does, and what the client
// is told of it. Those that take time, a next hop that hangs, are in package relay.
type hopFault struct {
	name  string
	hop   smtptest.Fault
	tls   string // of the next hop
	big   bool   // more content than one write takes
	rcpt  string // the beginning of the reply to RCPT in live mode; "": it is taken
	final string // … of the final reply, in deferred mode also where rcpt is set
	taken int    // times that the next hop has the message
	log   string // in the log; of several, each
}

const (
	unavailable = "451 4.4.1 next hop unavailable"
	lost        = "451 4.4.2 connection to next hop lost"
	speaksOfUs  = "451 4.4.0 next hop cannot take mail now"
	nonsense    = "451 4.4.2 next hop cannot take mail now"
	refusesUs   = "next hop refuses this relay"
)

// at makes a row's next hop that says one thing.
func at(stage, say string) smtptest.Fault {
	return smtptest.Fault{At: stage, Say: say + "\r\n"}
}

// leaves makes one that closes, after it has said something or not.
func leaves(stage, say string) smtptest.Fault {
	return smtptest.Fault{At: stage, Say: say, Close: true}
}

// notAlice is the answer to a message of which a recipient is refused that had been taken before.
func notAlice(code, text string) string {
	return code + " not sent, refused for <alice@example.org>: " + text
}

func withTLS(f smtptest.Fault) smtptest.Fault {
	f.Extensions = []string{"PIPELINING", "8BITMIME", "STARTTLS"}
	return f
}

var hopFaults = []hopFault{
	// Before MAIL. The cause is in the log, the client hears of no names.
	{name: "refuses the connection", hop: smtptest.Fault{At: "connect"}, rcpt: unavailable, final: unavailable, log: "connection refused"},
	{name: "554 greeting", hop: at("greeting", "554 5.3.2 no service"), rcpt: unavailable, final: unavailable, log: "greeting: server answered 554 5.3.2 no service"},
	{name: "421 greeting", hop: at("greeting", "421 4.3.2 busy"), rcpt: unavailable, final: unavailable, log: "greeting: server answered 421 4.3.2 busy"},
	{name: "closes instead of greeting", hop: leaves("greeting", ""), rcpt: unavailable, final: unavailable, log: "greeting: closed without a reply"},
	{name: "greets with nonsense", hop: at("greeting", "SSH-2.0-x"), rcpt: unavailable, final: unavailable, log: "greeting: not an SMTP reply"},
	{name: "4yz to EHLO", hop: at("EHLO", "451 4.3.0 not now"), rcpt: unavailable, final: unavailable, log: "EHLO: server answered 451"},
	{name: "5yz to EHLO", hop: at("EHLO", "500 5.5.1 what"), final: "250 2.0.0 kept", taken: 1, log: "result=relayed"}, // HELO does
	{name: "closes at EHLO", hop: leaves("EHLO", ""), rcpt: unavailable, final: unavailable, log: "EHLO: closed without a reply"},
	{name: "closes in the reply to EHLO", hop: leaves("EHLO", "250-faulty.example.org\r\n250-PIPE"), rcpt: unavailable, final: unavailable, log: "EHLO: unexpected EOF"},
	{name: "5yz to STARTTLS, TLS required", hop: withTLS(at("STARTTLS", "454 4.7.0 no TLS")), tls: "required", rcpt: unavailable, final: unavailable, log: "STARTTLS: server answered 454"},
	{name: "5yz to STARTTLS, opportunistic", hop: withTLS(at("STARTTLS", "554 5.7.0 no TLS")), tls: "opportunistic", final: "250", taken: 1, log: "going on in clear"},
	{name: "no STARTTLS, TLS required", tls: "required", rcpt: unavailable, final: unavailable, log: "does not offer STARTTLS"},
	{name: "closes at STARTTLS", hop: withTLS(leaves("STARTTLS", "220 go\r\n")), tls: "required", rcpt: unavailable, final: unavailable, log: "tls handshake"},

	// The envelope. What is said of the mail is the client's answer, what is said of us is not.
	{name: "4yz to MAIL", hop: at("MAIL", "451 4.7.1 greylisted"), rcpt: "451 4.7.1 greylisted (id ", final: "451 4.7.1 greylisted (id ", log: "4.7.1 greylisted"},
	{name: "5yz to MAIL", hop: at("MAIL", "550 5.1.8 bad sender"), rcpt: "550 5.1.8 bad sender (id ", final: "550 5.1.8 bad sender (id ", log: "5.1.8 bad sender"},
	{name: "421 to MAIL", hop: leaves("MAIL", "421 4.3.2 going down\r\n"), rcpt: speaksOfUs, final: speaksOfUs, log: refusesUs},
	{name: "530 to MAIL", hop: at("MAIL", "530 5.7.0 log in first"), rcpt: speaksOfUs, final: speaksOfUs, log: refusesUs},
	{name: "nonsense to MAIL", hop: at("MAIL", "hello"), rcpt: lost, final: lost, log: "not an SMTP reply"},
	{name: "closes at MAIL", hop: leaves("MAIL", ""), rcpt: lost, final: lost, log: "closed without a reply"},
	{name: "4yz to RCPT", hop: at("RCPT", "452 4.2.2 full"), rcpt: "452 4.2.2 full (id ", final: notAlice("451 4.2.2", "full"), log: "4.2.2"},
	{name: "5yz to RCPT", hop: at("RCPT", "550 5.1.1 no such user"), rcpt: "550 5.1.1 no such user (id ", final: notAlice("550 5.1.1", "no such user"), log: "5.1.1"},
	{name: "503 to RCPT", hop: at("RCPT", "503 5.5.1 MAIL first"), rcpt: speaksOfUs, final: notAlice("451 4.4.0", "next hop cannot take mail now"), log: refusesUs},
	{name: "3yz to RCPT", hop: at("RCPT", "354 go"), rcpt: nonsense, final: notAlice("451 4.4.2", "next hop cannot take mail now"), log: refusesUs},
	{name: "closes at RCPT", hop: leaves("RCPT", ""), rcpt: lost, final: lost, log: "closed without a reply"},
	{name: "closes in the reply to RCPT", hop: leaves("RCPT", "250-2.1.5 o"), rcpt: lost, final: lost, log: "unexpected EOF"},
	{name: "answers RCPT twice", hop: at("RCPT", "250 2.1.5 ok\r\n250 2.1.5 ok"), final: nonsense, log: refusesUs},

	// DATA.
	{name: "4yz to DATA", hop: at("DATA", "452 4.3.1 disk full"), final: "452 4.3.1 disk full (id ", log: "4.3.1 disk full"},
	{name: "5yz to DATA", hop: at("DATA", "554 5.7.1 no"), final: "554 5.7.1 no (id ", log: "5.7.1 no"},
	{name: "502 to DATA", hop: at("DATA", "502 5.5.1 what"), final: speaksOfUs, log: refusesUs},
	{name: "2yz to DATA", hop: at("DATA", "250 2.0.0 ok"), final: nonsense, log: refusesUs},
	{name: "closes at DATA", hop: leaves("DATA", ""), final: lost, log: "closed without a reply"},

	// The content: nothing is delivered before the dot.
	{name: "closes in the content", hop: leaves("content", ""), final: lost, log: "result=refused"},
	{name: "closes in a big content", hop: leaves("content", ""), big: true, final: lost, log: "result=refused"},
	{name: "5yz in the content, and closes", hop: leaves("content", "552 5.3.4 too big\r\n"), big: true, final: "552 5.3.4 too big (id ", log: "5.3.4 too big"},
	{name: "421 in the content, and closes", hop: leaves("content", "421 4.3.2 going down\r\n"), big: true, final: speaksOfUs, log: refusesUs},
	{name: "5yz in the content, and reads on", hop: at("content", "552 5.3.4 too big"), big: true, final: "552 5.3.4 too big (id ", log: "5.3.4 too big"},
	{name: "2yz in the content", hop: at("content", "250 2.0.0 kept"), big: true, final: lost, log: "answered before the content was sent"},

	// After the dot the message may have been taken, whatever became of the answer: only here it
	// may come twice.
	{name: "4yz to the dot", hop: at(".", "452 4.3.1 disk full"), final: "452 4.3.1 disk full (id ", log: "4.3.1 disk full"},
	{name: "5yz to the dot", hop: at(".", "554 5.7.1 spam"), final: "554 5.7.1 spam (id ", log: "5.7.1 spam"},
	{name: "421 to the dot", hop: leaves(".", "421 4.3.2 going down\r\n"), final: speaksOfUs, log: refusesUs},
	{name: "500 to the dot", hop: at(".", "500 5.5.2 what"), final: speaksOfUs, log: refusesUs},
	{name: "3yz to the dot", hop: at(".", "354 go"), final: nonsense, log: refusesUs},
	{name: "nonsense to the dot", hop: at(".", "fine"), final: lost, log: "not an SMTP reply"},
	{name: "closes after the dot", hop: leaves(".", ""), taken: 1, final: lost, log: "closed without a reply"},
	{name: "closes in the reply to the dot", hop: leaves(".", "250-2.0.0 ke"), taken: 1, final: lost, log: "unexpected EOF"},
	{name: "2yz to the dot, and closes", hop: leaves(".", "250 2.0.0 kept\r\n"), taken: 1, final: "250 2.0.0 kept (id ", log: "result=relayed"},
	{name: "unusual 2yz to the dot", hop: at(".", "251 fine"), taken: 1, final: "250 2.0.0 fine (id ", log: "result=relayed"},
}

func TestNextHopFaults(t *testing.T) {
	for _, check := range []string{"live", "deferred"} {
		for _, row := range hopFaults {
			t.Run(check+"/"+row.name, func(t *testing.T) { row.play(t, check) })
		}
	}
}

func (row *hopFault) play(t *testing.T, check string) {
	hop := (&smtptest.Faulty{Fault: row.hop}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: hop.Addr(), NextHopTLS: row.tls, RecipientCheck: check})
	c, err := smtptest.Dial(r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := row.send(c, hop)
	want := row.final
	if check == "live" && row.rcpt != "" {
		want = row.rcpt
		refused, ok := err.(*smtptest.Refused)
		if !ok || !strings.HasPrefix(refused.Command, "RCPT") {
			t.Fatalf("sent, %q, %v; want RCPT refused by %q", got, err, want)
		}
		got, err = refused.Reply, nil
	}
	if err != nil || !strings.HasPrefix(oneLine(got), want) {
		t.Errorf("client was told %q, %v, want %q", got, err, want)
	}
	if strings.HasPrefix(got, "2") && hop.Taken() == 0 {
		t.Error("the client was told 250, and the next hop has nothing")
	}
	if n := hop.Taken(); n != row.taken {
		t.Errorf("the next hop has the message %d times, want %d", n, row.taken)
	}
	// The session goes on, whatever the next hop did.
	if again, err := c.Cmd("MAIL FROM:<bob@example.net>"); err != nil || !strings.HasPrefix(again, "250") {
		t.Errorf("MAIL after it: %q, %v", again, err)
	}
	c.Quit()
	r.Stop()
	if !r.Log.Contains(row.log) {
		t.Errorf("the log does not say %q", row.log)
	}
}

// send sends one message. The second half of a big one waits for the next hop to do wrong.
func (row *hopFault) send(c *smtptest.Client, hop *smtptest.Faulty) (string, error) {
	const head = "Subject: x\r\n\r\nbody\r\n"
	if !row.big {
		return c.Send("bob@example.net", "alice@example.org", "", []byte(head))
	}
	for _, line := range []string{"MAIL FROM:<bob@example.net>", "RCPT TO:<alice@example.org>", "DATA"} {
		if reply, err := c.Cmd(line); err != nil || reply[0] > '3' {
			return reply, err
		}
	}
	half := strings.Repeat(strings.Repeat("y", 998)+"\r\n", 500)
	if err := c.Raw([]byte(head + half)); err != nil {
		return "", err
	}
	<-hop.Done()
	return c.Cmd(half + ".")
}

// oneLine joins the lines of a reply without repeating its codes.
func oneLine(reply string) string {
	lines := strings.Split(reply, "\n")
	for i, l := range lines {
		code, text, _ := strings.Cut(strings.Replace(l, "-", " ", 1), " ")
		if i == 0 {
			lines[i] = code + " " + text
		} else {
			_, lines[i], _ = strings.Cut(text, " ")
		}
	}
	return strings.Join(lines, " ")
}
