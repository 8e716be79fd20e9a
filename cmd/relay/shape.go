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
}

func shapeOf(g *controlv1.Agent) agentShape {
	s := agentShape{
		Name: g.GetName(), Service: g.GetService(), Priority: g.GetPriority(), Enabled: g.GetEnabled(),
		State: g.GetState(), Problem: g.GetProblem(), PID: g.GetPid(), Generation: g.GetGeneration(),
		Path: g.GetPath(), SHA256: g.GetSha256(), Factory: g.GetFactory(), Version: g.GetVersion(), Description: g.GetDescription(),
		Events: list(g.GetEvents()), Watches: list(g.GetNotifies()), ChangesRecipientsAt: g.GetChangesRecipientsAt(),
		Permissions: list(g.GetPermissions()), Timeout: g.GetTimeout(), OnFailure: g.GetOnFailure(), Settings: g.GetSettingsPath(),
		Calls: g.GetCalls(), Failures: g.GetFailures(), Crashes: g.GetCrashes(), Isolation: g.GetIsolation(),
	}
	if ms := g.GetStartedUnixMs(); ms > 0 {
		s.Started = time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
	}
	return s
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
	Name    string `json:"name"`
	Watches bool   `json:"watches"`
}

// watchMark follows the name of an agent that only watches an event, in the control contract.
const watchMark = " (watches)"

func pipelineShape(stages []*controlv1.Stage) []stageShape {
	all := make([]stageShape, len(stages))
	for i, s := range stages {
		all[i] = stageShape{Service: s.GetService(), Event: s.GetEvent(), Agents: []boundShape{}}
		for _, name := range s.GetAgents() {
			name, watches := strings.CutSuffix(name, watchMark)
			all[i].Agents = append(all[i].Agents, boundShape{name, watches})
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
