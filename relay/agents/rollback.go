package agents

import (
	"context"
	"fmt"
)

// rollback is a swap that a supervisor has taken back, while the registry still has it.
type rollback struct {
	agent   *Agent
	edition uint64 // that was given up
	old     Entry  // what it is again
}

// rolledBack notes what is to be taken back in the registry, and sees to it when no operation
// is under way; the next operation does it before anything else.
func (h *Host) rolledBack(r rollback) {
	h.mu.Lock()
	h.undone = append(h.undone, r)
	h.mu.Unlock()
	h.ending.Go(func() {
		h.change.Lock()
		defer h.change.Unlock()
		if !h.closed {
			h.settle(h.ctx)
		}
	})
}

// settle makes the registry say again what runs. h.change is held.
func (h *Host) settle(ctx context.Context) {
	h.mu.Lock()
	all := h.undone
	h.undone = nil
	h.mu.Unlock()
	for _, r := range all {
		h.takeBack(ctx, r)
	}
}

// takeBack takes a swap back in the registry and the order of agents, unless the operator has
// changed the agent since: then that counts.
func (h *Host) takeBack(ctx context.Context, r rollback) {
	a := r.agent
	entries := h.registry.Entries()
	at := find(entries, a.Name(), a.Service())
	if at < 0 || entries[at].Edition != r.edition {
		return
	}
	e := &entries[at]
	e.revert(&r.old)
	if err := h.registry.replace(entries); err != nil {
		// What runs is the old one all the same; the next change of any agent writes it.
		a.log.Error("agent is rolled back, but the registry still has the new one", "error", err)
		h.registry.entries = entries
	}
	h.sync()
	h.onChange(a.Service())
	if v := a.sup.Load(); e.Enabled && !v.isOver() && v.ctx.Err() == nil {
		// What the relay tells all agents may have changed while it waited.
		if s := h.spec(*e); !v.knows(s) {
			if err := v.reconfigure(ctx, s, h.shop.home(e)); err != nil {
				a.log.Error("agent goes on with old accepted domains", "error", err)
			}
		}
	}
}

// revert takes what makes a process of the agent from the entry as it was. What does not is
// as the operator has it now.
func (e *Entry) revert(old *Entry) {
	e.Path, e.SHA256, e.Factory, e.Described = old.Path, old.SHA256, old.Factory, old.Described
	e.Settings, e.SettingsPath, e.Granted, e.Confine = old.Settings, old.SettingsPath, old.Granted, old.Confine
	e.Edition = old.Edition
}

// undo is what the agent's supervisor calls when it rolls back.
func (a *Agent) undo(edition uint64, old *spec) {
	a.host.rolledBack(rollback{agent: a, edition: edition, old: old.Entry})
}

// noWayBack says, when an agent is about to be changed, that its former program could not be
// started again: its file is another one by now.
func (h *Host) noWayBack(a *Agent, old *Entry) []string {
	if a.sup.Load().cur.Load() == nil || checkPinned(old.Name, old.Path, old.SHA256) == nil {
		return nil
	}
	return []string{fmt.Sprintf("The former program of agent %s is not at %s any more: if the new one fails in its first %s, "+
		"the former process goes on in its place, but once that has ended it cannot be started again. Give a new version a file name of its own.",
		old.Name, old.Path, h.probation)}
}
