package relay

import (
	"errors"
	"log/slog"

	"example.org/relay/relay/agents"
	"example.org/relay/relay/config"
	"example.org/relay/relay/event"
)

// OfflineOperator does the commands about agents where no relay runs: on the files in the
// state directory, whose lock it holds until it is closed.
type OfflineOperator struct {
	agentCommands
	registry *agents.Registry
}

// Offline takes the state directory of a configuration. The error is agents.ErrLocked,
// wrapped, where a relay or another command has it.
func Offline(cfg *config.Config, log *slog.Logger) (*OfflineOperator, error) {
	registry, err := agents.OpenRegistry(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	o := hostOptions(cfg, registry, log, func(event.Role) {})
	o.Offline = true
	host, err := agents.New(o)
	if err != nil {
		return nil, errors.Join(err, registry.Close())
	}
	return &OfflineOperator{agentCommands{host, cfg}, registry}, nil
}

// Close ends what was started to be tried and gives the state directory back.
func (o *OfflineOperator) Close() error {
	return errors.Join(o.host.Close(), o.registry.Close())
}
