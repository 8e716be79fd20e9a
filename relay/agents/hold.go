package agents

import (
	"context"
	"time"

	"example.org/relay/relay/event"
)

// Hold begins a transaction: until Release the process that serves now does, while it lives,
// so that a transaction is judged by one version of the agent throughout. edition is the one
// that the order of agents in force for the transaction was made for.
func (c *Conversation) Hold(edition uint64) {
	c.Release()
	if now := c.agent.sup.Load(); now != c.sup {
		c.moveTo(now)
	}
	c.holding = true
	c.held = c.sup.hold(edition)
}

// Release ends the transaction: events outside one go to the newest process.
func (c *Conversation) Release() {
	c.letGo()
	c.holding = false
}

func (c *Conversation) letGo() {
	if c.held != nil {
		c.held.letGo()
		c.held = nil
	}
}

// serving returns the instance that the next event goes to, and counts a call in flight there.
func (c *Conversation) serving(ctx context.Context, deadline time.Time) (*instance, error) {
	for {
		if inst := c.heldNow(); inst != nil {
			return inst, nil
		}
		inst, err := c.sup.await(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if c.enter(inst) {
			return inst, nil
		}
	}
}

// present is serving for who does not wait; nil: there is none.
func (c *Conversation) present() *instance {
	if inst := c.heldNow(); inst != nil {
		return inst
	}
	if inst := c.sup.cur.Load(); inst != nil && c.enter(inst) {
		return inst
	}
	return nil
}

// lastServing is present for the session's end, which the process that saw the session is told.
func (c *Conversation) lastServing() *instance {
	if c.stream != nil && c.stream.inst.reenter() {
		return c.stream.inst
	}
	return c.present()
}

// heldNow returns the instance that is held, with a call counted there. One that is gone is
// held no more.
func (c *Conversation) heldNow() *instance {
	if c.held == nil {
		return nil
	}
	if c.held.reenter() {
		return c.held
	}
	c.letGo()
	return nil
}

// enter counts a call on an instance that is not held, and holds it in a transaction.
func (c *Conversation) enter(inst *instance) bool {
	if !inst.enter() {
		return false
	}
	if c.holding && inst.hold() {
		c.held = inst
	}
	return true
}

// moveTo leaves the supervisor for another one.
func (c *Conversation) moveTo(now *supervisor) {
	c.letGo()
	c.sup.open.Add(-1)
	now.open.Add(1)
	c.drop()
	c.sup = now
}

// Blame counts and logs a fault of the last verdict that only the pipeline could find: an edit
// that cannot be made, a verdict that the event does not have. It weighs as one of the protocol.
func (c *Conversation) Blame(at event.Kind, err error) {
	c.agent.fault(c.sup, c.judged, c.session, at, err)
}

// current returns the supervisor in charge: an agent that was disabled and enabled again in
// mid-session has another one. A transaction keeps the one it began with while that lives.
func (c *Conversation) current(state *event.State) *supervisor {
	id := messageID(state)
	if now := c.agent.sup.Load(); now != c.sup && (id != c.message || c.sup.isOver()) {
		c.moveTo(now)
	}
	c.message = id
	return c.sup
}
