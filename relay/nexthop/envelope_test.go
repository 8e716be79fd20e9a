package nexthop

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
)

func params(t *testing.T, s string) mail.Params {
	t.Helper()
	p, err := mail.ParseParams(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEnvelopeSaysWhatTheServerTakes(t *testing.T) {
	all := []string{"PIPELINING", "8bitmime", "smtputf8", "DSN", "Size 1000000"}
	for _, test := range []struct {
		name, from, mail, rcpt, rcptParams string
		offers                             []string
		want                               []string
	}{
		{"nothing asked", "a@example.org", "", "b@example.org", "", all,
			[]string{"MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>"}},
		{"all", "a@example.org", "SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+20y SMTPUTF8", "b@example.org", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@example.org", all,
			[]string{"MAIL FROM:<a@example.org> SIZE=4196 BODY=8BITMIME RET=HDRS ENVID=x+20y SMTPUTF8", "RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@example.org"}},
		{"server has nothing", "a@example.org", "SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x", "b@example.org", "NOTIFY=FAILURE ORCPT=rfc822;c@example.org", []string{"PIPELINING"},
			[]string{"MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>"}},
		{"size near the limit", "a@example.org", "SIZE=999000", "b@example.org", "", all,
			[]string{"MAIL FROM:<a@example.org> SIZE=999000", "RCPT TO:<b@example.org>"}},
		{"null, postmaster", "", "", "postmaster", "", all,
			[]string{"MAIL FROM:<>", "RCPT TO:<postmaster>"}},
		{"quoted stays quoted", "a@example.org", "", `"v@internal> ORCPT=rfc822;a"@example.org`, "", all,
			[]string{"MAIL FROM:<a@example.org>", `RCPT TO:<"v@internal> ORCPT=rfc822;a"@example.org>`}},
		{"agent made it UTF-8", "a@example.org", "", "bücher@example.org", "", all,
			[]string{"MAIL FROM:<a@example.org> SMTPUTF8", "RCPT TO:<bücher@example.org>"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _ := hopTo(t, func(p *peer) {
				p.greet(test.offers...)
				for _, line := range test.want {
					p.answer(line, "250 ok")
				}
			})
			env := &mail.Envelope{From: path(t, test.from), Params: params(t, test.mail)}
			env.Add(mail.Recipient{Path: path(t, test.rcpt), Params: params(t, test.rcptParams)})
			a, err := begin(t, h).Envelope(t.Context(), env, false)
			if err != nil || a.Mail.Code != 250 || len(a.Rcpts) != 1 || a.Rcpts[0].Code != 250 || a.Data.Code != 0 {
				t.Errorf("Envelope = %+v, %v", a, err)
			}
		})
	}
}

func TestWhatTheServerLacksIsRefusedNotDropped(t *testing.T) {
	for _, test := range []struct {
		name             string
		env              func(*mail.Envelope)
		mail, rcpt, data string
	}{
		{"SMTPUTF8 asked for", func(e *mail.Envelope) { e.Params = params(t, "SMTPUTF8") }, "550 5.6.7", "", ""},
		{"address in UTF-8", func(e *mail.Envelope) { e.Recipients[0].Path.Local = "ü" }, "550 5.6.7", "", ""},
		{"BINARYMIME", func(e *mail.Envelope) { e.Params = params(t, "BODY=BINARYMIME") }, "554 5.6.3", "", ""},
		{"NOTIFY=SUCCESS", func(e *mail.Envelope) { e.Recipients[0].Params = params(t, "NOTIFY=DELAY,success") }, "250 ", "451 4.3.3", ""},
		{"sender with line end", func(e *mail.Envelope) { e.From.Local = "a>\r\nRCPT TO:<x" }, "553 5.1.7", "", ""},
		{"recipient with NUL", func(e *mail.Envelope) { e.Recipients[0].Path.Local = "a\x00" }, "250 ", "553 5.1.3", ""},
		{"domain with more", func(e *mail.Envelope) { e.Recipients[0].Path.Domain = "x> ORCPT=y" }, "250 ", "553 5.1.3", ""},
		{"parameter with line end", func(e *mail.Envelope) {
			e.Recipients[0].Params = mail.Params{{Keyword: "ORCPT", Value: "x\r\nDATA", HasValue: true}}
		}, "250 ", "553 5.1.3", ""},
		{"null recipient", func(e *mail.Envelope) { e.Recipients[0].Path = mail.Path{} }, "250 ", "553 5.1.3", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			said := make(chan string, 1)
			h, _ := hopTo(t, func(p *peer) {
				p.greet("PIPELINING")
				if test.rcpt != "" {
					p.answer("MAIL FROM:<a@example.org>", "250 ok")
				}
				said <- p.end()
			})
			env := envelopeFor(t, "b@example.org")
			test.env(env)
			tx := begin(t, h)
			a, err := tx.Envelope(t.Context(), env, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Mail.String(); !strings.HasPrefix(got, test.mail) {
				t.Errorf("Mail = %s, want %s", got, test.mail)
			}
			if test.rcpt != "" && !strings.HasPrefix(a.Rcpts[0].String(), test.rcpt) {
				t.Errorf("Rcpts = %v, want %s", a.Rcpts, test.rcpt)
			}
			if a.Data.Code != 0 {
				t.Errorf("Data = %v", a.Data)
			}
			tx.Abort()
			if s := <-said; s != "" {
				t.Errorf("server was told %q", s)
			}
		})
	}
}

func TestPipelinedGroupIsOneWrite(t *testing.T) {
	w := &wire{in: strings.NewReader("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n")}
	tx := contentTo(w, mail.Extensions{Pipelining: true})
	tx.state = idle
	a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org", "c@example.org"), true)
	if err != nil || a.Mail.Code != 250 || a.Rcpts[0].Code != 250 || a.Rcpts[1].Code != 550 || a.Data.Code != 354 {
		t.Errorf("Envelope = %+v, %v", a, err)
	}
	if len(w.writes) != 1 {
		t.Errorf("writes = %q, want 1", w.writes)
	}
}

func TestWithoutPipeliningOneCommandAtATime(t *testing.T) {
	h, _ := hopTo(t, func(p *peer) {
		p.greet()
		p.answer("MAIL FROM:<a@example.org>", "250 ok")
		p.answer("RCPT TO:<b@example.org>", "550 5.1.1 no")
		if n := p.r.Buffered(); n > 0 {
			p.t.Errorf("%d octets ahead", n)
		}
		p.answer("RCPT TO:<c@example.org>", "250 ok")
		p.answer("DATA", "354 go")
	})
	tx := begin(t, h)
	a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org", "c@example.org"), true)
	if err != nil || a.Rcpts[0].Code != 550 || a.Rcpts[1].Code != 250 || a.Data.Code != 0 {
		t.Errorf("Envelope = %+v, %v, want no DATA after a refusal", a, err)
	}
	if r, err := tx.Data(t.Context()); err != nil || r.Code != 354 {
		t.Errorf("Data = %v, %v", r, err)
	}
}

func TestThousandRecipientsGetTheirOwnAnswers(t *testing.T) {
	for _, offers := range [][]string{{"PIPELINING"}, nil} {
		h, _ := hopTo(t, func(p *peer) {
			p.greet(offers...)
			p.answer("MAIL FROM:<a@example.org>", "250 ok")
			for i := range 1000 {
				p.answer(fmt.Sprintf("RCPT TO:<r%d@%s.example.org>", i, strings.Repeat("x", 60)), fmt.Sprintf("250 2.1.5 ok %d", i))
			}
			p.answer("DATA", "354 go")
		})
		env := envelopeFor(t)
		for i := range 1000 {
			env.Add(mail.Recipient{Path: mail.Path{Local: fmt.Sprintf("r%d", i), Domain: strings.Repeat("x", 60) + ".example.org"}})
		}
		tx := begin(t, h)
		a, err := tx.Envelope(t.Context(), env, true)
		if err != nil || a.Data.Code != 354 {
			t.Fatalf("Data = %v, %v", a.Data, err)
		}
		for i, r := range a.Rcpts {
			if want := fmt.Sprintf("ok %d", i); r.Text() != want {
				t.Fatalf("Rcpts[%d] = %v, want %s", i, r, want)
			}
		}
		tx.Abort()
	}
}

func TestRefusedMailHasNoRecipients(t *testing.T) {
	h, _ := hopTo(t, func(p *peer) {
		p.greet("PIPELINING")
		p.answer("MAIL FROM:<a@example.org>", "550 5.7.1 not you")
		p.answer("RCPT TO:<b@example.org>", "503 5.5.1 MAIL first")
		p.answer("DATA", "503 5.5.1 MAIL first")
		p.want("RSET")
		p.say("250 ok")
		p.message()
	})
	tx := begin(t, h)
	a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true)
	if err != nil || a.Mail.Code != 550 || a.Rcpts != nil {
		t.Errorf("Envelope = %+v, %v", a, err)
	}
	tx.Release()
	sendMail(t, h)
}

func Test421EndsTheTransaction(t *testing.T) {
	for _, test := range []struct {
		name    string
		replies []string
		codes   string
	}{
		{"at MAIL", []string{"421 4.3.2 bye"}, "421 [] 0"},
		{"at RCPT", []string{"250 ok", "250 ok", "421 4.3.2 bye"}, "250 [250 421] 421"},
		{"at DATA", []string{"250 ok", "250 ok", "250 ok", "421 4.3.2 bye"}, "250 [250 250] 421"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, n := hopTo(t, func(p *peer) {
				p.greet("PIPELINING")
				for range 4 {
					p.line()
				}
				p.say(test.replies...)
			})
			tx := begin(t, h)
			a, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org", "c@example.org"), true)
			codes := []int{}
			for _, r := range a.Rcpts {
				codes = append(codes, r.Code)
			}
			if got := fmt.Sprint(a.Mail.Code, codes, a.Data.Code); err != nil || got != test.codes {
				t.Errorf("Envelope = %s, %v, want %s", got, err, test.codes)
			}
			_, err = tx.Data(t.Context())
			wantFault(t, err, "4.4.2")
			tx.Release()
			if _, err := h.Begin(t.Context(), mail.Client{}); err == nil || len(n.dialled) != 2 {
				t.Errorf("the connection was used again")
			}
		})
	}
}

func TestStallAtEachCommandEndsInTime(t *testing.T) {
	for answers, name := range []string{"MAIL", "RCPT", "DATA"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := hopTo(t, func(p *peer) {
					p.greet("PIPELINING")
					for range answers {
						p.say("250 ok")
					}
					p.end()
				})
				tx := begin(t, h)
				start := time.Now()
				_, err := tx.Envelope(t.Context(), envelopeFor(t, "b@example.org"), true)
				wantFault(t, err, "4.4.1")
				want := 5 * time.Minute
				if name == "DATA" {
					want = 2 * time.Minute
				}
				if got := time.Since(start); got != want {
					t.Errorf("gave up after %v, want %v", got, want)
				}
			})
		})
	}
}
