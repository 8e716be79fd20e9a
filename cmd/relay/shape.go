package main

import (
	"strings"
	"time"

	"example.org/relay/proto/control/v1"
)

// The shapes of --json, as docs/commands.md has them. Fields are added, never renamed or
// removed.

// agentShape is an agent.
type agentShape struct {
	Name                string   `json:"name"`
	Service             string   `json:"service"`
	Priority            uint32   `json:"priority"`
	Enabled             bool     `json:"enabled"`
	State               string   `json:"state"`
	Problem             string   `json:"problem"`
	PID                 int64    `json:"pid"`
	Started             string   `json:"started"` // RFC 3339; empty: not running
	Generation          uint64   `json:"generation"`
	Path                string   `json:"path"`
	SHA256              string   `json:"sha256"`
	Factory             string   `json:"factory"`
	Version             string   `json:"version"`
	Description         string   `json:"description"`
	Events              []string `json:"events"`
	Watches             []string `json:"watches"`
	ChangesRecipientsAt string   `json:"changes_recipients_at"`
	Permissions         []string `json:"permissions"`
	Timeout             string   `json:"timeout"`
	OnFailure           string   `json:"on_failure"`
	Settings            string   `json:"settings"`
	Calls               uint64   `json:"calls"`
	Failures            uint64   `json:"failures"`
	Crashes             uint64   `json:"crashes"`
	Isolation           string   `json:"isolation"`

	Asks             []string  `json:"asks"`
	Withheld         []string  `json:"withheld"`
	Only             onlyShape `json:"only"`
	BypassUntil      string    `json:"bypass_until"` // RFC 3339; empty: not bypassed
	NextStart        string    `json:"next_start"`   // RFC 3339; empty: none is waited for
	Timeouts         uint64    `json:"timeouts"`
	Refused          uint64    `json:"refused"`
	Overloaded       uint64    `json:"overloaded"`
	Poison           uint64    `json:"poison"`
	LastFailure      string    `json:"last_failure"`
	LastFailureAt    string    `json:"last_failure_at"` // RFC 3339; empty: there was none
	LastFailureEvent string    `json:"last_failure_event"`
	MaxSessions      uint64    `json:"max_sessions"` // these four: 0 is no limit
	MaxMemory        uint64    `json:"max_memory"`   // octets
	MaxProcessor     uint64    `json:"max_processor"`
	MaxProcesses     uint64    `json:"max_processes"`
	User             string    `json:"user"` // empty: the relay's own
	ReadOnly         bool      `json:"read_only"`
	ReadPaths        []string  `json:"read_paths"`
	Limits           []string  `json:"limits"`
	Sandbox          []string  `json:"sandbox"`
}

// onlyShape is what an agent is narrowed to; what is empty or 0 is any.
type onlyShape struct {
	Listeners        []string `json:"listeners"`
	RecipientDomains []string `json:"recipient_domains"`
	SenderDomains    []string `json:"sender_domains"`
	Direction        string   `json:"direction"`
	Authenticated    string   `json:"authenticated"`
	MaxSize          uint64   `json:"max_size"`
}

func shapeOf(g *controlv1.Agent) agentShape {
	return agentShape{
		Name: g.GetName(), Service: g.GetService(), Priority: g.GetPriority(), Enabled: g.GetEnabled(),
		State: g.GetState(), Problem: g.GetProblem(), PID: g.GetPid(), Generation: g.GetGeneration(),
		Path: g.GetPath(), SHA256: g.GetSha256(), Factory: g.GetFactory(), Version: g.GetVersion(), Description: g.GetDescription(),
		Events: list(g.GetEvents()), Watches: list(g.GetNotifies()), ChangesRecipientsAt: g.GetChangesRecipientsAt(),
		Permissions: list(g.GetPermissions()), Timeout: g.GetTimeout(), OnFailure: g.GetOnFailure(), Settings: g.GetSettingsPath(),
		Calls: g.GetCalls(), Failures: g.GetFailures(), Crashes: g.GetCrashes(), Isolation: g.GetIsolation(),
		Started: stamp(g.GetStartedUnixMs()),
		Asks:    list(g.GetAsks()), Withheld: list(withheld(g)), Only: onlyShapeOf(g.GetOnly()),
		BypassUntil: stamp(g.GetBypassUntilUnixMs()), NextStart: stamp(g.GetRetryUnixMs()),
		Timeouts: g.GetTimeouts(), Refused: g.GetRefused(), Overloaded: g.GetOverloaded(), Poison: g.GetPoison(),
		LastFailure: g.GetLastFailure(), LastFailureAt: stamp(g.GetLastFailureUnixMs()), LastFailureEvent: g.GetLastFailureEvent(),
		MaxSessions: g.GetMaxSessions(), MaxMemory: g.GetMaxMemory(), MaxProcessor: g.GetMaxProcessor(), MaxProcesses: g.GetMaxProcesses(),
		User: g.GetUser(), ReadOnly: g.GetReadOnly(), ReadPaths: list(g.GetReadPaths()),
		Limits: list(g.GetLimits()), Sandbox: list(g.GetSandbox()),
	}
}

func onlyShapeOf(o *controlv1.Only) onlyShape {
	return onlyShape{
		Listeners: list(o.GetListeners()), RecipientDomains: list(o.GetRecipientDomains()), SenderDomains: list(o.GetSenderDomains()),
		Direction: o.GetDirection(), Authenticated: o.GetAuthenticated(), MaxSize: o.GetMaxSize(),
	}
}

// stamp is a time for programs; "" is none.
func stamp(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
}

// changeShape is the answer of every command that changes an agent.
type changeShape struct {
	Agent  agentShape `json:"agent"`
	Notes  []string   `json:"notes"`
	WhatIf bool       `json:"what_if"` // nothing was done
}

// stageShape is an event of a service.
type stageShape struct {
	Service string       `json:"service"`
	Event   string       `json:"event"`
	Agents  []boundShape `json:"agents"`
}

type boundShape struct {
	Name     string `json:"name"`
	Watches  bool   `json:"watches"`
	Bypassed bool   `json:"bypassed"`
}

// The marks follow the name of an agent in the control contract, in this order: one that only
// watches an event, one that mail goes on without.
const (
	watchMark  = " (watches)"
	bypassMark = " (bypassed)"
)

func pipelineShape(stages []*controlv1.Stage) []stageShape {
	all := make([]stageShape, len(stages))
	for i, s := range stages {
		all[i] = stageShape{Service: s.GetService(), Event: s.GetEvent(), Agents: []boundShape{}}
		for _, name := range s.GetAgents() {
			name, bypassed := strings.CutSuffix(name, bypassMark)
			name, watches := strings.CutSuffix(name, watchMark)
			all[i].Agents = append(all[i].Agents, boundShape{name, watches, bypassed})
		}
	}
	return all
}

// reloadShape is the answer of reload.
type reloadShape struct {
	Changed      []string `json:"changed"`
	NeedsRestart []string `json:"needs_restart"`
	WhatIf       bool     `json:"what_if"`
}

// hashShape is the answer of hash-password.
type hashShape struct {
	User     string `json:"user"`
	Argon2id string `json:"argon2id"`
	Scram    string `json:"scram"`
	Line     string `json:"line"` // of the users file
}

// checkShape is the answer of check-config.
type checkShape struct {
	File       string         `json:"file"`
	Good       bool           `json:"good"`
	Problems   []problemShape `json:"problems"`
	NotInForce []string       `json:"not_in_force"`
	Relaying   []string       `json:"relaying"` // who may send where, a sentence each
}

type problemShape struct {
	File string `json:"file"`
	Line int    `json:"line"` // 0: not known
	Key  string `json:"key"`
	Text string `json:"text"`
}

// list is never null in JSON.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
