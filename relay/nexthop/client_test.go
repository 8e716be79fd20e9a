package nexthop

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"example.org/relay/relay/mail"
)

var (
	ann = mail.Client{
		Remote: netip.MustParseAddrPort("192.0.2.1:4711"), Local: netip.MustParseAddrPort("192.0.2.25:25"),
		Host: "ann.example.net", Hello: "ann", ESMTP: true,
	}
	ben = mail.Client{Remote: netip.MustParseAddrPort("[2001:db8::7]:99"), Hello: "b=n +\xc3\xb6", User: "ben@example.org"}
)

const (
	allXForward = "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"
	allXClient  = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
	annForward  = "XFORWARD NAME=ann.example.net ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=ann IDENT=M1 SOURCE=REMOTE"
	benForward  = "XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=99 PROTO=SMTP HELO=b+3Dn+20+2B+C3+B6 IDENT=M1 SOURCE=REMOTE"
	annXClient  = "XCLIENT NAME=ann.example.net ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=ann LOGIN=[UNAVAILABLE] DESTADDR=192.0.2.25 DESTPORT=25"
	benXClient  = "XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=99 PROTO=SMTP HELO=b+3Dn+20+2B+C3+B6 LOGIN=ben@example.org DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]"
)

// forwarder is a hop that tells its server of clients.
func forwarder(t *testing.T, way ForwardClient, scripts ...script) (*Hop, *strings.Builder) {
	h, _ := hopWith(t, Config{Addresses: []string{addressA}, ForwardClient: way}, map[string][]script{addressA: scripts})
	log := &strings.Builder{}
	h.log = newAlerts(slog.New(slog.NewTextHandler(log, nil)))
	return h, log
}

// sendFrom sends one message of a client, which must be taken.
func sendFrom(t *testing.T, h *Hop, client mail.Client) {
	t.Helper()
	tx, err := h.Begin(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	env := envelopeFor(t, "b@example.org")
	env.ID = "M1"
	a, err := tx.Envelope(t.Context(), env, true)
	if err != nil || a.Data.Code != 354 {
		t.Fatalf("Envelope = %v, %v", a, err)
	}
	if r, err := tx.Content(t.Context(), nil, strings.NewReader("\r\n")); err != nil || r.Code != 250 {
		t.Fatalf("Content = %v, %v", r, err)
	}
	tx.Release()
}

func (p *peer) wantEnd(said string) {
	p.t.Helper()
	if rest := p.end(); rest != said {
		p.t.Errorf("client said %q before it closed, want %q", rest, said)
	}
}

func TestXForwardGoesBeforeEachMail(t *testing.T) {
	for _, pipelining := range []string{"PIPELINING", "X-NOTHING"} {
		h, _ := forwarder(t, XForward, func(p *peer) {
			p.greet(pipelining, allXForward)
			for _, line := range []string{annForward, annForward, benForward, annForward} {
				p.answer(line, "250 2.0.0 ok")
				p.message()
			}
			p.wantEnd("QUIT\r\n")
		})
		for _, c := range []mail.Client{ann, ann, ben, ann} {
			sendFrom(t, h, c)
		}
		h.Close()
	}
}

func TestXForwardTellsWhatIsListed(t *testing.T) {
	h, _ := forwarder(t, XForward, func(p *peer) {
		p.greet("xforward addr login X-SHOE-SIZE")
		p.answer("XFORWARD ADDR=192.0.2.1", "250 ok")
		p.message()
		p.wantEnd("QUIT\r\n")
	})
	sendFrom(t, h, ann)
	h.Close()
}

func TestXForwardInTwoWhereOneIsTooLong(t *testing.T) {
	long := ann
	long.Host, long.Hello = strings.Repeat("n.", 120)+"example", strings.Repeat("h", 255)
	h, _ := forwarder(t, XForward, func(p *peer) {
		p.greet("PIPELINING", allXForward)
		p.answer("XFORWARD NAME="+long.Host+" PORT=4711", "250 ok")
		p.answer("XFORWARD ADDR=192.0.2.1 PROTO=ESMTP HELO="+long.Hello+" IDENT=M1 SOURCE=REMOTE", "250 ok")
		p.message()
		p.answer("XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=[UNAVAILABLE] IDENT=M1 SOURCE=REMOTE", "250 ok")
		p.message()
		p.wantEnd("QUIT\r\n")
	})
	sendFrom(t, h, long)
	long.Host, long.Hello = "not a host", strings.Repeat("+", 90)
	sendFrom(t, h, long)
	h.Close()
}

// Postfix goes by the new address as soon as it has one, and takes no more from it. What is not in
// the last XCLIENT but the name and the ports, it forgets.
func TestXClientInTwoWhereOneIsTooLong(t *testing.T) {
	long := ann
	long.Host, long.Hello, long.User = strings.Repeat("n.", 120)+"example", strings.Repeat("h", 255), "ann"
	h, _ := forwarder(t, XClient, func(p *peer) {
		p.greet("PIPELINING", allXClient)
		p.answer("XCLIENT NAME="+long.Host+" PORT=4711 DESTADDR=192.0.2.25 DESTPORT=25", "220 mx.example.org ESMTP")
		p.introduced("XCLIENT ADDR=192.0.2.1 PROTO=ESMTP HELO="+long.Hello+" LOGIN=ann", long.Hello, "250-PIPELINING", "250-"+allXClient)
		p.message()
		p.wantEnd("QUIT\r\n")
	})
	sendFrom(t, h, long)
	h.Close()
}

// A client's HELO must not pass for the word that there was none, nor for another attribute.
func TestForwardedValuesStayValues(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"", "[UNAVAILABLE]"},
		{"[UNAVAILABLE]", "[UNAVAILABLE]"},
		{"[TEMPUNAVAIL]", "[UNAVAILABLE]"},
		{"[192.0.2.1]", "[192.0.2.1]"},
		{"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
		{"x ADDR=192.0.2.9", "x+20ADDR+3D192.0.2.9"},
		{"a\r\nb\x00\x7f\xff", "a+0D+0Ab+00+7F+FF"},
	} {
		if got := string(appendValue(nil, tt.value)); got != tt.want {
			t.Errorf("appendValue(%q) = %q, want %q", tt.value, got, tt.want)
		}
	}
}

func TestXForwardNotToBeHad(t *testing.T) {
	for _, tt := range []struct {
		name, log string
		script    script
	}{
		{"not offered", "does not offer XFORWARD", func(p *peer) {
			p.greet("PIPELINING")
			p.message()
			p.message()
			p.wantEnd("QUIT\r\n")
		}},
		{"refused", "refuses XFORWARD", func(p *peer) {
			p.greet("PIPELINING", allXForward)
			p.answer(annForward, "550 5.7.0 not you")
			p.message()
			p.message()
			p.wantEnd("QUIT\r\n")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, log := forwarder(t, XForward, tt.script)
			sendFrom(t, h, ann)
			sendFrom(t, h, ben)
			h.Close()
			if n := strings.Count(log.String(), tt.log); n != 1 {
				t.Errorf("%d lines say %q in the log:\n%s", n, tt.log, log)
			}
		})
	}
}

// What the server holds of ann must not be said of ben's mail: neither where it will not be told
// of ben, nor where it forgets nothing.
func TestMailNeverGoesUnderAnothersNameByXForward(t *testing.T) {
	for _, pipelining := range []string{"PIPELINING", "X-NOTHING"} {
		h, _ := forwarder(t, XForward, func(p *peer) {
			p.greet(pipelining, allXForward)
			p.answer(annForward, "250 ok")
			p.message()
			p.answer(benForward, "501 5.5.4 bad HELO")
			if pipelining == "PIPELINING" {
				p.envelope()
			}
			p.wantEnd("")
		}, func(p *peer) {
			p.greet(pipelining, allXForward)
			p.answer(benForward, "501 5.5.4 bad HELO")
			p.message()
			p.message() // nothing is known of anybody here
			p.wantEnd("QUIT\r\n")
		})
		sendFrom(t, h, ann)
		sendFrom(t, h, ben)
		sendFrom(t, h, ann)
		h.Close()
	}
}

func TestConnectionToldInPartIsNotKept(t *testing.T) {
	long := ann
	long.Host, long.Hello = strings.Repeat("n.", 120)+"example", strings.Repeat("h", 255)
	h, _ := forwarder(t, XForward, func(p *peer) {
		p.greet("PIPELINING", allXForward)
		p.line()
		p.say("250 ok")
		p.line()
		p.say("501 too long")
		p.message()
		p.wantEnd("QUIT\r\n")
	}, func(p *peer) {
		p.greet("PIPELINING", allXForward)
		p.answer(benForward, "250 ok")
		p.message()
		p.wantEnd("QUIT\r\n")
	})
	sendFrom(t, h, long)
	sendFrom(t, h, ben)
	h.Close()
}

// introduced plays XCLIENT and the EHLO behind it.
func (p *peer) introduced(xclient, hello string, extensions ...string) {
	p.t.Helper()
	p.answer(xclient, "220 mx.example.org ESMTP")
	p.want("EHLO " + hello)
	p.say(append(append([]string{"250-mx.example.org"}, extensions...), "250 HELP")...)
}

func TestXClientMakesTheSessionTheClients(t *testing.T) {
	h, _ := forwarder(t, XClient, func(p *peer) {
		p.greet("PIPELINING", allXClient)
		p.introduced(annXClient, "ann", "250-PIPELINING", "250-"+allXClient)
		p.message()
		p.message()
		p.introduced(benXClient, "relay.example.org", "250-"+allXClient) // ben's HELO cannot stand in a command
		p.message()
		p.answer(annXClient, "220 mx.example.org ESMTP")
		p.answer("EHLO ann", "550 5.7.1 who is ann")
		p.answer("EHLO relay.example.org", "250 mx.example.org") // it does not offer XCLIENT to ann, and takes it
		p.message()
		p.message()
		p.introduced(benXClient, "relay.example.org", "250-"+allXClient)
		p.message()
		p.wantEnd("QUIT\r\n")
	})
	for _, c := range []mail.Client{ann, ann, ben, ann, ann, ben} {
		sendFrom(t, h, c)
	}
	h.Close()
}

// A transaction that came to nothing is over before the next client is told of.
func TestXClientInTheMiddleOfATransaction(t *testing.T) {
	h, _ := forwarder(t, XClient, func(p *peer) {
		p.greet("PIPELINING", allXClient)
		p.introduced(annXClient, "ann", "250-PIPELINING")
		p.answer("MAIL FROM:<a@example.org>", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "250 ok")
		p.answer("RSET", "250 ok")
		p.introduced(benXClient, "relay.example.org")
		p.message()
		p.wantEnd("QUIT\r\n")
	})
	tx, err := h.Begin(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), false); err != nil {
		t.Fatal(err)
	}
	tx.Release()
	sendFrom(t, h, ben)
	h.Close()
}

// Some servers go by what the session is, not by who it comes from. One refusal shows it, and from
// then on each client has its own connection.
func TestServerThatIsToldOfOneClientOnly(t *testing.T) {
	one := func(xclient, hello string, end script) script {
		return func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.introduced(xclient, hello)
			p.message()
			end(p)
		}
	}
	left := func(p *peer) { p.wantEnd("QUIT\r\n") }
	h, _ := forwarder(t, XClient,
		one(annXClient, "ann", func(p *peer) { p.answer(benXClient, "550 5.7.0 who are you"); p.wantEnd("") }),
		one(benXClient, "relay.example.org", left), one(annXClient, "ann", left), one(annXClient, "ann", left))
	for _, c := range []mail.Client{ann, ben, ann, ann} {
		sendFrom(t, h, c)
	}
	h.Close()
}

// A server that greets no ben, and says so by its answer to XCLIENT, has nothing against ann: her
// mail goes on to the same address, and on one connection.
func TestRefusalOfOneClientIsNoFaultOfTheAddress(t *testing.T) {
	refusesBen := func(p *peer) { p.answer(benXClient, "554 5.7.1 blocked"); p.wantEnd("") }
	h, _ := hopWith(t, Config{Addresses: []string{addressA, addressB}, ForwardClient: XClient}, map[string][]script{
		addressA: {func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.introduced(annXClient, "ann", "250-PIPELINING", "250-"+allXClient)
			p.message()
			refusesBen(p)
		}, func(p *peer) {
			p.greet("PIPELINING", allXClient)
			refusesBen(p)
		}, func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.introduced(annXClient, "ann", "250-PIPELINING", "250-"+allXClient)
			p.message()
			p.message()
			p.wantEnd("QUIT\r\n")
		}},
		addressB: {func(p *peer) { p.t.Error("the second address was asked") }},
	})
	sendFrom(t, h, ann)
	_, err := h.Begin(t.Context(), ben)
	wantFault(t, err, "4.4.1")
	sendFrom(t, h, ann)
	sendFrom(t, h, ann)
	h.Close()
}

// Where the server does not take the client for who it is, it would take it for us.
func TestWithoutXClientNoMailGoes(t *testing.T) {
	for _, tt := range []struct {
		name, log string
		script    script
	}{
		{"not offered", "does not offer XCLIENT", func(p *peer) {
			p.greet("PIPELINING", allXForward)
			p.wantEnd("")
		}},
		{"refused", "cannot be told who the client is", func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.answer(annXClient, "550 5.7.0 not you")
			p.wantEnd("")
		}},
		{"greeting withheld", "cannot be told who the client is", func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.answer(annXClient, "421 4.7.0 not ann")
			p.wantEnd("")
		}},
		{"hung up", "cannot be told who the client is", func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.answer(annXClient, "220 mx.example.org")
			p.want("EHLO ann")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, log := forwarder(t, XClient, tt.script)
			_, err := h.Begin(t.Context(), ann)
			wantFault(t, err, "4.4.1")
			if !strings.Contains(log.String(), tt.log) {
				t.Errorf("the log does not say %q:\n%s", tt.log, log)
			}
		})
	}
}

// Whatever becomes of the connection that was ann's, ben's mail goes as ben's.
func TestMailNeverGoesUnderAnothersNameByXClient(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  script
	}{
		{"refused", func(p *peer) { p.answer(benXClient, "503 5.5.1 once is enough"); p.wantEnd("") }},
		{"hung up", func(p *peer) { p.want(benXClient) }},
		{"no greeting", func(p *peer) { p.answer(benXClient, "250 2.0.0 noted"); p.wantEnd("") }},
		{"no hello", func(p *peer) {
			p.answer(benXClient, "220 mx.example.org")
			p.answer("EHLO relay.example.org", "451 4.3.0 not now")
			p.wantEnd("")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := forwarder(t, XClient, func(p *peer) {
				p.greet("PIPELINING", allXClient)
				p.introduced(annXClient, "ann", "250-PIPELINING", "250-"+allXClient)
				p.message()
				tt.end(p)
			}, func(p *peer) {
				p.greet("PIPELINING", allXClient)
				p.introduced(benXClient, "relay.example.org")
				p.message()
				p.wantEnd("QUIT\r\n")
			})
			sendFrom(t, h, ann)
			sendFrom(t, h, ben)
			h.Close()
		})
	}
}

// The connection that replaces a dead one is nobody's yet.
func TestXClientOnTheConnectionThatReplacesADeadOne(t *testing.T) {
	h, _ := forwarder(t, XClient, func(p *peer) {
		p.greet("PIPELINING", allXClient)
		p.introduced(annXClient, "ann", "250-PIPELINING", "250-"+allXClient)
		p.message()
	}, func(p *peer) {
		p.greet("PIPELINING", allXClient)
		p.introduced(annXClient, "ann", "250-PIPELINING")
		p.message()
		p.wantEnd("QUIT\r\n")
	})
	sendFrom(t, h, ann)
	sendFrom(t, h, ann)
	h.Close()
}

func TestXClientAtTheAddressThatTakesOver(t *testing.T) {
	h, _ := hopWith(t, Config{Addresses: []string{addressA, addressB}, ForwardClient: XClient}, map[string][]script{
		addressA: {func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.introduced(annXClient, "ann", "250-PIPELINING")
			p.line()
			p.say("421 4.3.2 going down")
			p.end()
		}},
		addressB: {func(p *peer) {
			p.greet("PIPELINING", allXClient)
			p.introduced(annXClient, "ann", "250-PIPELINING")
			p.message()
			p.wantEnd("QUIT\r\n")
		}},
	})
	sendFrom(t, h, ann)
	h.Close()
}

func FuzzForwardedValue(f *testing.F) {
	for _, s := range []string{"", "ann", "[UNAVAILABLE]", "x ADDR=1", "a+b", "\r\n", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := string(appendValue(nil, value))
		if got == "" || len(got) > maxForwardValue || !printable(got, "") || !isASCII(got) || strings.Contains(got, "=") {
			t.Errorf("appendValue(%q) = %q", value, got)
		}
	})
}
