package frontend

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// fakeHop is a next hop that notes what it is sent and answers as told.
type fakeHop struct {
	log      []string // every command, in words
	answers  map[string]reply.Reply
	down     error
	once     map[string]reply.Reply // likewise, but told one time
	lost     map[string]bool        // commands at which the connection goes away, once
	content  string                 // the last
	contents []string
	client   mail.Client // of the last Begin
}

func newFakeHop() *fakeHop {
	return &fakeHop{answers: map[string]reply.Reply{}, lost: map[string]bool{}}
}

func (h *fakeHop) note(words string) { h.log = append(h.log, words) }

func (h *fakeHop) answer(command string, code int) reply.Reply {
	if r, ok := h.once[command]; ok {
		delete(h.once, command)
		return r
	}
	if r, ok := h.answers[command]; ok {
		return r
	}
	return reply.New(code, reply.Enhanced{}, "hop says ok")
}

func (h *fakeHop) Name() string { return "mailserver" }

func (h *fakeHop) Extensions() mail.Extensions { return mail.Extensions{EightBitMIME: true} }

func (h *fakeHop) Begin(_ context.Context, client mail.Client) (Delivery, error) {
	if h.down != nil {
		return nil, h.down
	}
	h.note("begin")
	h.client = client
	return &fakeDelivery{h}, nil
}

type fakeDelivery struct{ *fakeHop }

func (d *fakeDelivery) Remote() string { return "192.0.2.25:25" }

func (d *fakeDelivery) gone(command string) error {
	if d.lost[command] {
		d.lost[command] = false
		return &reply.Error{Reply: reply.New(451, reply.Enhanced{Subject: 4, Detail: 2}, "next hop went away"), Err: io.ErrUnexpectedEOF}
	}
	return nil
}

func (d *fakeDelivery) Envelope(_ context.Context, env *mail.Envelope, data bool) (Answers, error) {
	a := Answers{Mail: d.answer("MAIL", 250)}
	words := "MAIL <" + env.From.String() + ">" + env.Params.String()
	for _, r := range env.Recipients {
		words += " RCPT <" + r.Path.String() + ">" + r.Params.String()
	}
	if data {
		words += " DATA"
	}
	d.note(words)
	if err := d.gone("ENVELOPE"); err != nil {
		return a, err
	}
	if !a.Mail.Positive() {
		return a, nil
	}
	for _, r := range env.Recipients {
		a.Rcpts = append(a.Rcpts, d.answer(r.Path.String(), 250))
	}
	if data {
		a.Data = d.answer("DATA", 354)
	}
	return a, nil
}

func (d *fakeDelivery) Rcpt(_ context.Context, r mail.Recipient) (reply.Reply, error) {
	d.note("RCPT <" + r.Path.String() + ">")
	return d.answer(r.Path.String(), 250), d.gone("RCPT")
}

func (d *fakeDelivery) Data(context.Context) (reply.Reply, error) {
	d.note("DATA")
	if err := d.gone("DATA"); err != nil {
		return reply.Reply{}, err
	}
	return d.answer("DATA", 354), nil
}

func (d *fakeDelivery) Content(_ context.Context, h *mail.Header, body io.Reader) (reply.Reply, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		d.note("closed without a dot")
		return reply.Reply{}, err
	}
	d.note("content")
	d.content = string(h.AppendTo(nil)) + string(b)
	d.contents = append(d.contents, d.content)
	return d.answer("content", 250), d.gone("content")
}

func (d *fakeDelivery) Reset(context.Context) error { d.note("RSET"); return nil }
func (d *fakeDelivery) Release()                    { d.note("release") }
func (d *fakeDelivery) Abort()                      { d.note("abort") }

// fakeAgent answers events by functions.
type fakeAgent map[event.Kind]func(*event.State, event.Event) event.Verdict

func (a fakeAgent) Open(string) pipeline.Conversation { return a }
func (a fakeAgent) Fault(string, event.Kind, error)   {}
func (a fakeAgent) Decide(_ context.Context, evs []event.Event, st *event.State, _ time.Duration) (event.Verdict, error) {
	ev := evs[len(evs)-1]
	v := a[ev.Kind](st, ev)
	v.Seq = ev.Seq
	return v, nil
}
func (a fakeAgent) Notify([]event.Event, *event.State)                      {}
func (a fakeAgent) End([]event.Event, *event.State, event.DisconnectReason) {}

const allPermissions = event.Permissions(1<<12 - 1)

// harness is a session with a next hop and, where given, one agent.
type harness struct {
	*Session
	t   *testing.T
	hop *fakeHop
	log *strings.Builder
}

func start(t *testing.T, check Check, agent fakeAgent) *harness {
	t.Helper()
	domains := mail.NewDomains("example.org")
	p := pipeline.New(event.FrontEnd, domains)
	if agent != nil {
		b := pipeline.Binding{Name: "fake", Agent: agent, Granted: allPermissions, Timeout: time.Second, ChangesRecipientsAt: event.EndOfHeaders}
		for k := range agent {
			b.Subscriptions = append(b.Subscriptions, event.Subscription{Kind: k})
		}
		p.Set([]pipeline.Binding{b})
	}
	hop, log := newFakeHop(), &strings.Builder{}
	f := New(Settings{Hostname: "mx.example.org", NextHop: hop, Domains: domains, RecipientCheck: check}, slog.New(slog.NewTextHandler(log, nil)))
	agents := p.Open("S1", &event.Connection{Remote: netip.MustParseAddrPort("192.0.2.1:4711"), Started: time.Now()})
	agents.SetClient(event.Client{Hello: "client.example.net", ESMTP: true})
	return &harness{f.Open(agents), t, hop, log}
}

func (h *harness) mail(from string) reply.Reply {
	h.t.Helper()
	p, err := mail.ParseMailbox(from, false)
	if err != nil {
		h.t.Fatal(err)
	}
	return told(h.Session.Mail(h.t.Context(), p, nil))
}

func (h *harness) rcpt(to string) reply.Reply {
	h.t.Helper()
	p, err := mail.ParseMailbox(to, false)
	if err != nil {
		h.t.Fatal(err)
	}
	return told(h.Session.Rcpt(h.t.Context(), p, nil))
}

func (h *harness) send(content string) reply.Reply {
	h.t.Helper()
	header, body, _ := strings.Cut(content, "\r\n\r\n")
	return h.sendBody(header+"\r\n", strings.NewReader("\r\n"+body))
}

func (h *harness) sendBody(header string, body io.Reader) reply.Reply {
	h.t.Helper()
	if err := h.Session.Data(h.t.Context()); err != nil {
		return reply.From(err)
	}
	r := told(h.Session.Content(h.t.Context(), mail.ParseHeader([]byte(header)), body))
	h.Session.Reset(h.t.Context())
	return r
}

func told(r reply.Reply, err error) reply.Reply {
	if err != nil {
		return reply.From(err)
	}
	return r
}

// wantHop compares what the next hop was sent since the last look.
func (h *harness) wantHop(want ...string) {
	h.t.Helper()
	if !slices.Equal(h.hop.log, want) {
		h.t.Errorf("the next hop was sent\n\t%s\nwant\n\t%s", strings.Join(h.hop.log, "\n\t"), strings.Join(want, "\n\t"))
	}
	h.hop.log = nil
}

func (h *harness) wantReply(got reply.Reply, code int, text string) {
	h.t.Helper()
	if got.Code != code || !strings.Contains(got.String(), text) {
		h.t.Errorf("reply %q, want %d with %q", got, code, text)
	}
}
