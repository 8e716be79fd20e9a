package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay"
	"example.org/relay/relay/agents"
	"example.org/relay/relay/config"
	"example.org/relay/relay/control"
)

// operator is what the commands about agents ask: the running relay, or its files.
type operator interface {
	InstallAgent(context.Context, *controlv1.InstallAgentRequest) (*controlv1.AgentChange, error)
	UninstallAgent(context.Context, *controlv1.AgentRequest) (*controlv1.AgentChange, error)
	EnableAgent(context.Context, *controlv1.AgentRequest) (*controlv1.AgentChange, error)
	DisableAgent(context.Context, *controlv1.AgentRequest) (*controlv1.AgentChange, error)
	SetAgent(context.Context, *controlv1.SetAgentRequest) (*controlv1.AgentChange, error)
	GetAgents(context.Context, *controlv1.GetAgentsRequest) (*controlv1.GetAgentsResponse, error)
	GetPipeline(context.Context, *controlv1.GetPipelineRequest) (*controlv1.GetPipelineResponse, error)
	BypassAgent(context.Context, *controlv1.BypassAgentRequest) (*controlv1.AgentChange, error)
	Explain(context.Context, *controlv1.ExplainRequest) (*controlv1.ExplainResponse, error)
	Close() error
}

// configPaths are where the configuration is looked for.
var configPaths = []string{"config.toml", "/etc/relay/config.toml"}

// configPath is the file that --config names, or the first there is, absolute.
func (a *app) configPath() (string, error) {
	if a.configFile != "" {
		return filepath.Abs(a.configFile)
	}
	for _, p := range configPaths {
		if _, err := os.Stat(p); err == nil {
			return filepath.Abs(p)
		}
	}
	return "", fmt.Errorf("there is no configuration: neither ./%s nor %s exists; name one with --config FILE", configPaths[0], configPaths[1])
}

// dial reaches the running relay. The error is control.ErrNotRunning, wrapped, where none
// runs, unless the configuration is not good: then it is that.
//
// A configuration that is being edited must not keep anybody from the relay that runs with
// the one before: of a bad one, the state directory is taken.
func (a *app) dial() (*control.Client, *config.Config, error) {
	path, err := a.configPath()
	if err != nil {
		return nil, nil, err
	}
	cfg, bad := config.Load(path)
	dir := ""
	if bad == nil {
		dir = cfg.StateDir
	} else if dir = stateDir(path); dir == "" {
		return nil, nil, bad
	}
	client, err := control.Dial(dir)
	if bad != nil && errors.Is(err, control.ErrNotRunning) {
		return nil, nil, bad
	}
	return client, cfg, err
}

// stateDir is the state directory that a configuration with mistakes names, or "".
func stateDir(path string) string {
	f := struct {
		StateDir string `toml:"state_dir"`
	}{"var"}
	if _, err := toml.DecodeFile(path, &f); err != nil || f.StateDir == "" {
		return ""
	}
	if filepath.IsAbs(f.StateDir) {
		return f.StateDir
	}
	return filepath.Join(filepath.Dir(path), f.StateDir)
}

// lockPatience is how long a command waits for a relay that is just starting, or for
// another command, to let it in.
const lockPatience = 3 * time.Second

// operator reaches the running relay or, where none runs, its files.
func (a *app) operator(ctx context.Context) (operator, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		client, cfg, err := a.dial()
		if err == nil {
			return client, nil
		}
		if !errors.Is(err, control.ErrNotRunning) {
			return nil, err
		}
		offline, err := relay.Offline(cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			return offline, nil
		}
		if !errors.Is(err, agents.ErrLocked) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
