package relay

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
	return change(c.host.Install(ctx, agents.InstallRequest{
		Name: q.Name, Service: q.Service, Path: q.Path, Factory: q.Factory,
		Settings: settings, SettingsPath: q.SettingsPath, WhatIf: q.WhatIf,
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
	s := agents.SetRequest{
		Target:    agents.Target{Name: q.Name, Service: q.Service, WhatIf: q.WhatIf},
		OnFailure: q.OnFailure, SettingsPath: q.SettingsPath, Path: q.Path,
	}
	if q.Priority != nil {
		n := int(min(*q.Priority, 1<<20))
		s.Priority = &n
	}
	if q.Timeout != nil {
		d, err := time.ParseDuration(*q.Timeout)
		if err != nil {
			return nil, fmt.Errorf("timeout %q: must be a duration with a unit, as 5s or 500ms", *q.Timeout)
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
	services := c.cfg.Services()
	if q.Service != "" {
		role, err := event.ParseRole(q.Service)
		if err != nil {
			return nil, err
		}
		if err := c.host.CheckService(role); err != nil {
			return nil, err
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
					switch {
					case s.Kind == k && s.Notify:
						stage.Agents = append(stage.Agents, a.Name()+" (watches)")
					case s.Kind == k:
						stage.Agents = append(stage.Agents, a.Name())
					}
				}
			}
			out.Stages = append(out.Stages, stage)
		}
	}
	return out, nil
}

func (c agentCommands) BypassAgent(context.Context, *controlv1.BypassAgentRequest) (*controlv1.AgentChange, error) {
	return nil, status.Error(codes.Unimplemented, "bypass-agent is not there yet")
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

func agentOf(i agents.Info) *controlv1.Agent {
	a := &controlv1.Agent{
		Name: i.Name, Service: string(i.Service), Priority: uint32(i.Priority), Enabled: i.Enabled, Path: i.Path, Sha256: i.SHA256,
		Factory: i.Factory, Version: i.Version, Description: i.Description, Permissions: i.Permissions.List(),
		Timeout: i.Timeout.String(), OnFailure: i.OnFailure, SettingsPath: i.SettingsPath, State: i.State, Problem: i.Problem,
		Pid: int64(i.PID), Generation: i.Generation, Calls: i.Calls, Failures: i.Failures, Crashes: i.Crashes, Isolation: i.Isolation,
	}
	for _, k := range i.Events {
		a.Events = append(a.Events, k.String())
	}
	for _, k := range i.Notifies {
		a.Notifies = append(a.Notifies, k.String())
	}
	if i.ChangesRecipientsAt != 0 {
		a.ChangesRecipientsAt = i.ChangesRecipientsAt.String()
	}
	if !i.Started.IsZero() {
		a.StartedUnixMs = i.Started.UnixMilli()
	}
	return a
}
