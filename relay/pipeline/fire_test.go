package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

func TestAgentsRunInOrderAndFirstTerminalVerdictEndsTheChain(t *testing.T) {
	var order []string
	named := func(name string, v event.Verdict) Binding {
		f := &fake{decide: func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) {
			order = append(order, name)
			return v, nil
		}}
		return bind(name, f, event.HeloCommand)
	}
	_, s := open(event.FrontEnd, named("first", event.Verdict{}),
		named("second", event.Verdict{Action: event.RejectIt, Reply: reply.New(553, reply.Enhanced{Subject: 5, Detail: 2}, "no")}),
		named("third", event.Verdict{Action: event.Hangup}))
	d := s.Fire(t.Context(), event.Event{Kind: event.HeloCommand})
	if !slices.Equal(order, []string{"first", "second"}) {
		t.Errorf("asked %v, want first and second", order)
	}
	if d.Action != event.RejectIt || d.Agent != "second" || d.At != event.HeloCommand || d.Reply.String() != "553 5.5.2 no" || d.Err != nil {
		t.Errorf("decision %+v, want second's rejection", d)
	}
	if e := s.TakeEntries(); len(e) != 1 || e[0].Agent != "second" || e[0].Action != event.RejectIt {
		t.Errorf("entries %+v, want second's rejection only", e)
	}
}

func TestAcceptEndsTheChainAndTheMessageGoesOn(t *testing.T) {
	after := &fake{}
	_, s := open(event.FrontEnd, bind("a", &fake{decide: answer(event.Verdict{Action: event.Accept})}, event.MailCommand),
		bind("b", after, event.MailCommand, event.DataCommand))
	inMessage(t, s)
	if d := s.Fire(t.Context(), event.Event{Kind: event.MailCommand}); d.Action != event.Accept {
		t.Errorf("action %s, want accept", d.Action)
	}
	s.Fire(t.Context(), event.Event{Kind: event.DataCommand})
	if got := after.kinds(); !slices.Equal(got, []event.Kind{event.DataCommand}) {
		t.Errorf("later agent saw %v, want OnDataCommand only", got)
	}
}

func TestSkipAndDetachSpareTheAgent(t *testing.T) {
	for _, tt := range []struct {
		action event.Action
		want   []event.Kind
		ends   int // before Close
	}{
		{event.Skip, []event.Kind{event.HeloCommand, event.NoopCommand, event.NoopCommand}, 0},
		{event.Detach, []event.Kind{event.HeloCommand}, 1},
	} {
		t.Run(tt.action.String(), func(t *testing.T) {
			f := &fake{}
			f.decide = func(_ context.Context, evs []event.Event, _ *event.State, _ time.Duration) (event.Verdict, error) {
				if evs[len(evs)-1].Kind == event.HeloCommand {
					return event.Verdict{Action: tt.action}, nil
				}
				return event.Verdict{}, nil
			}
			p, s := open(event.FrontEnd, bind("a", f, event.HeloCommand, event.NoopCommand, event.Disconnect))
			for _, k := range []event.Kind{event.HeloCommand, event.HeloCommand, event.NoopCommand} {
				if d := s.Fire(t.Context(), event.Event{Kind: k}); d.Action != event.Continue {
					t.Errorf("%s: action %s, want continue", k, d.Action)
				}
			}
			p.Set([]Binding{bind("new", &fake{}, event.HelpCommand), bind("a", f, event.HeloCommand, event.NoopCommand)})
			inMessage(t, s)
			s.Fire(t.Context(), event.Event{Kind: event.HeloCommand}) // the mark survives another order
			s.Fire(t.Context(), event.Event{Kind: event.NoopCommand})
			if got := f.kinds(); !slices.Equal(got, tt.want) {
				t.Errorf("agent saw %v, want %v", got, tt.want)
			}
			if len(f.ends) != tt.ends {
				t.Errorf("%d ends, want %d", len(f.ends), tt.ends)
			}
			s.Close(event.DisconnectQuit)
			if len(f.ends) != 1 {
				t.Errorf("%d ends in all, want 1", len(f.ends))
			}
		})
	}
}

func TestNotifyEventsRideWithTheNextDecision(t *testing.T) {
	f := &fake{}
	b := bind("a", f, event.Connect, event.EhloCommand, event.MailCommand)
	b.Subscriptions[0].Notify, b.Subscriptions[1].Notify = true, true
	_, s := open(event.FrontEnd, b)
	s.Fire(t.Context(), event.Event{Kind: event.Connect})
	s.Fire(t.Context(), event.Event{Kind: event.EhloCommand, Argument: "client.example.net"})
	if f.opened != 0 {
		t.Error("a watched event opened the conversation")
	}
	inMessage(t, s)
	s.Fire(t.Context(), event.Event{Kind: event.MailCommand, Notify: true}) // whoever fires does not decide who waits
	if len(f.frames) != 1 {
		t.Fatalf("%d frames, want 1", len(f.frames))
	}
	var got []string
	for _, ev := range f.frames[0] {
		got = append(got, fmt.Sprintf("%d %s %t", ev.Seq, ev.Kind, ev.Notify))
	}
	want := []string{"1 OnConnect true", "2 OnEhloCommand true", "3 OnMailCommand false"}
	if !slices.Equal(got, want) {
		t.Errorf("frame %v, want %v", got, want)
	}
}

func TestLongQueueIsShownAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name     string
		argument string
		n        int
	}{
		{"many events", "", maxQueuedEvents + 1},
		{"many bytes", strings.Repeat("x", 40<<10), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{}
			_, s := open(event.FrontEnd, watching(bind("a", f, event.NoopCommand)))
			for i := range tt.n {
				if len(f.frames) != 0 {
					t.Fatalf("shown after %d events, want %d", i, tt.n)
				}
				s.Fire(t.Context(), event.Event{Kind: event.NoopCommand, Argument: tt.argument})
			}
			if len(f.frames) != 1 || len(f.frames[0]) != tt.n {
				t.Errorf("frames %d, want one of %d events", len(f.frames), tt.n)
			}
		})
	}
}

// What a watching agent is shown is state as of the sending: it must go out while there is any.
func TestWatcherOfHeadersSeesThemBeforeTheyGo(t *testing.T) {
	f := &seer{}
	_, s := open(event.FrontEnd, watching(Binding{Name: "a", Agent: f, Subscriptions: []event.Subscription{{Kind: event.EndOfHeaders}}}))
	inMessage(t, s)
	s.Fire(t.Context(), event.Event{Kind: event.EndOfHeaders})
	s.EndTransaction()
	if f.header == nil || f.envelope == nil {
		t.Errorf("header %v envelope %v, want both", f.header, f.envelope)
	}
}

type seer struct {
	fake
	header   *mail.Header
	envelope *mail.Envelope
}

func (f *seer) Open(string) Conversation { return f }

func (f *seer) Notify(_ []event.Event, st *event.State) {
	f.header, f.envelope = st.Header, st.Envelope
}

func TestEveryKindAndActionIsAllowedOrAFault(t *testing.T) {
	command := []event.Action{event.RejectIt, event.TempFail, event.Hangup, event.Accept}
	message := append([]event.Action{event.Discard}, command...)
	want := map[event.Kind][]event.Action{
		event.Connect: command, event.HeloCommand: command, event.EhloCommand: command, event.StartTlsCommand: command,
		event.AuthCommand: command, event.EndOfAuthentication: command, event.HelpCommand: command,
		event.NoopCommand: command, event.RsetCommand: command,
		event.MailCommand: message, event.RcptCommand: message, event.DataCommand: message, event.EndOfHeaders: message,
		event.EndOfData: message,
		event.Reject:    {event.Hangup}, event.ProxyInboundMessage: {event.Accept},
	}
	for _, role := range []event.Role{event.FrontEnd, event.Hub, event.Edge} {
		for _, k := range event.Kinds() {
			for a := event.Continue; a <= event.Delivered; a++ {
				if k == event.Disconnect {
					continue // nobody waits for a verdict on it
				}
				for _, policy := range []Policy{TempFail, Continue} {
					f := &fake{decide: answer(event.Verdict{Action: a})}
					b := bind("a", f, k)
					b.OnFailure = policy
					_, s := open(role, b)
					inMessage(t, s)
					d := s.Fire(t.Context(), event.Event{Kind: k})
					ok := !a.Terminal() || role.Has(k) && slices.Contains(want[k], a)
					if ok != (len(f.faults) == 0) || ok != (d.Err == nil && len(faults(s)) == 0) {
						t.Errorf("%s %s %s: allowed %t, want %t (decision %+v)", role, k, a, !ok, ok, d)
					}
					wantAction := a
					switch {
					case !a.Terminal(), !ok && (policy == Continue || k == event.Reject):
						wantAction = event.Continue
					case !ok:
						wantAction = event.TempFail
					case k == event.Connect && a == event.TempFail:
						wantAction = event.Hangup // 421 is the reply there
					}
					if d.Action != wantAction {
						t.Errorf("%s %s %s with policy %s: %s, want %s", role, k, a, policy, d.Action, wantAction)
					}
					if d.refuses() && d.Reply.Code == 0 {
						t.Errorf("%s %s %s: refused without a reply", role, k, a)
					}
				}
			}
		}
	}
}

func faults(s *Session) (bad []Entry) {
	for _, e := range s.TakeEntries() {
		if e.Err != nil {
			bad = append(bad, e)
		}
	}
	return bad
}

func TestVerdictsNeedTheirPermission(t *testing.T) {
	for a, p := range map[event.Action]event.Permission{
		event.RejectIt: event.MayReject, event.TempFail: event.MayReject, event.Hangup: event.MayReject, event.Discard: event.MayDiscard,
	} {
		f := &fake{decide: answer(event.Verdict{Action: a})}
		b := bind("a", f, event.MailCommand)
		b.Granted &^= 1 << p
		_, s := open(event.FrontEnd, b)
		inMessage(t, s)
		d := s.Fire(t.Context(), event.Event{Kind: event.MailCommand})
		if d.Action != event.TempFail || !errors.Is(d.Err, event.ErrProtocol) || len(f.faults) != 1 {
			t.Errorf("%s without %s: %+v, want the failure policy", a, p, d)
		}
	}
}

func TestReplyOfAnAgentIsCheckedOrFound(t *testing.T) {
	r := func(code int, lines ...string) reply.Reply {
		return reply.Reply{Code: code, Enhanced: reply.Enhanced{Subject: 7}, Lines: lines}
	}
	for _, tt := range []struct {
		name   string
		kind   event.Kind
		action event.Action
		reply  reply.Reply
		want   string // empty: a fault
		hangup bool
	}{
		{"default rejection", event.MailCommand, event.RejectIt, reply.Reply{}, "550 5.7.1 rejected", false},
		{"default rejection of a connection", event.Connect, event.RejectIt, reply.Reply{}, "554 5.7.1 rejected", false},
		{"default rejection of a login", event.EndOfAuthentication, event.RejectIt, reply.Reply{}, "535 5.7.8 authentication credentials invalid", false},
		{"default tempfail", event.RcptCommand, event.TempFail, reply.Reply{}, "451 4.7.1 try again later", false},
		{"default disconnect", event.MailCommand, event.Hangup, reply.Reply{}, "421 4.7.0 closing connection", true},
		{"own disconnect", event.MailCommand, event.Hangup, r(554, "go"), "554 5.7.0 go", true},
		{"no text", event.MailCommand, event.RejectIt, r(552), "552 5.7.0 rejected", false},
		{"421 closes", event.MailCommand, event.TempFail, r(421, "full"), "421 4.7.0 full", true},
		{"rejection with 4yz", event.MailCommand, event.RejectIt, r(450, "no"), "", false},
		{"tempfail with 5yz", event.MailCommand, event.TempFail, r(550, "no"), "", false},
		{"disconnect with 2yz", event.MailCommand, event.Hangup, r(250, "no"), "", false},
		{"no such code", event.MailCommand, event.RejectIt, r(5500, "no"), "", false},
		{"no such second digit", event.MailCommand, event.RejectIt, r(590, "no"), "", false},
		{"line end in text", event.MailCommand, event.RejectIt, r(550, "no\r\n250 yes"), "", false},
		{"beyond ASCII", event.MailCommand, event.RejectIt, r(550, "n\u00f6"), "", false},
		{"long line", event.MailCommand, event.RejectIt, r(550, strings.Repeat("x", 510)), "", false},
		{"negative detail", event.MailCommand, event.RejectIt, reply.New(550, reply.Enhanced{Subject: -1}, "no"), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{decide: answer(event.Verdict{Action: tt.action, Reply: tt.reply})}
			_, s := open(event.Edge, bind("a", f, tt.kind))
			inMessage(t, s)
			d := s.Fire(t.Context(), event.Event{Kind: tt.kind})
			if tt.want == "" {
				if d.Err == nil || len(f.faults) != 1 || d.Reply.String() != "451 4.3.0 temporarily unavailable, try again later" {
					t.Errorf("decision %+v, want a fault", d)
				}
				return
			}
			if d.Err != nil || d.Reply.String() != tt.want || (d.Action == event.Hangup) != tt.hangup {
				t.Errorf("decision %+v, want %s", d, tt.want)
			}
		})
	}
}

func TestAgentsMayWordTheAnswerToHelpAndNoop(t *testing.T) {
	v := event.Verdict{Reply: reply.New(214, reply.Enhanced{}, "see https://example.org/help")}
	_, s := open(event.FrontEnd, bind("a", &fake{decide: answer(v)}, event.HelpCommand, event.RsetCommand))
	if d := s.Fire(t.Context(), event.Event{Kind: event.HelpCommand}); d.Action != event.Continue || d.Reply.Code != 214 {
		t.Errorf("HELP: %+v, want the agent's 214", d)
	}
	if d := s.Fire(t.Context(), event.Event{Kind: event.RsetCommand}); d.Reply.Code != 0 {
		t.Errorf("RSET: %+v, want no reply", d)
	}
}

func TestFailurePolicy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		policy Policy
		kind   event.Kind
		want   event.Action
		code   int
	}{
		{"zero policy", event.ErrUnavailable, "", event.MailCommand, event.TempFail, 451},
		{"timeout", event.ErrTimeout, TempFail, event.RcptCommand, event.TempFail, 451},
		{"at connect", event.ErrFailed, TempFail, event.Connect, event.TempFail, 421},
		{"continue", event.ErrOverloaded, Continue, event.MailCommand, event.Continue, 0},
		{"poison whatever the policy", event.ErrPoison, Continue, event.EndOfHeaders, event.TempFail, 451},
		{"a reply has been given", event.ErrFailed, TempFail, event.Reject, event.Continue, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after := &fake{}
			f := &fake{decide: failing(fmt.Errorf("generation 3: %w", tt.err))}
			b := bind("a", f, tt.kind)
			b.OnFailure = tt.policy
			_, s := open(event.FrontEnd, b, bind("b", after, tt.kind))
			inMessage(t, s)
			d := s.Fire(t.Context(), event.Event{Kind: tt.kind})
			if d.Action != tt.want || d.Reply.Code != tt.code {
				t.Errorf("decision %+v, want %s %d", d, tt.want, tt.code)
			}
			if tt.want == event.TempFail && (!errors.Is(d.Err, tt.err) || d.Agent != "a" || d.At != tt.kind) {
				t.Errorf("decision %+v, want the failure in it", d)
			}
			if (len(after.frames) == 1) != (tt.want == event.Continue) {
				t.Errorf("the next agent saw %d events", len(after.frames))
			}
			if e := s.TakeEntries(); len(e) != 1 || e[0].Agent != "a" || e[0].Action != tt.want || !errors.Is(e[0].Err, tt.err) {
				t.Errorf("entries %+v, want the failure", e)
			}
			if len(f.faults) != 0 {
				t.Error("a failure that the agent's keeper has told us was told back")
			}
		})
	}
}

func TestDisabledAgentIsAsIfNotBound(t *testing.T) {
	f, after := &fake{decide: failing(fmt.Errorf("off: %w", event.ErrDetached))}, &fake{}
	_, s := open(event.FrontEnd, bind("a", f, event.NoopCommand, event.Disconnect), bind("b", after, event.NoopCommand))
	for range 2 {
		if d := s.Fire(t.Context(), event.Event{Kind: event.NoopCommand}); d.Action != event.Continue || d.Err != nil {
			t.Errorf("decision %+v, want continue", d)
		}
	}
	if len(f.frames) != 1 || len(after.frames) != 2 || len(s.TakeEntries()) != 0 || len(f.ends) != 1 {
		t.Errorf("disabled agent saw %d, next %d, ends %d", len(f.frames), len(after.frames), len(f.ends))
	}
}

func TestEndOfTheSessionTempfails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{decide: func(ctx context.Context, _ []event.Event, _ *event.State, _ time.Duration) (event.Verdict, error) {
		cancel()
		return event.Verdict{}, fmt.Errorf("asking: %w", ctx.Err())
	}}
	b := bind("a", f, event.MailCommand)
	b.OnFailure = Continue
	_, s := open(event.FrontEnd, b)
	inMessage(t, s)
	if d := s.Fire(ctx, event.Event{Kind: event.MailCommand}); d.Action != event.TempFail || !errors.Is(d.Err, context.Canceled) {
		t.Errorf("decision %+v, want tempfail by cancellation", d)
	}
}

func TestPanicInAnAgentCostsNoSession(t *testing.T) {
	f := &fake{decide: func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) { panic("oh") }}
	_, s := open(event.FrontEnd, bind("a", f, event.NoopCommand))
	for range 2 {
		if d := s.Fire(t.Context(), event.Event{Kind: event.NoopCommand}); d.Action != event.TempFail || !errors.Is(d.Err, event.ErrFailed) {
			t.Errorf("decision %+v, want tempfail", d)
		}
	}
	if len(f.faults) != 2 || !strings.Contains(f.faults[0].Error(), "fire_test.go") || f.opened != 2 {
		t.Errorf("faults %v opened %d, want two with a stack, each in a new conversation", f.faults, f.opened)
	}
}

func TestChainHasOneTimeLimitAndAgentsTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits []time.Duration
		slow := func(_ context.Context, _ []event.Event, _ *event.State, limit time.Duration) (event.Verdict, error) {
			limits = append(limits, limit)
			time.Sleep(limit)
			return event.Verdict{}, nil
		}
		never := &fake{}
		a, b, c := bind("a", &fake{decide: slow}, event.DataCommand), bind("b", &fake{decide: slow}, event.DataCommand), bind("c", never, event.DataCommand)
		a.Timeout, b.Timeout = 20*time.Second, 0
		_, s := open(event.FrontEnd, a, b, c)
		d := s.Fire(t.Context(), event.Event{Kind: event.DataCommand})
		if want := []time.Duration{20 * time.Second, 40 * time.Second}; !slices.Equal(limits, want) {
			t.Errorf("limits %v, want %v", limits, want)
		}
		if !errors.Is(d.Err, event.ErrTimeout) || d.Agent != "c" || len(never.frames) != 0 {
			t.Errorf("decision %+v, want a timeout of c, unasked", d)
		}
	})
}

func TestNobodyBoundCostsNothing(t *testing.T) {
	_, s := open(event.FrontEnd, bind("a", &fake{}, event.MailCommand))
	ev, ctx := event.Event{Kind: event.RcptCommand, Argument: "x"}, t.Context()
	if n := testing.AllocsPerRun(100, func() { s.Fire(ctx, ev) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkFireUnbound(b *testing.B) {
	_, s := open(event.FrontEnd)
	ev, ctx := event.Event{Kind: event.RcptCommand}, b.Context()
	b.ReportAllocs()
	for b.Loop() {
		s.Fire(ctx, ev)
	}
}

func BenchmarkFireOneAgent(b *testing.B) {
	f := &quiet{}
	_, s := open(event.FrontEnd, Binding{Name: "a", Agent: f, Subscriptions: []event.Subscription{{Kind: event.NoopCommand}}})
	ev, ctx := event.Event{Kind: event.NoopCommand}, b.Context()
	b.ReportAllocs()
	for b.Loop() {
		s.Fire(ctx, ev)
	}
}

// quiet keeps nothing.
type quiet struct{ fake }

func (q *quiet) Open(string) Conversation { return q }

func (q *quiet) Decide(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) {
	return event.Verdict{}, nil
}

// An agent that gave words and no code was answered for with the relay's own words: what was
// told at HELP and NOOP was lost.
func TestWordsOfAnAgentWithoutACode(t *testing.T) {
	for _, c := range []struct {
		at     event.Kind
		action event.Action
		want   string
	}{
		{event.HelpCommand, event.Continue, "214 2.0.0 one/two"},
		{event.NoopCommand, event.Accept, "250 2.0.0 one/two"},
		{event.RsetCommand, event.Continue, "0 "},
		{event.MailCommand, event.RejectIt, "550 5.7.1 one/two"},
		{event.MailCommand, event.TempFail, "451 4.7.1 one/two"},
		{event.Connect, event.Hangup, "421 4.7.0 one/two"},
	} {
		v := event.Verdict{Action: c.action, Reply: reply.Reply{Lines: []string{"one", "two"}}}
		_, s := open(event.FrontEnd, bind("a", &fake{decide: answer(v)}, c.at))
		d := s.Fire(t.Context(), event.Event{Kind: c.at})
		got := fmt.Sprint(d.Reply.Code, " ")
		if e := d.Reply.EnhancedString(); e != "" {
			got += e + " "
		}
		if got += strings.Join(d.Reply.Lines, "/"); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.at, c.action, got, c.want)
		}
	}
}
