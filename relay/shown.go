package relay

import (
	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/agents"
	"example.org/relay/relay/event"
)

// agentOf is an agent as the commands are told of it.
func agentOf(i agents.Info) *controlv1.Agent {
	a := &controlv1.Agent{
		Name: i.Name, Service: string(i.Service), Priority: uint32(i.Priority), Enabled: i.Enabled, Path: i.Path, Sha256: i.SHA256,
		Factory: i.Factory, Version: i.Version, Description: i.Description, Permissions: i.Permissions.List(),
		Timeout: i.Timeout.String(), OnFailure: i.OnFailure, SettingsPath: i.SettingsPath, State: i.State, Problem: i.Problem,
		Pid: int64(i.PID), Generation: i.Generation, Calls: i.Calls, Failures: i.Failures, Crashes: i.Crashes, Isolation: i.Isolation,
		Asks: i.Asks.List(), Only: onlyOf(i.Only), Limits: i.Limits, Sandbox: i.Sandbox,
		Refused: i.Refused, Timeouts: i.Timeouts, Overloaded: i.Overloaded, Poison: i.Poison,
	}
	confineOf(a, i.Confine)
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
	if !i.BypassUntil.IsZero() {
		a.BypassUntilUnixMs = i.BypassUntil.UnixMilli()
	}
	if !i.RetryAt.IsZero() {
		a.RetryUnixMs = i.RetryAt.UnixMilli()
	}
	if f := i.LastFailure; f != nil {
		a.LastFailure, a.LastFailureEvent, a.LastFailureUnixMs = f.Text, f.Event.String(), f.At.UnixMilli()
	}
	return a
}

func onlyOf(f event.Filter) *controlv1.Only {
	only := &controlv1.Only{
		Listeners: f.Listeners, RecipientDomains: f.RecipientDomains, SenderDomains: f.SenderDomains, MaxSize: f.MaxSize,
	}
	if f.Direction != event.AnyDirection {
		only.Direction = f.Direction.String()
	}
	if f.Login != event.AnyLogin {
		only.Authenticated = f.Login.String()
	}
	return only
}

func confineOf(a *controlv1.Agent, c agents.Confine) {
	a.User, a.ReadOnly, a.ReadPaths = value(c.User), value(c.ReadOnly), c.ReadPaths
	a.MaxSessions, a.MaxMemory = uint64(value(c.Sessions)), value(c.Memory)
	a.MaxProcessor, a.MaxProcesses = uint64(value(c.Processor)), uint64(value(c.Processes))
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
