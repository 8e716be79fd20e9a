package frontend

import (
	"context"
	"time"

	"example.org/relay/relay/event"
)

// untouched is how long a connection on which nothing has been asked may wait for agents. The
// sending side takes one from its pool for dead until it has looked; one that is fresh it trusts.
const untouched = time.Second

// announce tells the agents where the message is about to go, once for each message, whatever
// connections it takes in the end. It returns how long the next hop may still take.
func (s *Session) announce(ctx context.Context) (time.Duration, error) {
	tx := &s.tx
	begun := time.Now()
	if err := s.chooseWithin(ctx, hopPatience); err != nil {
		return 0, err
	}
	asked := time.Now()
	d := s.agents.Fire(ctx, event.Event{
		Kind: event.ProxyInboundMessage, NextHop: &event.NextHop{Name: tx.set.NextHop.Name(), Address: tx.remote},
	})
	// Agents may take long, and a server's patience with a silent client ends unheard. What is
	// given back is looked at before it is used again, and what it was asked is asked again.
	limit := idleRelease
	if tx.asked == nil {
		limit = untouched
	}
	if tx.hop != nil && time.Since(asked) >= limit {
		s.letGo()
	}
	if err := d.Refusal(); err != nil {
		if tx.hop != nil {
			s.letGo()
		}
		return 0, s.tagError(err)
	}
	return hopPatience - asked.Sub(begun), nil
}

func (s *Session) chooseWithin(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.choose(ctx)
}
