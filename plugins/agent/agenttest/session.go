package agenttest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// Conn is an SMTP session with the agent behind it.
type Conn struct {
	Greeting Verdict // of OnConnect

	h       *Host
	stream  grpc.BidiStreamingClient[agentv1.HostFrame, agentv1.AgentFrame]
	seq     uint32
	last    *agentv1.Verdict
	waiting []*agentv1.Event // for an event that is decided
	message *Message         // nil between transactions
	bag     map[string][]byte
	fresh   []*agentv1.Property // set by the test, not sent yet

	uploads          map[uint32]*upload         // of the event in hand
	off              map[agentv1.EventType]bool // skipped by the agent
	detached, closed bool

	// What the client has said of itself.
	domain, user, mechanism string
	esmtp                   bool

	// What changed since the agent saw it; nil: nothing.
	connection *agentv1.ConnectionInfo
	first      *agentv1.ConnectionInfo // what connection was
	client     *agentv1.ClientState
	over       bool // a message ended
}

// Verdict is an agent's answer as the relay would act on it. Two can be compared with ==.
type Verdict struct {
	Action   string // as the contract calls it: "continue", "reject", "tempfail", "disconnect", "discard", "defer", …
	Code     int    // of the reply the agent chose; 0: the relay's own
	Enhanced string
	Text     string // the lines of the reply, joined with \n
	Reason   string
	Failure  string // the agent could not judge, or panicked

	Wait time.Duration // with "defer": at least; 0: the relay's own
}

// Result is an answer and the message after its edits.
type Result struct {
	Verdict    Verdict
	Sender     string
	Recipients []string
	Header     string // the header section, byte for byte, without the empty line
	Body       string
	Removed    []Removed // by this answer, otherwise than silently
}

// Removed is a recipient that an agent has taken out of a message and told somebody of, in
// services with a queue.
type Removed struct {
	Recipient   string
	DSN         agent.DSN   // 0: none
	Reply       agent.Reply // what the DSN says
	Quarantined string      // the reason; empty: it is not
}

// Client is who connects.
type Client struct {
	Address  string // IP address
	Listener string // "127.0.0.1:25" where not given
	Internal bool   // may send to any domain
}

// Connect opens a session from the client's address.
func (h *Host) Connect(ip string) *Conn {
	h.t.Helper()
	return h.ConnectFrom(Client{Address: ip})
}

// ConnectFrom is Connect for a client of which more is to be said.
func (h *Host) ConnectFrom(client Client) *Conn {
	h.t.Helper()
	if client.Listener == "" {
		client.Listener = "127.0.0.1:25"
	}
	c := h.conn()
	c.open(agentv1.SessionKind_SESSION_KIND_SMTP)
	c.connection = &agentv1.ConnectionInfo{
		RemoteIp: netip.MustParseAddr(client.Address).AsSlice(), RemotePort: 49152, LocalIp: []byte{127, 0, 0, 1}, LocalPort: 25,
		Listener: client.Listener, Internal: client.Internal, StartedUnixMs: time.Now().UnixMilli(),
	}
	c.first = c.connection
	c.Greeting = c.event(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_CONNECT})
	return c
}

func (h *Host) conn() *Conn {
	return &Conn{h: h, bag: make(map[string][]byte), off: make(map[agentv1.EventType]bool)}
}

// open begins the session on a stream of its own.
func (c *Conn) open(kind agentv1.SessionKind) {
	h := c.h
	h.t.Helper()
	stream, err := h.client.Session(h.t.Context())
	if err != nil {
		h.t.Fatalf("agenttest: Session: %v", err)
	}
	h.sessions++
	c.stream = stream
	c.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_Start{Start: &agentv1.SessionStart{
		SessionId: fmt.Sprintf("session-%d", h.sessions), Kind: kind,
	}}})
	h.t.Cleanup(func() { _ = c.end(agentv1.SessionEnd_REASON_CLIENT_LOST) })
}

// Ehlo is the client's EHLO.
func (c *Conn) Ehlo(domain string) Verdict {
	c.h.t.Helper()
	return c.hello(agentv1.EventType_EVENT_TYPE_EHLO_COMMAND, domain)
}

// Helo is the client's HELO.
func (c *Conn) Helo(domain string) Verdict {
	c.h.t.Helper()
	return c.hello(agentv1.EventType_EVENT_TYPE_HELO_COMMAND, domain)
}

func (c *Conn) hello(kind agentv1.EventType, domain string) Verdict {
	c.h.t.Helper()
	c.domain, c.esmtp = domain, kind == agentv1.EventType_EVENT_TYPE_EHLO_COMMAND
	c.showClient()
	return c.event(&agentv1.Event{Type: kind, Detail: &agentv1.Event_Command{Command: &agentv1.CommandDetail{Argument: domain}}})
}

// Auth is the client's AUTH, before the exchange.
func (c *Conn) Auth(mechanism string) Verdict {
	c.h.t.Helper()
	return c.auth(agentv1.EventType_EVENT_TYPE_AUTH_COMMAND, &agentv1.AuthDetail{Mechanism: mechanism})
}

// EndOfAuthentication is the end of the exchange. The client has logged in from then on if it has
// succeeded and the agent does not refuse it.
func (c *Conn) EndOfAuthentication(mechanism, user string, success bool) Verdict {
	c.h.t.Helper()
	v := c.auth(agentv1.EventType_EVENT_TYPE_END_OF_AUTHENTICATION, &agentv1.AuthDetail{Mechanism: mechanism, User: user, Success: success})
	switch v.Action {
	case "reject", "tempfail", "disconnect":
		success = false
	}
	if success {
		c.user, c.mechanism = user, mechanism
		c.showClient()
	}
	return v
}

// like takes over what is known of a client, for the session of a queued message.
func (c *Conn) like(o *Conn) {
	c.first, c.domain, c.esmtp, c.user, c.mechanism = o.first, o.domain, o.esmtp, o.user, o.mechanism
}

// resume attaches all that is known to the first event of such a session.
func (c *Conn) resume() {
	if c.connection = c.first; c.first != nil {
		c.showClient()
	}
	for key, value := range c.message.bag {
		c.fresh = append(c.fresh, &agentv1.Property{Scope: agentv1.Property_SCOPE_MESSAGE, Key: agentName + "/" + key, Value: value})
	}
}

// showClient attaches what is known of the client to the next event.
func (c *Conn) showClient() {
	c.client = &agentv1.ClientState{Hello: c.domain, Esmtp: c.esmtp, AuthUser: c.user, AuthMechanism: c.mechanism}
}

func (c *Conn) auth(kind agentv1.EventType, detail *agentv1.AuthDetail) Verdict {
	c.h.t.Helper()
	return c.event(&agentv1.Event{Type: kind, Detail: &agentv1.Event_Auth{Auth: detail}})
}

// Rset is the client's RSET: the message is given up.
func (c *Conn) Rset() Verdict {
	c.h.t.Helper()
	v := c.event(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_RSET_COMMAND, Detail: &agentv1.Event_Command{Command: &agentv1.CommandDetail{}}})
	c.message, c.over = nil, true
	return v
}

// Reject tells the agent of a refusal.
func (c *Conn) Reject(r agent.Rejection) Verdict {
	c.h.t.Helper()
	return c.event(&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_REJECT, Detail: &agentv1.Event_Reject{Reject: &agentv1.RejectDetail{
		Reply:   &agentv1.Reply{Code: uint32(r.Reply.Code), Enhanced: r.Reply.Enhanced, Lines: r.Reply.Lines},
		Command: r.Command, Recipient: r.Recipient, Cause: agentv1.RejectDetail_Cause(r.Cause), Agent: r.Agent, At: agentv1.EventType(r.At),
	}}})
}

// Quit ends the session. The agent's watching handlers have run when it returns.
func (c *Conn) Quit() {
	c.h.t.Helper()
	if err := c.end(agentv1.SessionEnd_REASON_QUIT); err != nil {
		c.h.t.Fatalf("agenttest: the end of the session: %v", err)
	}
}

// SetProperty puts a value into the session's bag as if the agent named in the key,
// "agent-name/key", had set it.
func (c *Conn) SetProperty(key string, value any) {
	c.h.t.Helper()
	c.setFresh(agentv1.Property_SCOPE_SESSION, key, value)
}

func (c *Conn) setFresh(scope agentv1.Property_Scope, key string, value any) {
	c.h.t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		c.h.t.Fatalf("agenttest: property %s: %v", key, err)
	}
	c.fresh = append(c.fresh, &agentv1.Property{Scope: scope, Key: key, Value: data})
}

// Property returns the JSON of what the agent has set under a key, in the session's bag or
// the message's; "" where it has not.
func (c *Conn) Property(key string) string {
	if m := c.message; m != nil {
		if v, ok := m.bag[key]; ok {
			return string(v)
		}
	}
	return string(c.bag[key])
}

// event brings one event to the agent, if it is bound to it, and applies the verdict.
func (c *Conn) event(e *agentv1.Event) Verdict {
	c.h.t.Helper()
	sub := c.h.subscription(e.Type)
	if sub == nil || c.off[e.Type] || c.detached || c.closed || !c.concerns(sub.Filter, e) {
		return Verdict{Action: "continue"}
	}
	c.seq++
	e.Seq = c.seq
	c.attach(e, sub)
	c.waiting = append(c.waiting, e)
	if sub.Mode != agentv1.Subscription_MODE_DECIDE {
		e.Notify = true
		return Verdict{Action: "continue"}
	}
	c.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_Events{Events: &agentv1.Events{
		Events: c.waiting, TimeoutMs: uint32(c.h.config.Timeout.Milliseconds()),
	}}})
	c.waiting = nil
	v := c.verdict(e)
	c.apply(e.Type, v)
	c.last, c.uploads = v, nil
	return verdictOf(v)
}

func (c *Conn) verdict(e *agentv1.Event) *agentv1.Verdict {
	c.h.t.Helper()
	frame := c.frame(e)
	list := frame.GetVerdicts().GetVerdicts()
	if len(list) != 1 || list[0].Seq != e.Seq {
		c.h.t.Fatalf("agenttest: %s: the agent answered with %v", agent.Event(e.Type), frame)
	}
	return list[0]
}

// frame returns what the agent answers when it has read and sent the bodies it wants to.
func (c *Conn) frame(e *agentv1.Event) *agentv1.AgentFrame {
	c.h.t.Helper()
	for {
		frame, err := c.stream.Recv()
		if err != nil {
			c.h.t.Fatalf("agenttest: %s: %v", agent.Event(e.Type), err)
		}
		switch f := frame.Frame.(type) {
		case *agentv1.AgentFrame_Read:
			c.serve(f.Read)
		case *agentv1.AgentFrame_Upload:
			c.take(f.Upload)
		case *agentv1.AgentFrame_Submit:
			c.submit(e, f.Submit)
		default:
			return frame
		}
	}
}

func (c *Conn) send(f *agentv1.HostFrame) {
	c.h.t.Helper()
	if err := c.stream.Send(f); err != nil {
		c.h.t.Fatalf("agenttest: the agent's stream: %v", err)
	}
}

func (c *Conn) end(reason agentv1.SessionEnd_Reason) error {
	if c.closed || c.stream == nil {
		return nil
	}
	c.closed = true
	if sub := c.h.subscription(agentv1.EventType_EVENT_TYPE_DISCONNECT); sub != nil && !c.detached && (c.seq > 0 || sub.Filter == nil) {
		e := &agentv1.Event{
			Type: agentv1.EventType_EVENT_TYPE_DISCONNECT, Seq: c.seq + 1, Notify: true,
			Detail: &agentv1.Event_Disconnect{Disconnect: &agentv1.DisconnectDetail{Reason: reason}},
		}
		c.attach(e, sub)
		c.waiting = append(c.waiting, e)
	}
	err := c.stream.Send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_End{End: &agentv1.SessionEnd{Reason: reason, Events: c.waiting}}})
	if err != nil {
		return err
	}
	if _, err := c.stream.Recv(); err != nil {
		return err
	}
	return c.stream.CloseSend()
}

func verdictOf(v *agentv1.Verdict) Verdict {
	return Verdict{
		Action: strings.ToLower(strings.TrimPrefix(v.Action.String(), "ACTION_")),
		Code:   int(v.Reply.GetCode()), Enhanced: v.Reply.GetEnhanced(), Text: strings.Join(v.Reply.GetLines(), "\n"),
		Reason: v.Reason, Failure: v.Failure.GetDetail(), Wait: time.Duration(v.DeferMs) * time.Millisecond,
	}
}
