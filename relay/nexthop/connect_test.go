package nexthop

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
)

func TestAddressesAreTriedInOrder(t *testing.T) {
	good := func(p *peer) { p.greet() }
	for name, bad := range map[string][]script{
		"refused":      nil,
		"554 greeting": {func(p *peer) { p.say("554 5.3.2 no"); p.end() }},
		"421 greeting": {func(p *peer) { p.say("421 4.3.2 no"); p.end() }},
		"closes":       {func(*peer) {}},
		"no SMTP":      {func(p *peer) { p.say("SSH-2.0-x"); p.end() }},
		"421 to EHLO":  {func(p *peer) { p.say("220 x"); p.answer("EHLO relay.example.org", "421 no"); p.end() }},
		"refuses hello": {func(p *peer) {
			p.say("220 x")
			p.line()
			p.say("550 no")
			p.line()
			p.say("550 no")
			p.end()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h, n := hopWith(t, Config{Addresses: []string{addressA, addressB}}, map[string][]script{addressA: bad, addressB: {good}})
			tx := begin(t, h)
			if got := tx.Remote(); got != addressB {
				t.Errorf("Remote = %s", got)
			}
			if !slices.Equal(n.dialled, []string{addressA, addressB}) {
				t.Errorf("dialled %v", n.dialled)
			}
			tx.Abort()
		})
	}
}

func TestSilentAddressLeavesTimeForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := hopWith(t, Config{Addresses: []string{addressA, addressB}}, map[string][]script{
			addressA: {func(p *peer) { p.end() }},
			addressB: {func(p *peer) { time.Sleep(20 * time.Second); p.greet(); p.end() }},
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tx, err := h.Begin(ctx, mail.Client{})
		if err != nil {
			t.Fatal(err)
		}
		tx.Abort()
	})
}

func TestGreetingIsWaitedForFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := hopTo(t, func(p *peer) { p.end() })
		start := time.Now()
		_, err := h.Begin(t.Context(), mail.Client{})
		wantFault(t, err, "4.4.1")
		if got := time.Since(start); got != 5*time.Minute {
			t.Errorf("gave up after %v", got)
		}
	})
}

func TestAddressThatFailedIsTriedLastForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := func(p *peer) { p.greet(); p.end() }
		h, n := hopWith(t, Config{Addresses: []string{addressA, addressB}, MaxIdle: -1}, map[string][]script{
			addressB: {one, one, one},
		})
		for _, pause := range []time.Duration{0, time.Second, 2 * time.Second} {
			begin(t, h).Abort()
			time.Sleep(pause)
		}
		want := []string{addressA, addressB, addressB, addressA, addressB}
		if !slices.Equal(n.dialled, want) {
			t.Errorf("dialled %v, want %v", n.dialled, want)
		}
		// All are bad now: none is skipped.
		if _, err := h.Begin(t.Context(), mail.Client{}); err == nil {
			t.Error("Begin succeeded")
		}
		if _, err := h.Begin(t.Context(), mail.Client{}); err == nil {
			t.Error("Begin succeeded")
		}
		if got := n.dialled[len(n.dialled)-2:]; !slices.Equal(got, []string{addressA, addressB}) {
			t.Errorf("with all bad, dialled %v", got)
		}
	})
}

func TestServerWithoutEHLOIsGreetedByHELO(t *testing.T) {
	for _, code := range []string{"500", "501", "502", "504", "550"} {
		h, _ := hopTo(t, func(p *peer) {
			p.say("220 mx.example.org")
			p.answer("EHLO relay.example.org", code+" what?")
			p.answer("HELO relay.example.org", "250 mx.example.org")
		})
		if tx := begin(t, h); tx.Extensions() != (mail.Extensions{}) {
			t.Errorf("%s: Extensions = %+v", code, tx.Extensions())
		}
	}
}

func TestExtensionsAreWhatAllAddressesOffer(t *testing.T) {
	h, _ := hopWith(t, Config{Addresses: []string{addressA, addressB}}, map[string][]script{
		addressA: {func(p *peer) { p.greet("pipelining", "8BITMIME", "SIZE 2000", "DSN"); p.end() }},
		addressB: {func(p *peer) { p.greet("PIPELINING", "8BitMime", "SIZE 1000", "SMTPUTF8"); p.end() }},
	})
	if got := h.Extensions(); got != (mail.Extensions{EightBitMIME: true}) {
		t.Errorf("before = %+v", got)
	}
	if err := h.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := mail.Extensions{Pipelining: true, EightBitMIME: true, DSN: true, SizeOffered: true, Size: 2000}
	if got := h.Extensions(); got != want {
		t.Errorf("after one = %+v", got)
	}
	tx := begin(t, h)
	tx.Abort()
	if err := h.Probe(t.Context()); err != nil { // A has no script left
		t.Fatal(err)
	}
	want.DSN, want.Size = false, 1000
	if got := h.Extensions(); got != want {
		t.Errorf("after both = %+v", got)
	}
}

func TestFailuresAreLoggedOncePerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := &network{t: t}
		h := New(Config{Name: "test", Addresses: []string{addressA}, Dial: n.dial}, slog.New(slog.NewTextHandler(&log, nil)))
		for range 10 {
			_, err := h.Begin(t.Context(), mail.Client{})
			wantFault(t, err, "4.4.1")
		}
		if got := strings.Count(log.String(), "\n"); got != 2 {
			t.Errorf("%d lines, want one for the address and one for the hop:\n%s", got, &log)
		}
		log.Reset()
		time.Sleep(time.Second)
		_, _ = h.Begin(t.Context(), mail.Client{})
		if got := log.String(); strings.Count(got, "not_logged=9") != 2 || !strings.Contains(got, addressA) || !strings.Contains(got, "connection refused") {
			t.Errorf("log:\n%s", got)
		}
	})
}

func TestCancelledCallerSaysNothingAboutTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := hopTo(t, func(p *peer) { p.end() })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := h.Begin(ctx, mail.Client{})
		wantFault(t, err, "4.4.1")
		if !h.addresses[0].badUntil.IsZero() {
			t.Error("the address is held to be bad")
		}
	})
}

func TestAddressThatFailsAtMailIsLeftForTheNext(t *testing.T) {
	for name, fails := range map[string]func(*peer){
		"421":      func(p *peer) { p.say("421 4.3.2 overloaded"); p.end() },
		"hangs up": func(*peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			h, n := hopWith(t, Config{Addresses: []string{addressA, addressB}}, map[string][]script{
				addressA: {func(p *peer) {
					p.greet()
					p.line()
					fails(p)
				}},
				addressB: {func(p *peer) {
					p.greet()
					p.message()
					p.message()
				}},
			})
			sendMail(t, h)
			sendMail(t, h) // the first address is still the last in line
			if want := []string{addressA, addressB}; !slices.Equal(n.dialled, want) {
				t.Errorf("dialled %v, want %v", n.dialled, want)
			}
		})
	}
}

func TestAddressThatFailsAtMailIsNotAskedTwice(t *testing.T) {
	h, n := hopWith(t, Config{Addresses: []string{addressA, addressB}}, map[string][]script{
		addressA: {func(p *peer) {
			p.greet()
			p.line()
			p.say("421 4.3.2 overloaded")
			p.end()
		}, func(p *peer) {
			p.greet()
			p.want("QUIT")
		}},
	})
	a, err := begin(t, h).Envelope(t.Context(), envelopeFor(t, "b@example.org"), true)
	if err != nil || a.Mail.Code != 421 {
		t.Errorf("Envelope = %v, %v, want 421", a, err)
	}
	if want := []string{addressA, addressB, addressA}; !slices.Equal(n.dialled, want) {
		t.Errorf("dialled %v, want %v", n.dialled, want)
	}
}
