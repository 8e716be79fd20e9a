package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"example.org/relay/relay/agents"
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// hosted is an agent process as the pipeline's Agent.
type hosted struct{ *agents.Agent }

func (h hosted) Open(sessionID string) pipeline.Conversation { return h.Agent.Open(sessionID) }

// startAgent installs and enables a factory of the agent program, as often as
// copies says, on a host of its own.
func startAgent(factory string, copies int) func(options) (peer, error) {
	return func(o options) (peer, error) {
		dir, err := os.MkdirTemp("", "agentbench")
		if err != nil {
			return nil, err
		}
		a := &agentPeer{notify: factory == "notify"}
		a.cleanup(func() error { return os.RemoveAll(dir) })
		if err := a.open(o, dir, factory, copies); err != nil {
			return nil, errors.Join(err, a.close())
		}
		return a, nil
	}
}

func (a *agentPeer) open(o options, dir, factory string, copies int) error {
	program, err := filepath.Abs(o.agent)
	if err != nil {
		return err
	}
	registry, err := agents.OpenRegistry(dir)
	if err != nil {
		return err
	}
	a.cleanup(registry.Close)
	const domain = "example.org"
	host, err := agents.New(agents.Options{
		Registry: registry,
		Services: []event.Role{event.FrontEnd},
		Defaults: agents.Defaults{Hostname: "mx." + domain, Domains: []string{domain}},
		Version:  "bench",
	})
	if err != nil {
		return err
	}
	a.cleanup(host.Close)
	for i := range copies {
		name := fmt.Sprintf("%s-%d", factory, i+1)
		if err := enable(host, name, program, factory); err != nil {
			return err
		}
	}
	infos, err := host.Get("", "")
	if err != nil {
		return err
	}
	for _, i := range infos {
		a.processes = append(a.processes, i.PID)
	}
	a.pipeline = pipeline.New(event.FrontEnd, mail.NewDomains(domain))
	a.pipeline.Set(bindings(host))
	return nil
}

func enable(host *agents.Host, name, program, factory string) error {
	ctx := context.Background()
	role := string(event.FrontEnd)
	if _, _, err := host.Install(ctx, agents.InstallRequest{Name: name, Service: role, Path: program, Factory: factory}); err != nil {
		return err
	}
	_, _, err := host.Enable(ctx, agents.Target{Name: name, Service: role})
	return err
}

func bindings(host *agents.Host) []pipeline.Binding {
	var all []pipeline.Binding
	for _, e := range host.Enabled(event.FrontEnd) {
		all = append(all, pipeline.Binding{
			Name: e.Name(), Agent: hosted{e}, Subscriptions: e.Subscriptions(), Granted: e.Granted(),
			ChangesRecipientsAt: e.ChangesRecipientsAt(), Timeout: e.Timeout(), OnFailure: pipeline.Policy(e.OnFailure()),
		})
	}
	return all
}

// cleanup adds what close is to do, last first.
func (a *agentPeer) cleanup(f func() error) { a.cleanups = append(a.cleanups, f) }

func (a *agentPeer) close() error {
	var err error
	for i := len(a.cleanups) - 1; i >= 0; i-- {
		err = errors.Join(err, a.cleanups[i]())
	}
	return err
}
