package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"example.org/relay/proto/control/v1"
)

// printJSON prints a value of one of the documented shapes.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.stdout, tidy(fmt.Sprintf(format, args...)))
}

// tidy keeps what others wrote, agents among them, on its line and from driving the terminal.
func tidy(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// table prints rows in columns; the first row is the heading.
func (a *app) table(rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = tidy(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// showChange says in a sentence how the agent is now, or would be.
func (a *app) showChange(verb string, whatIf bool, c *controlv1.AgentChange) error {
	if a.json {
		return a.printJSON(changeShape{Agent: shapeOf(c.GetAgent()), Notes: list(c.GetNotes()), WhatIf: whatIf})
	}
	is := "is"
	if whatIf {
		is = "would be"
	}
	agent := c.GetAgent()
	switch verb {
	case "uninstall":
		a.say("%s %s uninstalled from %s", agent.GetName(), is, agent.GetService())
	case "install":
		a.say("%s %s installed, %s", agent.GetName(), is, standing(agent, whatIf))
	case "set":
		a.say("%s %s %s; timeout %s, on failure %s", agent.GetName(), is, standing(agent, whatIf), agent.GetTimeout(), agent.GetOnFailure())
	default:
		a.say("%s %s %s", agent.GetName(), is, standing(agent, whatIf))
	}
	for _, n := range c.GetNotes() {
		a.say("  %s", n)
	}
	return nil
}

// standing is where an agent stands: "enabled in FrontEnd, priority 1, running (pid 123)".
func standing(agent *controlv1.Agent, whatIf bool) string {
	s := "disabled"
	if agent.GetEnabled() {
		s = "enabled"
	}
	s += fmt.Sprintf(" in %s, priority %d", agent.GetService(), agent.GetPriority())
	if agent.GetEnabled() && !whatIf {
		s += ", " + state(agent)
	}
	return s
}

// state is the state of the agent's process: "running (pid 123)".
func state(agent *controlv1.Agent) string {
	s := agent.GetState()
	if agent.GetPid() > 0 {
		s += fmt.Sprintf(" (pid %d)", agent.GetPid())
	}
	if p := agent.GetProblem(); p != "" && s != "running" {
		s += ": " + p
	}
	return s
}

// showAgents prints the table, or all about each. The service is the one that was asked
// for, if any.
func (a *app) showAgents(whole bool, service string, agents []*controlv1.Agent) error {
	if a.json {
		shapes := make([]agentShape, len(agents))
		for i, agent := range agents {
			shapes[i] = shapeOf(agent)
		}
		return a.printJSON(shapes)
	}
	if len(agents) == 0 {
		if service != "" {
			a.say("no agent is installed for %s; see: relay get-agent", service)
			return nil
		}
		a.say("no agent is installed; see: relay install-agent --help")
		return nil
	}
	if whole {
		return a.showWhole(agents)
	}
	rows := [][]string{{"SERVICE", "PRIORITY", "NAME", "ENABLED", "STATE", "CALLS", "FAILURES", "EVENTS"}}
	for _, g := range agents {
		enabled := "no"
		if g.GetEnabled() {
			enabled = "yes"
		}
		rows = append(rows, []string{
			g.GetService(), fmt.Sprint(g.GetPriority()), g.GetName(), enabled, g.GetState(),
			fmt.Sprint(g.GetCalls()), fmt.Sprint(g.GetFailures()), strings.Join(g.GetEvents(), " "),
		})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	for _, g := range agents {
		if g.GetProblem() != "" {
			a.say("%s: %s", g.GetName(), strings.TrimPrefix(g.GetProblem(), "agent "+g.GetName()+": "))
		}
	}
	return nil
}

// showWhole prints all that is known of each agent; what does not apply is left out.
func (a *app) showWhole(agents []*controlv1.Agent) error {
	for i, g := range agents {
		if i > 0 {
			a.say("")
		}
		started := ""
		if ms := g.GetStartedUnixMs(); ms > 0 {
			started = time.UnixMilli(ms).Format(time.RFC3339)
		}
		var rows [][]string
		for _, r := range [][]string{
			{"name", strings.TrimSpace(g.GetName() + " " + g.GetVersion())},
			{"description", g.GetDescription()},
			{"standing", standing(g, false)},
			{"problem", g.GetProblem()},
			{"running since", started},
			{"program", g.GetPath()},
			{"sha256", g.GetSha256()},
			{"factory", g.GetFactory()},
			{"settings", g.GetSettingsPath()},
			{"events", strings.Join(g.GetEvents(), " ")},
			{"only watches", strings.Join(g.GetNotifies(), " ")},
			{"changes recipients at", g.GetChangesRecipientsAt()},
			{"may", strings.Join(g.GetPermissions(), " ")},
			{"timeout", g.GetTimeout()},
			{"on failure", g.GetOnFailure()},
			{"calls", fmt.Sprintf("%d, %d failed, %d crashes", g.GetCalls(), g.GetFailures(), g.GetCrashes())},
			{"isolation", g.GetIsolation()},
		} {
			if r[1] != "" {
				rows = append(rows, r)
			}
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	return nil
}

// showPipeline prints a table of events, service by service.
func (a *app) showPipeline(stages []*controlv1.Stage) error {
	if a.json {
		return a.printJSON(pipelineShape(stages))
	}
	rows := [][]string{{"SERVICE", "EVENT", "AGENTS"}}
	for _, s := range stages {
		agents := strings.Join(s.GetAgents(), ", ")
		if agents == "" {
			agents = "-"
		}
		rows = append(rows, []string{s.GetService(), s.GetEvent(), agents})
	}
	return a.table(rows)
}
