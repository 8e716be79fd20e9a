package relay

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/agents"
	"example.org/relay/relay/config"
	"example.org/relay/relay/event"
	"example.org/relay/relay/frontend"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// Explain says what would happen to a mail. A session is made for it that asks no agent and goes
// through the events with what the pipeline and the FrontEnd decide by.
func (c agentCommands) Explain(_ context.Context, q *controlv1.ExplainRequest) (*controlv1.ExplainResponse, error) {
	installed, err := c.host.Get("", string(event.FrontEnd))
	if err != nil {
		return nil, err
	}
	x := &explanation{cfg: c.cfg, q: q, agents: slices.DeleteFunc(installed, func(i agents.Info) bool { return !i.Enabled })}
	if err := x.read(); err != nil {
		return nil, err
	}
	p := pipeline.New(event.FrontEnd, c.cfg.Domains())
	p.Set(bindings(slices.DeleteFunc(c.host.Enabled(event.FrontEnd), func(a *agents.Agent) bool { return x.bypassed(a.Name()) })))
	x.session = p.Open("explain", x.conn)
	set := settings(c.cfg, nil, nil)
	x.settings = &set
	x.out = &controlv1.ExplainResponse{
		Service: string(event.FrontEnd), Listener: x.listener.Address, Ip: q.Ip, Direction: event.Inbound.String(),
	}
	if x.conn.Internal {
		x.out.Direction = event.Internal.String()
	}
	x.walk()
	x.nextHop()
	x.notes()
	return x.out, nil
}

// Explain says it of the files: how the agents' processes are is not known.
func (o *OfflineOperator) Explain(ctx context.Context, q *controlv1.ExplainRequest) (*controlv1.ExplainResponse, error) {
	out, err := o.agentCommands.Explain(ctx, q)
	if err != nil {
		return nil, err
	}
	out.Notes = append(out.Notes, "No relay is running: this is what the files say.")
	return out, nil
}

// explanation is one mail that is only thought of, and what is said of it.
type explanation struct {
	cfg      *config.Config
	q        *controlv1.ExplainRequest
	agents   []agents.Info // enabled, in order
	listener *config.Listener
	conn     *event.Connection
	envelope *mail.Envelope
	to       []mail.Path
	session  *pipeline.Session
	settings *frontend.Settings
	out      *controlv1.ExplainResponse
}

// read checks what is asked.
func (x *explanation) read() (err error) {
	if x.listener, err = chooseListener(x.cfg.FrontEnd.Listeners, x.q.Listener); err != nil {
		return err
	}
	x.conn = &event.Connection{Listener: x.listener.Address, ImplicitTLS: x.listener.TLS == "implicit"}
	if x.q.Ip != "" {
		ip, err := netip.ParseAddr(x.q.Ip)
		if err != nil || ip.Zone() != "" {
			return fmt.Errorf("ip %q: must be an IP address, such as 192.0.2.1 or 2001:db8::1", x.q.Ip)
		}
		x.conn.Remote = netip.AddrPortFrom(ip.Unmap(), 0)
		x.conn.Internal = among(x.listener.Networks.Relay)(ip)
	}
	if x.q.User != "" && x.listener.Auth == "none" {
		return fmt.Errorf("user %q: nobody can log in on listener %s, which has auth = \"none\"", x.q.User, x.listener.Address)
	}
	x.envelope = &mail.Envelope{}
	if x.q.From != nil {
		if x.envelope.From, err = readAddress("from", *x.q.From); err != nil {
			return err
		}
		if from := x.envelope.From; from.Domain == "" && !from.IsNull() {
			return fmt.Errorf(`from %q: must have a domain, such as alice@example.org, or be "" for the null sender`, *x.q.From)
		}
	}
	if x.q.Size > 0 {
		x.envelope.Params = mail.Params{{Keyword: "SIZE", Value: strconv.FormatUint(x.q.Size, 10), HasValue: true}}
	}
	for _, address := range x.q.To {
		to, err := readAddress("to", address)
		if err == nil && to.IsNull() {
			err = fmt.Errorf(`to "": must be an address, such as alice@example.org`)
		}
		if err != nil {
			return err
		}
		x.to = append(x.to, to)
	}
	return nil
}

func chooseListener(all []config.Listener, address string) (*config.Listener, error) {
	if address == "" && len(all) == 1 {
		return &all[0], nil
	}
	names := listenerAddresses(all)
	if i := slices.Index(names, address); i >= 0 {
		return &all[i], nil
	}
	if address == "" {
		return nil, fmt.Errorf("there are several listeners, name one with --listener: %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no listener %s; there is %s", address, strings.Join(names, ", "))
}

// readAddress reads an address with or without the brackets of the wire.
func readAddress(what, s string) (mail.Path, error) {
	wire := s
	if !strings.HasPrefix(s, "<") {
		wire = "<" + s + ">"
	}
	p, rest, err := mail.ParsePath(wire, true)
	if err == nil && rest != "" {
		err = fmt.Errorf("%q after it", rest)
	}
	if err != nil {
		return p, fmt.Errorf("%s %q: %w; must be an address, such as alice@example.org", what, s, err)
	}
	return p, nil
}

func (x *explanation) bypassed(agent string) bool {
	return slices.ContainsFunc(x.agents, func(i agents.Info) bool { return i.Name == agent && isBypassed(&i) })
}

func isBypassed(i *agents.Info) bool { return i.BypassUntil.After(time.Now()) }

// walk goes through the events in firing order, with what is known at each.
func (x *explanation) walk() {
	x.session.SetClient(event.Client{Hello: x.q.Hello, ESMTP: true})
	for _, k := range event.FrontEnd.Events() {
		ev := event.Event{Kind: k}
		switch k {
		case event.EhloCommand, event.HeloCommand:
			ev.Argument = x.q.Hello
		case event.EndOfAuthentication:
			ev.Auth = &event.Authentication{User: x.q.User, Success: x.q.User != ""}
		case event.MailCommand:
			x.begin()
			ev.From, ev.Params = x.envelope.From, x.envelope.Params
		case event.RcptCommand:
			x.recipients()
			continue
		}
		x.event(ev, "")
	}
}

// begin begins the transaction, and holds no agent for it.
func (x *explanation) begin() {
	client := x.session.State.Client
	client.User = x.q.User
	x.session.SetClient(client)
	x.session.State.Envelope = x.envelope
	x.out.RecipientsVerified = string(frontend.Deferred)
	if x.settings.RecipientCheck.Live(x.session) {
		x.out.RecipientsVerified = string(frontend.Live)
	} else if x.settings.RecipientCheck == frontend.Auto {
		x.out.DeferredFor = x.session.LateAgents()
	}
}

// recipients goes through the RCPTs. Agents are shown those alone that the relay itself takes.
func (x *explanation) recipients() {
	if len(x.to) == 0 {
		x.event(event.Event{Kind: event.RcptCommand}, "")
	}
	for i, to := range x.to {
		r := &controlv1.ExplainedRecipient{Address: to.String()}
		x.out.Recipients = append(x.out.Recipients, r)
		if r.Taken, r.Why = x.right(to); r.Taken && i >= x.listener.Limits.Recipients {
			r.Taken, r.Why = false, fmt.Sprintf("too many recipients: limits.recipients is %d", x.listener.Limits.Recipients)
		}
		if r.Taken {
			x.event(event.Event{Kind: event.RcptCommand, Recipient: x.envelope.Add(mail.Recipient{Path: to, Original: to})}, to.String())
		}
	}
}

func (x *explanation) right(to mail.Path) (taken bool, why string) {
	if x.loginMissing() {
		return false, "the sender is refused: the client must log in first"
	}
	switch x.settings.Right(to, &x.session.State) {
	case frontend.ToPostmaster:
		return true, "postmaster is taken from everybody"
	case frontend.ToOurs:
		return true, to.Domain + " is an accepted domain"
	case frontend.FromOurNetwork:
		return true, "the client is in networks.relay and may send to any domain"
	case frontend.ByLogin:
		return true, "the client has logged in and may send to any domain"
	}
	return false, "relaying denied: " + to.Domain + " is no accepted domain, and the client may not send elsewhere"
}

func (x *explanation) loginMissing() bool { return x.listener.Auth == "required" && x.q.User == "" }

// event says how each agent stands to one event; of an event without agents, nothing.
func (x *explanation) event(ev event.Event, recipient string) {
	e := &controlv1.Explained{Event: ev.Kind.String(), Limit: pipeline.ChainLimit(ev.Kind).String(), Recipient: recipient}
	standings := x.session.Standings(ev, pipeline.OpenQuestions{Sender: x.q.From == nil, Recipients: len(x.to) == 0})
	for i := range x.agents {
		a := &x.agents[i]
		row := &controlv1.ExplainedAgent{
			Name: a.Name, Priority: uint32(a.Priority), Timeout: a.Timeout.String(), OnFailure: a.OnFailure, State: processState(a),
		}
		switch at := slices.IndexFunc(standings, func(s pipeline.Standing) bool { return s.Agent == a.Name }); {
		case at >= 0:
			row.Watches, row.Asked, row.Why = standings[at].Watches, standings[at].Asked, standings[at].Why
		case isBypassed(a) && slices.Contains(a.Events, ev.Kind):
			row.Watches, row.Why = slices.Contains(a.Notifies, ev.Kind), "bypassed until "+a.BypassUntil.Format(time.RFC3339)
		default:
			continue
		}
		e.Agents = append(e.Agents, row)
	}
	if len(e.Agents) > 0 {
		x.out.Events = append(x.out.Events, e)
	}
}

func processState(a *agents.Info) string {
	if a.Problem == "" || a.State == "running" {
		return a.State
	}
	return a.State + ": " + a.Problem
}

func (x *explanation) nextHop() {
	h := x.cfg.NextHops[x.cfg.FrontEnd.NextHop]
	x.out.NextHop, x.out.Addresses, x.out.Tls = h.Name, h.Addresses, h.TLS
	for _, w := range h.Weights {
		x.out.Weights = append(x.out.Weights, uint32(w))
	}
}
