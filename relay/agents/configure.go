package agents

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// spec is what an instance is made of: the entry as installed and what the relay tells it.
type spec struct {
	Entry
	hostname string
	version  string   // of the relay
	domains  []string // accepted
	confine  Confine  // in force, with the defaults
}

// program tells one program from another.
func (s *spec) program() string { return s.SHA256 + " " + s.Path }

// capabilities are what this host can do on the wire. Events are always decided one by one
// and in order, which needs none.
var capabilities = []agentv1.Capability{
	agentv1.Capability_CAPABILITY_DEFERRED_EVENTS,
	agentv1.Capability_CAPABILITY_RESUME,
	agentv1.Capability_CAPABILITY_LARGE_STATE,
	agentv1.Capability_CAPABILITY_SUBMIT,
}

// terms are what host and agent agreed on at Configure. Immutable.
type terms struct {
	version     string
	subs        []event.Subscription
	headers     [event.NumKinds]bool // the header section is attached at this event
	headerNames []string             // only these fields; empty: all
	deferred    bool                 // several events may come in a frame
	resume      bool                 // a session may be opened in its middle
	largeState  bool
	submit      bool // it may submit messages
	sessions    int  // at the same time; 0: no limit
}

// decides reports whether the agent gives a verdict on the event.
func (t *terms) decides(k event.Kind) bool {
	for i := range t.subs {
		if t.subs[i].Kind == k {
			return !t.subs[i].Notify
		}
	}
	return false
}

// FieldErrors are the problems of settings that an agent refused.
type FieldErrors []string

// Error joins the problems.
func (e FieldErrors) Error() string { return "settings refused: " + strings.Join(e, "; ") }

func (s *spec) request(generation uint64, scratch string, validateOnly bool, home string) *agentv1.ConfigureRequest {
	q := &agentv1.ConfigureRequest{
		HostVersion:  s.version,
		Capabilities: capabilities,
		AgentName:    s.Name,
		Generation:   generation,
		Settings:     []byte(s.Settings),
		StateDir:     home,
		ScratchDir:   scratch,
		Limits: &agentv1.Limits{
			MaxFrameBytes: agentv1.MaxFrameBytes, InlineContentBytes: agentv1.InlineContentBytes,
			MaxEdits: agentv1.MaxEdits, MaxPropertyBytes: agentv1.MaxPropertyBytes,
		},
		Role: string(s.Service), Factory: s.Factory, AcceptedDomains: s.domains,
		ValidateOnly: validateOnly, Hostname: s.hostname,
	}
	for p := event.ReadHeaders; p < event.NumPermissions; p++ {
		if s.Granted.Has(p) {
			q.Granted = append(q.Granted, agentv1.Permission(p))
		}
	}
	return q
}

// configure tells the agent its settings and reads its terms. restart says that the settings
// are good, but only a new process takes them.
func (s *spec) configure(ctx context.Context, p agentv1.AgentServiceClient, q *agentv1.ConfigureRequest) (t *terms, restart bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, configureTime)
	defer cancel()
	r, err := p.Configure(ctx, q)
	if err != nil {
		return nil, false, fmt.Errorf("agent %s: configure: %w", s.Name, err)
	}
	if len(r.Errors) > 0 {
		var problems FieldErrors
		for _, e := range r.Errors {
			text := oneLine(e.Problem, 300)
			if e.Field != "" {
				text = oneLine(e.Field, 100) + ": " + text
			}
			problems = append(problems, text)
		}
		return nil, false, fmt.Errorf("agent %s: %w", s.Name, problems)
	}
	t, err = s.terms(r)
	return t, r.RestartRequired, err
}

func (s *spec) terms(r *agentv1.ConfigureResponse) (*terms, error) {
	t := &terms{version: oneLine(r.AgentVersion, 100), sessions: s.sessions(int(r.MaxConcurrentSessions))}
	t.deferred = slices.Contains(r.Capabilities, agentv1.Capability_CAPABILITY_DEFERRED_EVENTS)
	t.resume = slices.Contains(r.Capabilities, agentv1.Capability_CAPABILITY_RESUME)
	t.largeState = slices.Contains(r.Capabilities, agentv1.Capability_CAPABILITY_LARGE_STATE)
	t.submit = slices.Contains(r.Capabilities, agentv1.Capability_CAPABILITY_SUBMIT)
	subs, err := subscriptions(r.Subscriptions)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Name, err)
	}
	for _, sub := range subs {
		if problem := s.beyond(sub); problem != "" {
			return nil, fmt.Errorf("agent %s: %s: relay set-agent %s --path %s takes it over", s.Name, problem, s.Name, s.Path)
		}
	}
	if t.subs = subs; len(subs) == 0 {
		return nil, fmt.Errorf("agent %s: binds no event with these settings", s.Name)
	}
	kinds := make([]event.Kind, len(t.subs))
	for i := range t.subs {
		kinds[i] = t.subs[i].Kind
	}
	if err := event.CheckRole(s.Name, s.Service, kinds); err != nil {
		return nil, err
	}
	all := false // an event wants all header fields
	for _, w := range r.Subscriptions {
		if w.Content == agentv1.Subscription_CONTENT_NONE || !s.Granted.Has(event.ReadHeaders) {
			continue
		}
		t.headers[w.Event] = true
		all = all || len(w.HeaderNames) == 0
		t.headerNames = append(t.headerNames, w.HeaderNames...)
	}
	slices.Sort(t.headerNames)
	if t.headerNames = slices.Compact(t.headerNames); all {
		t.headerNames = nil
	}
	return t, nil
}

// beyond says what of a subscription goes beyond what the program said when it was installed; "":
// nothing does.
func (s *spec) beyond(sub event.Subscription) string {
	i := slices.IndexFunc(s.Described.Subscriptions, func(d event.Subscription) bool {
		return d.Kind == sub.Kind && d.Notify == sub.Notify
	})
	switch {
	case i < 0:
		return fmt.Sprintf("binds %s, which it did not say when it was installed", sub.Kind)
	case !sub.Filter.Within(s.Described.Subscriptions[i].Filter):
		return fmt.Sprintf("wants to be asked about more at %s than it said when it was installed", sub.Kind)
	}
	return ""
}

// home is where the agent may keep files.
func (w *workshop) home(e *Entry) string {
	return filepath.Join(w.stateDir, "agents", string(e.Service), e.Name)
}
