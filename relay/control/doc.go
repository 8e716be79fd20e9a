// Package control is the local socket over which the operator's commands talk to a running
// relay: gRPC on state_dir/control.sock, for the relay's own user and root. What the commands
// may ask is Operator, which the relay implements and Client offers to the commands.
package control

import (
	"context"
	"time"

	"example.org/relay/proto/control/v1"
)

// Operator is what the commands may ask of a running relay. An error is a sentence for the
// operator; one made by the package status of gRPC keeps its code. Safe for concurrent use.
type Operator interface {
	Status(context.Context, *controlv1.StatusRequest) (*controlv1.StatusResponse, error)
	Reload(context.Context, *controlv1.ReloadRequest) (*controlv1.ReloadResponse, error)
	InstallAgent(context.Context, *controlv1.InstallAgentRequest) (*controlv1.AgentChange, error)
	UninstallAgent(context.Context, *controlv1.AgentRequest) (*controlv1.AgentChange, error)
	EnableAgent(context.Context, *controlv1.AgentRequest) (*controlv1.AgentChange, error)
	DisableAgent(context.Context, *controlv1.AgentRequest) (*controlv1.AgentChange, error)
	SetAgent(context.Context, *controlv1.SetAgentRequest) (*controlv1.AgentChange, error)
	GetAgents(context.Context, *controlv1.GetAgentsRequest) (*controlv1.GetAgentsResponse, error)
	GetPipeline(context.Context, *controlv1.GetPipelineRequest) (*controlv1.GetPipelineResponse, error)
	BypassAgent(context.Context, *controlv1.BypassAgentRequest) (*controlv1.AgentChange, error)
	Explain(context.Context, *controlv1.ExplainRequest) (*controlv1.ExplainResponse, error)
}

// CallTimeout is how long one call may take, at either end: an agent that is enabled has to
// start first.
const CallTimeout = 60 * time.Second

// SocketName is the name of the socket in the state directory.
const SocketName = "control.sock"
