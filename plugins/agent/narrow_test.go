package agent_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

// chooser wants what its settings say.
type chooser struct {
	Mail  bool     `json:"mail"`
	Names []string `json:"names"`
}

func (*chooser) OnMailCommand(context.Context, *agent.Message, agent.Mailbox) agent.Verdict {
	return agent.Verdict{}
}
func (*chooser) OnEndOfHeaders(context.Context, *agent.Message) agent.Verdict { return agent.Verdict{} }
func (c *chooser) Wants(e agent.Event) bool                                   { return c.Mail || e != agent.EventMailCommand }
func (c *chooser) WantsHeaders() []string                                     { return c.Names }

func TestSettingsDecideWhatAnAgentIsBoundTo(t *testing.T) {
	f := agent.Build("chooser", func(s agent.Setup) (*chooser, error) {
		c := &chooser{}
		return c, s.Settings(c)
	}, agent.Headers("Subject"))
	h := agenttest.Start(t, f, agenttest.Config{})
	if bound, _ := h.Binds(agent.EventMailCommand); bound || len(h.HeaderNames(agent.EventEndOfHeaders)) != 0 {
		t.Errorf("without settings: MAIL %v, fields %q", bound, h.HeaderNames(agent.EventEndOfHeaders))
	}
	if err := h.Configure(agenttest.Config{Settings: chooser{true, []string{"Subject", "From", "subject"}}}); err != nil {
		t.Fatal(err)
	}
	bound, _ := h.Binds(agent.EventMailCommand)
	if diff := cmp.Diff([]string{"From", "Subject"}, h.HeaderNames(agent.EventEndOfHeaders)); !bound || diff != "" {
		t.Errorf("with settings: MAIL %v, fields %s", bound, diff)
	}
}
