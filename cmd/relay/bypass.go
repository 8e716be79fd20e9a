package main

import (
	"context"

	"github.com/spf13/cobra"

	"example.org/relay/proto/control/v1"
)

func (a *app) bypassAgent() *cobra.Command {
	var (
		r    controlv1.BypassAgentRequest
		time length
		end  bool
	)
	c := &cobra.Command{
		Use:   "bypass-agent NAME {--for D | --end} [--transport-service SERVICE]",
		Short: "Let mail go on without an agent for a while",
		Long: `Let mail go on without an agent for a while, which ends by itself, also over a
restart of the relay. It counts for transactions that begin from now on; those
under way go on with the agent. Its process is kept, so that it is ready when it
is asked again. --for takes another time in the place of one that has begun.`,
		Example: "  relay bypass-agent catchall --for 15m\n  relay bypass-agent catchall --end",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name = args[0]
			switch given := cmd.Flags().Changed; {
			case given("for") && end:
				return wrongUse("--for and --end exclude each other")
			case !given("for") && !end:
				return wrongUse("for how long? give --for, such as --for 15m, or --end")
			case given("for") && time == 0:
				return wrongUse("--for 0s: must be more; --end ends a bypass")
			}
			r.For = time.String()
			return a.change(cmd.Context(), "bypass", r.WhatIf, func(ctx context.Context, o operator) (*controlv1.AgentChange, error) {
				return o.BypassAgent(ctx, &r)
			})
		},
	}
	f := c.Flags()
	f.Var(&time, "for", "how long, such as 15m; at most 168h")
	f.BoolVar(&end, "end", false, "ask it again from now on")
	serviceFlag(c, &r.Service)
	whatIfFlag(c, &r.WhatIf)
	return c
}
