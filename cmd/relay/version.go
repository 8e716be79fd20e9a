package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"example.org/relay/relay"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which version this is",
		Long:    "Say which version of the relay this is, and what it was built with.",
		Example: "  relay version",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": relay.Version, "go": runtime.Version()})
			}
			a.say("relay %s (%s, %s/%s)", relay.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
