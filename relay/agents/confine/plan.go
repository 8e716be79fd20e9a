package confine

import (
	"errors"
	"fmt"
	"strings"
)

// Plan is how a policy is enforced on a machine.
type Plan struct {
	policy  Policy
	machine *Machine
	grouped map[controller]bool // by a control group
}

// ErrNoLandlock says that Policy.Files cannot be kept.
var ErrNoLandlock = errors.New("read-only needs Landlock, which this kernel does not have (Linux 5.13 and later, with landlock among its lsm=)")

// Plan finds out how the policy can be enforced. A limit that cannot be is no error: the plan
// says so. Other means of protection that cannot be had are: who asked for them must not run
// without.
func (m *Machine) Plan(p Policy) (*Plan, error) {
	if p.Files != nil && m.landlock == 0 {
		return nil, ErrNoLandlock
	}
	plan := &Plan{policy: p, machine: m, grouped: make(map[controller]bool)}
	for _, c := range p.limited() {
		plan.grouped[c] = m.groups.can(c)
	}
	return plan, nil
}

// limited are the controllers that the policy wants.
func (p *Policy) limited() (all []controller) {
	if p.Memory > 0 {
		all = append(all, memory)
	}
	if p.Processor > 0 {
		all = append(all, processor)
	}
	if p.Processes > 0 {
		all = append(all, processes)
	}
	return all
}

// groupPolicy is the policy without the limits that no control group enforces.
func (p *Plan) groupPolicy() Policy {
	g := p.policy
	if !p.grouped[memory] {
		g.Memory = 0
	}
	if !p.grouped[processor] {
		g.Processor = 0
	}
	if !p.grouped[processes] {
		g.Processes = 0
	}
	return g
}

// withoutGroups is the plan where no control group could be made.
func (p *Plan) withoutGroups() *Plan {
	return &Plan{policy: p.policy, machine: p.machine, grouped: make(map[controller]bool)}
}

// rlimits are the limits that are set on the process itself.
func (p *Plan) rlimits() (memoryOctets uint64, processCount int) {
	if !p.grouped[memory] {
		memoryOctets = p.policy.Memory
	}
	if !p.grouped[processes] && p.policy.User != nil {
		processCount = p.policy.Processes
	}
	return memoryOctets, processCount
}

// Limits says by what each limit is enforced, a sentence each.
func (p *Plan) Limits() []string {
	var all []string
	by, why := p.machine.groups.String(), p.machine.groups.why()
	for _, c := range p.policy.limited() {
		head := p.policy.limitText(c)
		switch {
		case p.grouped[c]:
			all = append(all, fmt.Sprintf("%s for the process and all that it starts, by %s.", head, by))
		case c == memory:
			all = append(all, fmt.Sprintf("%s of data for each of its processes, by RLIMIT_DATA: %s.", head, why))
		case c == processes && p.policy.User != nil:
			all = append(all, fmt.Sprintf("%s, by RLIMIT_NPROC, which counts all of user %s: %s.", head, p.policy.User.Name, why))
		default:
			all = append(all, fmt.Sprintf("%s is not enforced: %s.", head, why))
		}
	}
	return all
}

func (p *Policy) limitText(c controller) string {
	switch c {
	case memory:
		return "Memory: " + octets(p.Memory)
	case processor:
		return fmt.Sprintf("Processor: %d percent of one", p.Processor)
	}
	return fmt.Sprintf("Processes: %d with their threads", p.Processes)
}

// octets prints a size as the configuration has it.
func octets(n uint64) string {
	switch {
	case n%1e6 == 0:
		return fmt.Sprintf("%d MB", n/1e6)
	case n >= 1e6:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/1e6), ".0") + " MB"
	}
	return fmt.Sprintf("%d octets", n)
}

// Sandbox says what keeps the process from what is not its own, a sentence each, and what does
// not.
func (p *Plan) Sandbox() []string {
	m := p.machine
	all := []string{"It cannot gain rights by set-uid programs (no-new-privileges)."}
	if u := p.policy.User; u != nil {
		all = append(all, fmt.Sprintf("It runs as user %s, without supplementary groups.", u))
	} else if m.caps.has(capSysAdmin) {
		if m.caps.drops() {
			all = append(all, "Of root's capabilities it has those about files, and ports below 1024.")
		} else {
			all = append(all, "It has all of the relay's capabilities: they cannot be taken from it without CAP_SETPCAP.")
		}
	}
	all = append(all, p.networkText(), p.filesText())
	if m.scopes() != 0 {
		all = append(all, "It cannot signal or trace processes that it has not started (Landlock).")
	} else {
		all = append(all, "It can signal processes of its own user: this kernel's Landlock cannot prevent it.")
	}
	return all
}

func (p *Plan) networkText() string {
	switch {
	case p.policy.Network:
		return "It may use the network: it is granted network."
	case p.machine.namespace:
		return "It has no network, not even 127.0.0.1 (network namespace)."
	case p.machine.filter:
		return "It has no network, not even 127.0.0.1 (seccomp refuses sockets but unix ones)."
	}
	return "It can use the network though it is not granted network: neither network namespaces nor seccomp can be used here."
}

func (p *Plan) filesText() string {
	f := p.policy.Files
	if f == nil {
		return "It can read and write all files that its user can: read-only is not set."
	}
	text := "It reads the system, its program's folder"
	if len(f.Read) > 0 {
		text += ", " + strings.Join(f.Read, ", ")
	}
	text += " and nothing of the relay's, and writes its own folders only (Landlock)."
	if p.machine.landlock < landlockTruncate {
		text += " This kernel's Landlock does not keep it from emptying files that its user may write."
	}
	return text
}
