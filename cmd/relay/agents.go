package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"example.org/relay/proto/control/v1"
)

// serviceFlag is the flag that says which of several agents of a name is meant.
func serviceFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "transport-service", "", "the `SERVICE` it is installed for; needed only where several have the name")
}

func whatIfFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "what-if", false, "say what would be done and do nothing")
}

func (a *app) installAgent() *cobra.Command {
	var (
		r       controlv1.InstallAgentRequest
		options agentOptions
	)
	c := &cobra.Command{
		Use:   "install-agent NAME --path FILE [--transport-service SERVICE]",
		Short: "Install an agent, disabled and last in order",
		Long: `Install an agent for a transport service. The relay asks the program which
events it binds and refuses those that the service does not have; it says what
the agent asks to be allowed to do, and grants it, or of it what --grant and
--deny say. What an agent does without a grant is refused. The agent is
installed disabled and last in order; enable-agent puts it to work. Its program
stays where it is, and is pinned by its SHA-256.`,
		Example: `  relay install-agent catchall --path bin/plugins/catchall --transport-service FrontEnd
  relay install-agent tagger --path /opt/tagger --settings tagger.toml --what-if
  relay install-agent tagger --path /opt/tagger --grant read-headers,change-headers
  relay install-agent scan --path /opt/scan --only-direction inbound --only-max-size 10MB \
      --max-memory 200MB --user scan --read-only`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.Name = args[0]
			if r.Path, err = absolute("--path", r.Path); err != nil {
				return err
			}
			if r.SettingsPath != "" {
				if r.SettingsPath, r.SettingsToml, err = settings(r.SettingsPath); err != nil {
					return err
				}
			}
			if r.Options, err = options.request(cmd.Flags().Changed); err != nil {
				return err
			}
			return a.change(cmd.Context(), "install", r.WhatIf, func(ctx context.Context, o operator) (*controlv1.AgentChange, error) {
				return o.InstallAgent(ctx, &r)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&r.Path, "path", "", "the agent's program, a `FILE`; required")
	f.StringVar(&r.Service, "transport-service", "Hub", "the `SERVICE` it is for: FrontEnd, Hub or Edge")
	f.StringVar(&r.Factory, "factory", "", "which of the program's agents, where it has several: its `NAME`")
	f.StringVar(&r.SettingsPath, "settings", "", "the agent's settings, a TOML `FILE`")
	whatIfFlag(c, &r.WhatIf)
	options.flags(c, "grant only these of the permissions it asks for, a `LIST` such as read-headers,reject")
	return c
}

func (a *app) uninstallAgent() *cobra.Command {
	var r controlv1.AgentRequest
	c := &cobra.Command{
		Use:     "uninstall-agent NAME [--transport-service SERVICE]",
		Short:   "Take an agent away, with its place in the order and its settings",
		Long:    "Take an agent away, with its place in the order and its settings. Its program stays.",
		Example: "  relay uninstall-agent catchall",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name = args[0]
			if !r.WhatIf && !a.sure("Uninstall agent %s, with its place in the order and its settings?", r.Name) {
				return fmt.Errorf("agent %s stays: the answer was not yes", r.Name)
			}
			return a.change(cmd.Context(), "uninstall", r.WhatIf, func(ctx context.Context, o operator) (*controlv1.AgentChange, error) {
				return o.UninstallAgent(ctx, &r)
			})
		},
	}
	serviceFlag(c, &r.Service)
	whatIfFlag(c, &r.WhatIf)
	return c
}

func (a *app) enableAgent() *cobra.Command {
	var r controlv1.AgentRequest
	c := &cobra.Command{
		Use:     "enable-agent NAME [--transport-service SERVICE]",
		Short:   "Put an agent to work, from the next transaction on",
		Long:    "Put an agent to work. Transactions that begin from now on are shown to it.",
		Example: "  relay enable-agent catchall",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name = args[0]
			return a.change(cmd.Context(), "enable", r.WhatIf, func(ctx context.Context, o operator) (*controlv1.AgentChange, error) {
				return o.EnableAgent(ctx, &r)
			})
		},
	}
	serviceFlag(c, &r.Service)
	whatIfFlag(c, &r.WhatIf)
	return c
}

func (a *app) disableAgent() *cobra.Command {
	var r controlv1.AgentRequest
	c := &cobra.Command{
		Use:   "disable-agent NAME [--now] [--transport-service SERVICE]",
		Short: "Take an agent out of work; it keeps its place",
		Long: `Take an agent out of work. Transactions that begin from now on are not shown to
it; those under way go on with it, unless --now cuts it off there too. It stays
installed and keeps its place in the order.`,
		Example: "  relay disable-agent catchall\n  relay disable-agent catchall --now",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name = args[0]
			return a.change(cmd.Context(), "disable", r.WhatIf, func(ctx context.Context, o operator) (*controlv1.AgentChange, error) {
				return o.DisableAgent(ctx, &r)
			})
		},
	}
	c.Flags().BoolVar(&r.Now, "now", false, "cut it off in transactions under way too")
	serviceFlag(c, &r.Service)
	whatIfFlag(c, &r.WhatIf)
	return c
}

func (a *app) setAgent() *cobra.Command {
	var (
		r         controlv1.SetAgentRequest
		priority  place
		timeout   length
		onFailure string
		file      string
		path      string
		options   agentOptions
	)
	c := &cobra.Command{
		Use:   "set-agent NAME [--priority N] [--timeout D] [--on-failure P] [--settings FILE] [--path FILE] [FLAGS]",
		Short: "Change an agent's place, permissions, limits, settings or program",
		Long: `Change an agent: its place in the order, its time, what its failure means, its
settings, its program, what it may do, what it is asked about, what it may use.
Several at once are changed together or not at all.

A new program, or the same --path with a new file, is started beside the old one
and takes over when it is ready; no mail waits for it. So it is with new limits.
A new program that asks for more than the old one is not granted it by that.`,
		Example: `  relay set-agent catchall --priority 1
  relay set-agent catchall --timeout 5s --on-failure continue
  relay set-agent catchall --path bin/plugins/catchall
  relay set-agent catchall --deny change-headers
  relay set-agent catchall --only-recipient-domain example.org,*.example.org
  relay set-agent catchall --max-memory 200MB --max-processes default`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.Name = args[0]
			given := cmd.Flags().Changed
			if given("priority") {
				n := uint32(priority)
				r.Priority = &n
			}
			if given("timeout") {
				s := timeout.String()
				r.Timeout = &s
			}
			if given("on-failure") {
				if r.OnFailure, err = policy(onFailure); err != nil {
					return err
				}
			}
			if given("settings") {
				if file, r.SettingsToml, err = settings(file); err != nil {
					return err
				}
				r.SettingsPath = &file
			}
			if given("path") {
				if path, err = absolute("--path", path); err != nil {
					return err
				}
				r.Path = &path
			}
			if r.Options, err = options.request(given); err != nil {
				return err
			}
			if r.Priority == nil && r.Timeout == nil && r.OnFailure == nil && r.SettingsPath == nil && r.Path == nil && r.Options == nil {
				return wrongUse("nothing to change: give at least one of --priority, --timeout, --on-failure, --settings, --path or those that --help has beside")
			}
			return a.change(cmd.Context(), "set", r.WhatIf, func(ctx context.Context, o operator) (*controlv1.AgentChange, error) {
				return o.SetAgent(ctx, &r)
			})
		},
	}
	f := c.Flags()
	f.Var(&priority, "priority", "its place in the order of its service; 1 runs first")
	f.Var(&timeout, "timeout", "its time for one event, such as 5s; 0s: the default of [agents]")
	f.StringVar(&onFailure, "on-failure", "", "what its failure means for the mail: `POLICY` tempfail, continue or default, that of [agents]")
	f.StringVar(&file, "settings", "", "its settings, a TOML `FILE`; \"\" takes them away")
	f.StringVar(&path, "path", "", "its program, a `FILE`")
	serviceFlag(c, &r.Service)
	whatIfFlag(c, &r.WhatIf)
	options.flags(c, "grant these of the permissions it asks for too, a `LIST`, or all")
	return c
}

// change asks for a change of an agent and shows what came of it.
func (a *app) change(ctx context.Context, verb string, whatIf bool,
	ask func(context.Context, operator) (*controlv1.AgentChange, error)) error {
	o, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer o.Close()
	change, err := ask(ctx, o)
	if err != nil {
		return err
	}
	if err := a.showChange(verb, whatIf, change); err != nil {
		return err
	}
	if !whatIf {
		a.sayIfOffline(o, "it is in force when one starts")
	}
	return nil
}

// sure asks the operator, who is asked only at a terminal.
func (a *app) sure(format string, args ...any) bool {
	if a.yes || !term.IsTerminal(int(a.stdin.Fd())) {
		return true
	}
	fmt.Fprintf(a.stderr, format+" [y/N] ", args...)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n') // no answer is no
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

func policy(s string) (*string, error) {
	switch s {
	case "tempfail", "continue":
	case "default":
		s = ""
	default:
		return nil, wrongUse("--on-failure %q: must be tempfail, continue or default", s)
	}
	return &s, nil
}

// absolute is the path as the relay finds it, whose working directory is another.
func absolute(flag, path string) (string, error) {
	if path == "" {
		return "", wrongUse("%s FILE is missing", flag)
	}
	return filepath.Abs(path)
}

// settings reads a file of settings. No file is no settings.
func settings(path string) (string, []byte, error) {
	if path == "" {
		return "", []byte{}, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	content, err := os.ReadFile(abs)
	if err != nil {
		return "", nil, fmt.Errorf("--settings: %w", err)
	}
	return abs, content, nil
}
