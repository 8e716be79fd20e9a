package agents

import (
	"cmp"
	"strings"
	"time"

	"example.org/relay/relay/event"
)

// Info is what get-agent shows of an agent.
type Info struct {
	Name                string
	Service             event.Role
	Priority            int // 1 runs first
	Enabled             bool
	Path                string
	SHA256              string
	Factory             string
	Version             string
	Description         string
	Events              []event.Kind // in firing order
	Notifies            []event.Kind // the events among them it only watches
	ChangesRecipientsAt event.Kind   // 0: none declared
	Permissions         event.Permissions
	Timeout             time.Duration // in force
	OnFailure           string        // in force
	SettingsPath        string
	Asks                event.Permissions // Permissions are those granted of them
	Only                event.Filter
	BypassUntil         time.Time // zero: not bypassed
	Confine             Confine   // in force, with the defaults
	Limits              []string  // how each limit is enforced, a sentence each
	Sandbox             []string  // what keeps the process from what is not its own, a sentence each
	Refused             uint64    // edits, verdicts and submissions that were not granted or not possible
	Timeouts            uint64    // failures because it took too long
	Overloaded          uint64    // failures because it took no more sessions in time
	Poison              uint64    // messages that kill it
	RetryAt             time.Time // when it is started again, with backing-off and failed
	LastFailure         *Failure  // nil: there was none since the relay started
	State               string    // running, starting, backing-off, stopped, failed
	Problem             string    // why it is not running, or what went wrong last
	PID                 int       // 0: not running
	Generation          uint64
	Calls               uint64 // verdicts asked for since the relay started
	Failures            uint64 // answered by the failure policy
	Crashes             uint64
	Isolation           string
	Started             time.Time // zero: not running
}

// Get returns the agents of this name and service, by service, then priority. Empty: all.
func (h *Host) Get(name, service string) ([]Info, error) {
	var role event.Role
	if service != "" {
		var err error
		if role, err = event.ParseRole(service); err != nil {
			return nil, err
		}
	}
	var all []Info
	priority := make(map[event.Role]int)
	for _, a := range h.list() {
		e := a.entry.Load()
		priority[e.Service]++
		if (name == "" || strings.EqualFold(e.Name, name)) && (role == "" || e.Service == role) {
			all = append(all, a.info(e, priority[e.Service]))
		}
	}
	if len(all) == 0 && name != "" {
		return nil, h.notFound(name, role)
	}
	return all, nil
}

// info describes the agent as the entry has it, which may be one that is only considered.
func (a *Agent) info(e *Entry, priority int) Info {
	d := a.host.defaults.Load()
	i := Info{
		Name: e.Name, Service: e.Service, Priority: priority, Enabled: e.Enabled, Path: e.Path, SHA256: e.SHA256,
		Factory: e.Factory, Version: e.Described.Version, Description: e.Described.Description,
		ChangesRecipientsAt: e.Described.ChangesRecipientsAt, Permissions: e.Granted,
		Timeout: e.Timeout, OnFailure: e.OnFailure, SettingsPath: e.SettingsPath,
		Calls: a.stats.calls.Load(), Failures: a.stats.failures.Load(), Crashes: a.stats.crashes.Load(),
		Refused: a.stats.refused.Load(), Timeouts: a.stats.timeouts.Load(), Overloaded: a.stats.overload.Load(),
		Poison: a.stats.poison.Load(), LastFailure: a.stats.last.Load(),
		Asks: e.Described.Asks, Only: e.Only, BypassUntil: e.bypass(time.Now()), Confine: e.Confine.over(d.Confine),
		Generation: a.gen.Load(),
	}
	if i.Timeout == 0 {
		i.Timeout = d.Timeout
	}
	if i.OnFailure == "" {
		i.OnFailure = d.OnFailure
	}
	for _, k := range event.Kinds() {
		for _, s := range e.Described.Subscriptions {
			if s.Kind != k {
				continue
			}
			i.Events = append(i.Events, k)
			if s.Notify {
				i.Notifies = append(i.Notifies, k)
			}
		}
	}
	state, problem, inst := a.sup.Load().snapshot()
	i.State, i.Problem, i.RetryAt = state, problem, a.sup.Load().nextStart()
	if inst != nil {
		i.PID, i.Started, i.Generation = inst.pid, inst.started, inst.generation
		if v := inst.terms.Load().version; v != "" {
			i.Version = v
		}
	}
	if last := a.stats.limit.Load(); last != nil {
		i.Problem = cmp.Or(i.Problem, *last)
	}
	i.confinement(a.host.shop, a.host.spec(*e), a.running(e, inst))
	return i
}

// running is the process of the instance, if the entry is the one in force.
func (a *Agent) running(e *Entry, i *instance) *process {
	if i == nil || e != a.entry.Load() {
		return nil
	}
	p, _ := i.proc.(*process)
	return p
}
