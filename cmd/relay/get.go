package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.org/relay/proto/control/v1"
)

func (a *app) getAgent() *cobra.Command {
	var r controlv1.GetAgentsRequest
	c := &cobra.Command{
		Use:     "get-agent [NAME] [--transport-service SERVICE]",
		Short:   "Show the agents, or all about one",
		Long:    "Show the agents in their order, or, with a NAME, all that is known of one.",
		Example: "  relay get-agent\n  relay get-agent catchall\n  relay get-agent --json | jq '.[] | select(.state != \"running\")'",
		Args:    mayBeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				r.Name = args[0]
			}
			o, err := a.operator(cmd.Context())
			if err != nil {
				return err
			}
			defer o.Close()
			got, err := o.GetAgents(cmd.Context(), &r)
			if err != nil {
				return err
			}
			if r.Name != "" && len(got.GetAgents()) == 0 {
				return fmt.Errorf("there is no agent %s; see: relay get-agent", r.Name)
			}
			if err := a.showAgents(r.Name != "", r.Service, got.GetAgents()); err != nil {
				return err
			}
			a.sayIfOffline(o, "this is what the files say")
			return nil
		},
	}
	c.Flags().StringVar(&r.Service, "transport-service", "", "only those of this `SERVICE`")
	return c
}

func (a *app) getPipeline() *cobra.Command {
	var r controlv1.GetPipelineRequest
	c := &cobra.Command{
		Use:   "get-pipeline [--transport-service SERVICE]",
		Short: "Show every event in firing order, with the agents it is shown to",
		Long: `Show every event of every configured transport service in firing order, with the
enabled agents it is shown to, in their order. "watches" says that the event
does not wait for the agent.`,
		Example: "  relay get-pipeline\n  relay get-pipeline --transport-service FrontEnd",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.operator(cmd.Context())
			if err != nil {
				return err
			}
			defer o.Close()
			got, err := o.GetPipeline(cmd.Context(), &r)
			if err != nil {
				return err
			}
			if err := a.showPipeline(got.GetStages()); err != nil {
				return err
			}
			a.sayIfOffline(o, "this is what the files say")
			return nil
		},
	}
	c.Flags().StringVar(&r.Service, "transport-service", "", "only this `SERVICE`")
	return c
}
