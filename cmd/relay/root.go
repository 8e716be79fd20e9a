package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// root is the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "relay",
		Short: "An SMTP relay with agents in processes of their own",
		Long: `An SMTP relay with agents in processes of their own.

It stands in front of a mail server, shows each message to the agents that are
installed and enabled, and passes it on. The commands below speak to the running
relay; where none runs, those about agents work on its files.

Exit code: 0 done and in effect, 1 failed, 2 wrong use.`,
		Example: `  relay check-config
  relay serve
  relay install-agent catchall --path /usr/lib/relay/catchall --transport-service FrontEnd
  relay enable-agent catchall`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.stderr)
			_ = cmd.Usage()
			return wrongUse("no command given")
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&a.configFile, "config", "", "the configuration `FILE` (default ./config.toml, then /etc/relay/config.toml)")
	flags.BoolVar(&a.json, "json", false, "answer in JSON")
	flags.BoolVar(&a.yes, "yes", false, "ask nothing")

	root.AddGroup(
		&cobra.Group{ID: "relay", Title: "The relay:"},
		&cobra.Group{ID: "agents", Title: "Agents:"},
		&cobra.Group{ID: "tools", Title: "Tools:"},
	)
	a.add(root, "relay", a.serve(), a.reload(), a.checkConfig())
	a.add(root, "agents", a.installAgent(), a.enableAgent(), a.disableAgent(), a.bypassAgent(), a.setAgent(), a.uninstallAgent(),
		a.getAgent(), a.getPipeline(), a.explain())
	a.add(root, "tools", a.hashPassword(), a.sink(), a.version())
	useGroups(root)
	root.DisableFlagsInUseLine = true
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{
		Use:                   "help [command]",
		Short:                 "Help about a command",
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || c == root && len(rest) > 0 {
				return unknownCommand(root, args)
			}
			if err := noArguments(c, rest); err != nil {
				return err
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	})
	return root
}

// add takes commands in, each of which marks the point from where a failure is not one of
// the command line.
func (a *app) add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		run := c.RunE
		c.GroupID = group
		c.Flags().SortFlags = false
		c.DisableFlagsInUseLine = true
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
		root.AddCommand(c)
	}
}

func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	near := root.SuggestionsFor(args[0])
	if len(near) == 0 || args[0] == "" { // every name begins with nothing
		return wrongUse("there is no command %q", args[0])
	}
	return wrongUse("there is no command %q; did you mean %s", args[0], strings.Join(near, " or "))
}

// noArguments and oneName are what commands take beside flags.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUse("unexpected argument %q", args[0])
	}
	return nil
}

func oneName(_ *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "" {
		return wrongUse("the NAME of the agent is missing")
	}
	return noArguments(nil, args[1:])
}

func mayBeName(_ *cobra.Command, args []string) error {
	return noArguments(nil, args[min(1, len(args)):])
}
