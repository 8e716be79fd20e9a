package agents

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// A sender that is tempfailed comes again, on another connection with another id: that costs
// the agent no process each time.
func TestPoisonIsKnownWhenItComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		defer s.close(t)
		lethal := func(a *voice) { a.lethal = "kills" }
		s.next = lethal
		s.cast[0].set(func() { lethal(s.cast[0]) })
		n := 0
		send := func(local string) (deaths int, err error) {
			n++
			c, state := s.Open(fmt.Sprint("s", n)), newState(fmt.Sprint("s", n))
			c.Hold(s.v.specNow().Edition)
			begin(state, fmt.Sprint("m", n))
			before := len(s.cast)
			_, err = mailFrom(t, c, state, 1, local, 10*time.Second)
			c.End(nil, state, event.DisconnectQuit)
			synctest.Wait()
			return len(s.cast) - before, err
		}
		for _, tt := range []struct {
			after time.Duration
			dies  bool
		}{
			{0, true}, {time.Second, false}, {firstMemory - 2*time.Second, false}, {2 * time.Second, true},
			{firstMemory + time.Second, false}, {firstMemory, true}, {3 * firstMemory, false},
		} {
			time.Sleep(tt.after)
			deaths, err := send("kills")
			if !errors.Is(err, event.ErrPoison) || deaths > 0 != tt.dies {
				t.Errorf("%s later: %d processes more, %v", tt.after, deaths, err)
			}
			if _, err := send("a"); err != nil {
				t.Errorf("another message: %v", err)
			}
		}
		s.next = nil
		s.swap(t, 2)
		if _, err := send("kills"); err != nil {
			t.Errorf("a new program is not asked: %v", err)
		}
	})
}

func TestPoisonKey(t *testing.T) {
	message := func(change func(*event.Event, *event.State)) poisonKey {
		e, state := event.Event{Seq: 1, Kind: event.EndOfHeaders}, newState("s")
		state.Envelope = &mail.Envelope{ID: "m1", From: mail.Path{Local: "a", Domain: "example.org"}}
		to := mail.Path{Local: "b", Domain: "example.org"}
		state.Envelope.Add(mail.Recipient{Path: to, Original: to})
		state.Header = mail.ParseHeader([]byte("Received: now\r\nSubject: x\r\nMessage-ID: <1@x>\r\n"))
		change(&e, state)
		return keyOf(&e, state)
	}
	header := func(text string) func(*event.Event, *event.State) {
		return func(_ *event.Event, s *event.State) { s.Header = mail.ParseHeader([]byte(text)) }
	}
	same := message(func(*event.Event, *event.State) {})
	bare := message(header("Received: now\r\nSubject: x\r\n"))
	for _, tt := range []struct {
		name   string
		change func(*event.Event, *event.State)
		key    poisonKey
		equal  bool
	}{
		{"another try", func(e *event.Event, s *event.State) {
			e.Seq, s.SessionID, s.Envelope.ID = 7, "s2", "m2"
			s.Connection.Remote = netip.AddrPortFrom(s.Connection.Remote.Addr(), 5555)
		}, same, true},
		{"another trace", header("Received: later\r\nSubject: x\r\nMessage-ID:  <1@x>\r\n"), same, true},
		{"another Message-ID", header("Received: now\r\nSubject: x\r\nMessage-ID: <2@x>\r\n"), same, false},
		{"another client", func(_ *event.Event, s *event.State) { s.Connection.Remote = netip.MustParseAddrPort("192.0.2.9:4711") }, same, false},
		{"another event", func(e *event.Event, _ *event.State) { e.Kind = event.DataCommand }, same, false},
		{"another sender", func(_ *event.Event, s *event.State) { s.Envelope.From.Local = "c" }, same, false},
		{"another recipient", func(_ *event.Event, s *event.State) { s.Envelope.Recipients[0].Original.Local = "c" }, same, false},
		{"no Message-ID, another trace", header("Received: later\r\nSubject: x\r\n"), bare, true},
		{"no Message-ID, another subject", header("Received: now\r\nSubject: y\r\n"), bare, false},
	} {
		if got := message(tt.change); got == tt.key != tt.equal {
			t.Errorf("%s: equal %t", tt.name, got == tt.key)
		}
	}
}

func TestPoisonsAreBounded(t *testing.T) {
	var p poisons
	now := time.Now()
	for i := range 3 * maxPoisons {
		p.remember(poisonKey{byte(i), byte(i >> 8), byte(i >> 16)}, now.Add(time.Duration(i)))
	}
	if len(p.known) != maxPoisons {
		t.Errorf("%d are known", len(p.known))
	}
	if _, yes := p.kills(poisonKey{}, now); yes {
		t.Error("the oldest is known still")
	}
	p.remember(poisonKey{1}, now.Add(24*time.Hour))
	if len(p.known) != 1 {
		t.Errorf("%d are known a day later", len(p.known))
	}
}
