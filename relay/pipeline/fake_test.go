package pipeline

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// fake is an agent in this process. Its answers come from decide, by default to continue.
type fake struct {
	decide func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error)

	opened int
	frames [][]event.Event // what was shown at once
	ends   [][]event.Event
	reason event.DisconnectReason
	faults []error

	held     []uint64 // editions, by transaction
	released int
}

func (f *fake) Hold(edition uint64)                      { f.held = append(f.held, edition) }
func (f *fake) Release()                                 { f.released++ }
func (f *fake) Blame(_ event.Kind, err error)            { f.faults = append(f.faults, err) }
func (f *fake) Open(string) Conversation                 { f.opened++; return f }
func (f *fake) Fault(_ string, _ event.Kind, err error)  { f.faults = append(f.faults, err) }
func (f *fake) Notify(evs []event.Event, _ *event.State) { f.frames = append(f.frames, evs) }
func (f *fake) End(evs []event.Event, _ *event.State, r event.DisconnectReason) {
	f.ends, f.reason = append(f.ends, evs), r
}

func (f *fake) Decide(ctx context.Context, evs []event.Event, st *event.State, limit time.Duration) (event.Verdict, error) {
	f.frames = append(f.frames, slices.Clone(evs))
	if f.decide == nil {
		return event.Verdict{}, nil
	}
	return f.decide(ctx, evs, st, limit)
}

// kinds are the events shown, a frame after the other.
func (f *fake) kinds() []event.Kind {
	var all []event.Kind
	for _, evs := range f.frames {
		for _, ev := range evs {
			all = append(all, ev.Kind)
		}
	}
	return all
}

func answer(v event.Verdict) func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) {
	return func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) {
		return v, nil
	}
}

func failing(err error) func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) {
	return func(context.Context, []event.Event, *event.State, time.Duration) (event.Verdict, error) {
		return event.Verdict{}, err
	}
}

const all event.Permissions = 1<<(event.MayNetwork+1) - 2

// bind makes a binding that decides the events, with every permission but relay.
func bind(name string, f *fake, kinds ...event.Kind) Binding {
	b := Binding{Name: name, Agent: f, Granted: all &^ (1 << event.MayRelay), ChangesRecipientsAt: event.EndOfHeaders, Timeout: 10 * time.Second}
	for _, k := range kinds {
		b.Subscriptions = append(b.Subscriptions, event.Subscription{Kind: k})
	}
	return b
}

func watching(b Binding) Binding {
	for i := range b.Subscriptions {
		b.Subscriptions[i].Notify = true
	}
	return b
}

var connection = &event.Connection{Remote: netip.MustParseAddrPort("192.0.2.1:40000"), Listener: "127.0.0.1:2525"}

func open(role event.Role, bindings ...Binding) (*Pipeline, *Session) {
	p := New(role, mail.NewDomains("example.org"))
	p.Set(bindings)
	return p, p.Open("s1", connection)
}

const section = "Received: from a\r\nSubject: hello\r\nX-One: 1\r\nX-One: 2\r\n"

// inMessage begins a transaction with two recipients and a header section whose first field is ours.
func inMessage(t testing.TB, s *Session) (*mail.Envelope, *mail.Header) {
	t.Helper()
	env := &mail.Envelope{ID: "m1", From: path(t, "sender@example.net")}
	s.Begin(env)
	for _, a := range []string{"alice@example.org", "bob@example.org"} {
		env.Add(mail.Recipient{Path: path(t, a), Original: path(t, a)})
	}
	h := mail.ParseHeader([]byte(section))
	s.ProtectFields(1)
	s.SetHeader(h)
	return env, h
}

func path(t testing.TB, s string) mail.Path {
	t.Helper()
	p, err := mail.ParseMailbox(s, true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func addresses(e *mail.Envelope) []string {
	all := []string{}
	for _, r := range e.Recipients {
		all = append(all, r.Path.String())
	}
	return all
}
