package relay

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/agents"
	"example.org/relay/relay/config"
	"example.org/relay/relay/event"
)

// Status says what the relay is and where it listens.
func (r *Relay) Status(context.Context, *controlv1.StatusRequest) (*controlv1.StatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &controlv1.StatusResponse{
		Version: Version, Pid: int64(os.Getpid()), StartedUnixMs: r.started.UnixMilli(), Draining: r.draining,
	}
	for _, l := range r.listeners {
		s.Listening = append(s.Listening, l.Addr().String())
	}
	return s, nil
}

// The agent commands of a running relay; see agentCommands.

func (r *Relay) commands() agentCommands {
	r.mu.Lock()
	defer r.mu.Unlock()
	return agentCommands{r.agents, r.cfg}
}

// InstallAgent installs an agent, disabled.
func (r *Relay) InstallAgent(ctx context.Context, q *controlv1.InstallAgentRequest) (*controlv1.AgentChange, error) {
	return r.commands().InstallAgent(ctx, q)
}

// UninstallAgent removes an agent.
func (r *Relay) UninstallAgent(ctx context.Context, q *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return r.commands().UninstallAgent(ctx, q)
}

// EnableAgent puts an agent in force for the transactions that begin from now on.
func (r *Relay) EnableAgent(ctx context.Context, q *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return r.commands().EnableAgent(ctx, q)
}

// DisableAgent takes an agent out of the transactions that begin from now on.
func (r *Relay) DisableAgent(ctx context.Context, q *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return r.commands().DisableAgent(ctx, q)
}

// SetAgent changes an agent: all of what is asked, or nothing.
func (r *Relay) SetAgent(ctx context.Context, q *controlv1.SetAgentRequest) (*controlv1.AgentChange, error) {
	return r.commands().SetAgent(ctx, q)
}

// GetAgents shows agents.
func (r *Relay) GetAgents(ctx context.Context, q *controlv1.GetAgentsRequest) (*controlv1.GetAgentsResponse, error) {
	return r.commands().GetAgents(ctx, q)
}

// GetPipeline shows every event in firing order with its agents.
func (r *Relay) GetPipeline(ctx context.Context, q *controlv1.GetPipelineRequest) (*controlv1.GetPipelineResponse, error) {
	return r.commands().GetPipeline(ctx, q)
}

// BypassAgent lets mail go on without an agent for a while.
func (r *Relay) BypassAgent(ctx context.Context, q *controlv1.BypassAgentRequest) (*controlv1.AgentChange, error) {
	return r.commands().BypassAgent(ctx, q)
}

// Explain says what would happen to a mail, before it comes.
func (r *Relay) Explain(ctx context.Context, q *controlv1.ExplainRequest) (*controlv1.ExplainResponse, error) {
	return r.commands().Explain(ctx, q)
}

// agentCommands are the operator's commands about agents, on the agents of a running relay or
// on its files.
type agentCommands struct {
	host *agents.Host
	cfg  *config.Config // in force
}

func (c agentCommands) InstallAgent(ctx context.Context, q *controlv1.InstallAgentRequest) (*controlv1.AgentChange, error) {
	settings, err := settingsJSON(q.SettingsToml, q.SettingsPath)
	if err != nil {
		return nil, err
	}
	bounds, err := c.bounds(q.Options)
	if err != nil {
		return nil, err
	}
	return change(c.host.Install(ctx, agents.InstallRequest{
		Name: q.Name, Service: q.Service, Path: q.Path, Factory: q.Factory,
		Settings: settings, SettingsPath: q.SettingsPath, WhatIf: q.WhatIf, Bounds: bounds,
	}))
}

func (c agentCommands) UninstallAgent(ctx context.Context, q *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return change(c.host.Uninstall(ctx, target(q)))
}

func (c agentCommands) EnableAgent(ctx context.Context, q *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return change(c.host.Enable(ctx, target(q)))
}

func (c agentCommands) DisableAgent(ctx context.Context, q *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return change(c.host.Disable(ctx, target(q), q.Now))
}

func (c agentCommands) SetAgent(ctx context.Context, q *controlv1.SetAgentRequest) (*controlv1.AgentChange, error) {
	bounds, err := c.bounds(q.Options)
	if err != nil {
		return nil, err
	}
	s := agents.SetRequest{
		Target:    agents.Target{Name: q.Name, Service: q.Service, WhatIf: q.WhatIf},
		OnFailure: q.OnFailure, SettingsPath: q.SettingsPath, Path: q.Path, Bounds: bounds,
	}
	if q.Priority != nil {
		n := int(min(*q.Priority, 1<<20))
		s.Priority = &n
	}
	if q.Timeout != nil {
		d, err := duration("timeout", *q.Timeout)
		if err != nil {
			return nil, err
		}
		s.Timeout = &d
	}
	if q.SettingsToml != nil {
		settings, err := settingsJSON(q.SettingsToml, q.GetSettingsPath())
		if err != nil {
			return nil, err
		}
		s.Settings = &settings
	}
	return change(c.host.Set(ctx, s))
}

func (c agentCommands) GetAgents(_ context.Context, q *controlv1.GetAgentsRequest) (*controlv1.GetAgentsResponse, error) {
	all, err := c.host.Get(q.Name, q.Service)
	if err != nil {
		return nil, err
	}
	out := &controlv1.GetAgentsResponse{}
	for _, i := range all {
		out.Agents = append(out.Agents, agentOf(i))
	}
	return out, nil
}

func (c agentCommands) GetPipeline(_ context.Context, q *controlv1.GetPipelineRequest) (*controlv1.GetPipelineResponse, error) {
	services := []event.Role{event.FrontEnd} // the one that this version runs
	if q.Service != "" {
		role, err := event.ParseRole(q.Service)
		if err != nil {
			return nil, err
		}
		if err := c.host.CheckService(role); err != nil {
			return nil, err
		}
		if !slices.Contains(services, role) {
			return nil, fmt.Errorf("transport service %s is configured, but does not run in this version", role)
		}
		services = []event.Role{role}
	}
	out := &controlv1.GetPipelineResponse{}
	for _, role := range services {
		enabled := c.host.Enabled(role)
		for _, k := range role.Events() {
			stage := &controlv1.Stage{Service: string(role), Event: k.String()}
			for _, a := range enabled {
				for _, s := range a.Subscriptions() {
					if s.Kind != k {
						continue
					}
					name := a.Name()
					if s.Notify {
						name += " (watches)"
					}
					if !a.Bypassed().IsZero() {
						name += " (bypassed)"
					}
					stage.Agents = append(stage.Agents, name)
				}
			}
			out.Stages = append(out.Stages, stage)
		}
	}
	return out, nil
}

func (c agentCommands) BypassAgent(ctx context.Context, q *controlv1.BypassAgentRequest) (*controlv1.AgentChange, error) {
	d, err := duration("bypass for", q.For)
	if err != nil {
		return nil, err
	}
	return change(c.host.Bypass(ctx, agents.Target{Name: q.Name, Service: q.Service, WhatIf: q.WhatIf}, d))
}

// settingsJSON is a file of settings as the agent gets it; "" where there is nothing in it.
func settingsJSON(file []byte, path string) (string, error) {
	if len(bytes.TrimSpace(file)) == 0 {
		return "", nil
	}
	text, err := config.SettingsJSON(file)
	if err != nil && path != "" {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return string(text), err
}

func target(q *controlv1.AgentRequest) agents.Target {
	return agents.Target{Name: q.Name, Service: q.Service, WhatIf: q.WhatIf}
}

func change(i agents.Info, notes []string, err error) (*controlv1.AgentChange, error) {
	if err != nil {
		return nil, err
	}
	return &controlv1.AgentChange{Agent: agentOf(i), Notes: notes}, nil
}
