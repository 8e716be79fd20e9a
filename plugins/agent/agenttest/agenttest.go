// Package agenttest plays the relay for the test of an agent, without a relay and without a
// network: it starts the factory's agent behind the real protocol in memory, walks it through
// sessions, applies its edits and shows what came of them.
//
//	h := agenttest.Start(t, factory, agenttest.Config{})
//	m := h.Connect("192.0.2.1").Mail("sender@example.com")
//	m.Rcpt("alice_shop@example.org")
//	got := m.EndOfHeaders("Subject: Hello\r\n")
//	// got.Verdict, got.Sender, got.Recipients, got.Header
//
// EndOfData gives a message its body; [Host.Queued] begins where a message comes out of the
// queue, [Host.OpenConnection] where a delivery agent is to connect.
//
// What the relay would refuse, an edit the agent did not ask for or a header field that would
// break the message, ends the test with a sentence that says so.
package agenttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// Config is what the operator would say. The zero Config installs the agent for the FrontEnd
// (or the Hub, see Role) of a relay that accepts example.org, without settings, and grants all
// it asks for.
type Config struct {
	Settings        any    // encoded as JSON; json.RawMessage goes as it is
	Role            string // empty: FrontEnd, or Hub where the agent binds what only services with a queue have
	AcceptedDomains []string
	Grant           []agent.Permission   // nil: what the agent asks for
	Timeout         time.Duration        // of a decision; 10 s
	Refused         func(problem string) // what the relay would refuse; nil: ends the test
	// Submit answers a message that the agent submits, as the next hop would; nil: 250.
	Submit    func(Submission) agent.Reply
	StateDir  string // the agent's folder; empty: one of the Host's own, the same each time
	Bodies    Bodies // how bodies come
	ChunkSize int    // octets of a chunk of a pulled body; 0: 64 KiB
	OldRelay  bool   // a relay that gives no bodies, takes no large ones and has no queue
}

// Bodies says how an agent gets at the bodies of messages.
type Bodies int

// The ways.
const (
	Inline  Bodies = iota // with the event up to 64 KiB, larger ones pulled
	Pulled                // always pulled, in chunks
	Spooled               // as a file
)

// Host plays the relay. Its methods are for the goroutine of the test.
type Host struct {
	t          testing.TB
	config     Config
	client     agentv1.AgentServiceClient
	offer      *agentv1.Factory
	bound      []*agentv1.Subscription // with the settings it has
	granted    []agentv1.Permission
	sessions   int
	items      int // queued so far
	forks      int
	generation uint64
	stateDir   string
	submitted  []Submission
}

const agentName = "under-test"

// Start starts the agent and configures it. It ends the test where the agent refuses that.
func Start(t testing.TB, f agent.Factory, c Config) *Host {
	t.Helper()
	service, err := agent.NewService(slog.New(slog.NewTextHandler(t.Output(), nil)), f)
	if err != nil {
		t.Fatalf("agenttest: %v", err)
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	agentv1.RegisterAgentServiceServer(server, service)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///agent",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatalf("agenttest: %v", err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-served
	})
	return connect(t, conn, c)
}

// connect plays the relay for the agent behind a connection.
func connect(t testing.TB, conn grpc.ClientConnInterface, c Config) *Host {
	t.Helper()
	h := &Host{t: t, stateDir: t.TempDir(), client: agentv1.NewAgentServiceClient(conn)}
	offer, err := h.client.Describe(t.Context(), &agentv1.DescribeRequest{})
	if err != nil {
		t.Fatalf("agenttest: Describe: %v", err)
	}
	h.offer = offer.Factories[0]
	if err := h.Configure(c); err != nil {
		t.Fatalf("agenttest: Configure: %v", err)
	}
	return h
}

// Configure gives the agent another configuration; sessions that run keep the old one. The
// error is what the agent says about it, an agent.FieldError for each problem, joined.
func (h *Host) Configure(c Config) error {
	h.t.Helper()
	settings, err := encodeSettings(c.Settings)
	if err != nil {
		return err
	}
	if c.Role == "" {
		c.Role = h.role()
	}
	for _, sub := range h.offer.Subscriptions {
		if e := agent.Event(sub.Event); !e.OfferedBy(c.Role) {
			return fmt.Errorf("the agent binds %s, which transport service %s does not have", e, c.Role)
		}
	}
	if c.AcceptedDomains == nil {
		c.AcceptedDomains = []string{"example.org"}
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	granted := h.offer.Permissions
	if c.Grant != nil {
		granted = nil
		for _, p := range c.Grant {
			granted = append(granted, agentv1.Permission(p))
		}
	}
	if c.StateDir == "" {
		c.StateDir = h.stateDir
	}
	h.generation++
	answer, err := h.client.Configure(h.t.Context(), &agentv1.ConfigureRequest{
		AgentName: agentName, Role: c.Role, Factory: h.offer.Name, Settings: settings, Hostname: "mx.example.org",
		AcceptedDomains: c.AcceptedDomains, Granted: granted, StateDir: c.StateDir, Generation: h.generation,
		Capabilities: c.capabilities(),
	})
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range answer.Errors {
		problems = append(problems, agent.FieldError{Field: e.Field, Problem: e.Problem})
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	h.config, h.granted, h.bound = c, granted, answer.Subscriptions
	return nil
}

// role is the service that the agent can be installed for, the FrontEnd if it can.
func (h *Host) role() string {
	for _, sub := range h.offer.Subscriptions {
		if !agent.Event(sub.Event).OfferedBy("FrontEnd") {
			return "Hub"
		}
	}
	return "FrontEnd"
}

func (c *Config) capabilities() []agentv1.Capability {
	all := []agentv1.Capability{agentv1.Capability_CAPABILITY_DEFERRED_EVENTS, agentv1.Capability_CAPABILITY_RESUME}
	if c.OldRelay {
		return all
	}
	return append(all, agentv1.Capability_CAPABILITY_CONTENT_READ, agentv1.Capability_CAPABILITY_CONTENT_FILE,
		agentv1.Capability_CAPABILITY_UPLOAD, agentv1.Capability_CAPABILITY_ROUTING, agentv1.Capability_CAPABILITY_SUBMIT, agentv1.Capability_CAPABILITY_DELIVERY)
}

func encodeSettings(settings any) ([]byte, error) {
	if settings == nil {
		return nil, nil
	}
	return json.Marshal(settings)
}

// Binds reports whether the agent is bound to the event with the settings it has, and whether it
// decides there.
func (h *Host) Binds(e agent.Event) (bound, decides bool) {
	sub := h.subscription(agentv1.EventType(e))
	return sub != nil, sub.GetMode() == agentv1.Subscription_MODE_DECIDE
}

// HeaderNames returns the header fields that the agent is shown at the event; none: all.
func (h *Host) HeaderNames(e agent.Event) []string {
	return slices.Clone(h.subscription(agentv1.EventType(e)).GetHeaderNames())
}

func (h *Host) subscription(e agentv1.EventType) *agentv1.Subscription {
	for _, sub := range h.bound {
		if sub.Event == e {
			return sub
		}
	}
	return nil
}

func (h *Host) may(p agentv1.Permission) bool { return slices.Contains(h.granted, p) }

// refuse reports what the relay would not take.
func (h *Host) refuse(problem string) {
	h.t.Helper()
	if h.config.Refused != nil {
		h.config.Refused(problem)
		return
	}
	h.t.Fatalf("agenttest: the relay would refuse this verdict: %s", problem)
}
