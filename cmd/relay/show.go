package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/control"
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

// sayIfOffline says that what was asked was not a running relay, and what that means.
func (a *app) sayIfOffline(o operator, meaning string) {
	if _, running := o.(*control.Client); !running && !a.json {
		a.say("  No relay is running: %s.", meaning)
	}
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
	case "bypass":
		a.say("%s %s %s", agent.GetName(), is, bypassed(agent))
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
	s := rank(agent)
	if !agent.GetEnabled() || whatIf {
		return s
	}
	if s += ", " + state(agent); agent.GetState() == "running" || agent.GetProblem() == "" {
		return s
	}
	return s + ": " + problem(agent)
}

// rank is standing without its process.
func rank(agent *controlv1.Agent) string {
	s := "disabled"
	if agent.GetEnabled() {
		s = "enabled"
	}
	return fmt.Sprintf("%s in %s, priority %d", s, agent.GetService(), agent.GetPriority())
}

// bypassed is until when mail goes on without the agent.
func bypassed(agent *controlv1.Agent) string {
	if until := moment(agent.GetBypassUntilUnixMs()); until != "" {
		return "bypassed until " + until
	}
	return "not bypassed"
}

// moment is a time as operators read it; "" is none.
func moment(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).Format(time.RFC3339)
}

// state is the state of the agent's process: "running (pid 123)".
func state(agent *controlv1.Agent) string {
	s := agent.GetState()
	if agent.GetPid() > 0 {
		s += fmt.Sprintf(" (pid %d)", agent.GetPid())
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
		state := g.GetState()
		if g.GetBypassUntilUnixMs() != 0 {
			state += ", bypassed"
		}
		rows = append(rows, []string{
			g.GetService(), fmt.Sprint(g.GetPriority()), g.GetName(), enabled, state,
			fmt.Sprint(g.GetCalls()), fmt.Sprint(g.GetFailures()), strings.Join(g.GetEvents(), " "),
		})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	for _, g := range agents {
		if p := problem(g); p != "" {
			a.say("%s: %s", g.GetName(), p)
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
