package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/relay/proto/control/v1"
)

// showWhole prints all that is known of each agent; what does not apply is left out.
func (a *app) showWhole(agents []*controlv1.Agent) error {
	for i, g := range agents {
		if i > 0 {
			a.say("")
		}
		var rows [][]string
		for _, r := range [][]string{
			{"name", strings.TrimSpace(g.GetName() + " " + g.GetVersion())},
			{"description", g.GetDescription()},
			{"standing", standingOnly(g)},
			{"problem", problem(g)},
			{"next start", nextStart(g)},
			{"bypassed until", moment(g.GetBypassUntilUnixMs())},
			{"running since", moment(g.GetStartedUnixMs())},
			{"program", g.GetPath()},
			{"sha256", g.GetSha256()},
			{"factory", g.GetFactory()},
			{"settings", g.GetSettingsPath()},
			{"events", strings.Join(g.GetEvents(), " ")},
			{"only watches", strings.Join(g.GetNotifies(), " ")},
			{"changes recipients at", g.GetChangesRecipientsAt()},
			{"asks for", strings.Join(g.GetAsks(), " ")},
			{"is granted", orNothing(g.GetPermissions())},
			{"is not granted", strings.Join(withheld(g), " ")},
			{"asked only about", onlyText(g.GetOnly())},
			{"timeout", g.GetTimeout()},
			{"on failure", g.GetOnFailure()},
			{"calls", strconv.FormatUint(g.GetCalls(), 10)},
			{"failures", failures(g)},
			{"last failure", lastFailure(g)},
			{"crashes", crashes(g)},
		} {
			if r[1] != "" {
				rows = append(rows, r)
			}
		}
		rows = append(rows, several("limits", g.GetLimits(), limitsText(g))...)
		rows = append(rows, several("sandbox", g.GetSandbox(), sandboxText(g))...)
		if g.GetIsolation() != "" {
			rows = append(rows, []string{"isolation", g.GetIsolation()})
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	return nil
}

// standingOnly is standing without the problem, which has a line of its own.
func standingOnly(g *controlv1.Agent) string {
	if !g.GetEnabled() {
		return rank(g)
	}
	return rank(g) + ", " + state(g)
}

// problem is the agent's without its name in front, which stands there already.
func problem(g *controlv1.Agent) string {
	return strings.TrimPrefix(g.GetProblem(), "agent "+g.GetName()+": ")
}

// nextStart is when the process is started again, and what mail meets meanwhile.
func nextStart(g *controlv1.Agent) string {
	at := g.GetRetryUnixMs()
	if at == 0 {
		return ""
	}
	when := time.UnixMilli(at).Format(time.TimeOnly)
	if g.GetState() == "failed" {
		return fmt.Sprintf("%s; the circuit is open: it is tried every 30s and no mail waits for it, on failure %s", when, g.GetOnFailure())
	}
	return when + ", backing off"
}

func orNothing(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " ")
}

// withheld is what the agent asks for and is not granted.
func withheld(g *controlv1.Agent) (all []string) {
	granted := strings.Join(g.GetPermissions(), " ") + " "
	for _, p := range g.GetAsks() {
		if !strings.Contains(" "+granted, " "+p+" ") {
			all = append(all, p)
		}
	}
	return all
}

// onlyText is what an agent is narrowed to.
func onlyText(o *controlv1.Only) string {
	var all []string
	add := func(what, value string) {
		if value != "" {
			all = append(all, what+" "+value)
		}
	}
	add("listener", strings.Join(o.GetListeners(), " or "))
	add("recipient domain", strings.Join(o.GetRecipientDomains(), " or "))
	add("sender domain", strings.Join(o.GetSenderDomains(), " or "))
	add("direction", o.GetDirection())
	add("authenticated", o.GetAuthenticated())
	if n := o.GetMaxSize(); n > 0 {
		add("size up to", sizeText(n))
	}
	return strings.Join(all, ", ")
}

// failures says of what kinds they were.
func failures(g *controlv1.Agent) string {
	s := fmt.Sprintf("%d answered by on failure", g.GetFailures())
	for _, kind := range []struct {
		n    uint64
		what string
	}{
		{g.GetTimeouts(), "not in time"},
		{g.GetRefused(), "refused: not granted or not possible"},
		{g.GetOverloaded(), "with too many sessions"},
	} {
		if kind.n > 0 {
			s += fmt.Sprintf(", %d %s", kind.n, kind.what)
		}
	}
	return s
}

func lastFailure(g *controlv1.Agent) string {
	at := moment(g.GetLastFailureUnixMs())
	if at == "" {
		return ""
	}
	return fmt.Sprintf("%s at %s: %s", at, g.GetLastFailureEvent(), g.GetLastFailure())
}

func crashes(g *controlv1.Agent) string {
	s := strconv.FormatUint(g.GetCrashes(), 10)
	if n := g.GetPoison(); n > 0 {
		s += fmt.Sprintf("; messages that kill it: %d", n)
	}
	return s
}

// several is a row for each sentence, or one for what is set where there are none.
func several(name string, sentences []string, set string) (rows [][]string) {
	if len(sentences) == 0 && set != "" {
		sentences = []string{set}
	}
	for _, s := range sentences {
		rows = append(rows, []string{name, s})
		name = ""
	}
	return rows
}

// limitsText is what limits are set; how they are enforced is known only of a running agent.
func limitsText(g *controlv1.Agent) string {
	var all []string
	if n := g.GetMaxSessions(); n > 0 {
		all = append(all, fmt.Sprintf("%d sessions", n))
	}
	if n := g.GetMaxMemory(); n > 0 {
		all = append(all, sizeText(n)+" of memory")
	}
	if n := g.GetMaxProcessor(); n > 0 {
		all = append(all, fmt.Sprintf("%d%% of one processor", n))
	}
	if n := g.GetMaxProcesses(); n > 0 {
		all = append(all, fmt.Sprintf("%d processes and threads", n))
	}
	return strings.Join(all, ", ")
}

func sandboxText(g *controlv1.Agent) string {
	var all []string
	if g.GetUser() != "" {
		all = append(all, "user "+g.GetUser())
	}
	if g.GetReadOnly() {
		all = append(all, strings.TrimSpace("read-only "+strings.Join(g.GetReadPaths(), " ")))
	}
	return strings.Join(all, ", ")
}

// sizeText is a size as it is written in the configuration.
func sizeText(n uint64) string {
	for _, unit := range []struct {
		octets uint64
		name   string
	}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "KB"}} {
		if n >= unit.octets && n%unit.octets == 0 {
			return fmt.Sprintf("%d%s", n/unit.octets, unit.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}
