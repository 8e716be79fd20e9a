package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay"
	"example.org/relay/relay/config"
)

func (a *app) checkConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "check-config",
		Short: "Say all that is wrong with the configuration, or what it means",
		Long: `Check the configuration: every problem at once, one on each line. Of a good one it
says who may send where, and what in it has no effect in this version.`,
		Example: "  relay check-config\n  relay check-config --config /etc/relay/config.toml --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			path, err := a.configPath()
			if err != nil {
				return err
			}
			cfg, err := relay.Load(path)
			var problems config.Problems
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			if a.json {
				return a.checkJSON(path, cfg, problems)
			}
			for _, p := range problems {
				a.say("%s", p)
			}
			if len(problems) > 0 {
				return fmt.Errorf("%s has %s", filepath.Base(path), count(len(problems), "problem"))
			}
			a.say("%s is good", filepath.Base(path))
			for _, s := range relaying(cfg) {
				a.say("  %s", s.title)
				for _, right := range s.rights {
					a.say("    %s", right)
				}
			}
			if not := cfg.NotInForce(); len(not) > 0 {
				a.say("not in force in this version:")
				for _, s := range not {
					a.say("  %s", s)
				}
			}
			return nil
		},
	}
}

func (a *app) checkJSON(path string, cfg *config.Config, problems config.Problems) error {
	s := checkShape{File: path, Good: len(problems) == 0, Problems: []problemShape{}, NotInForce: []string{}, Relaying: []string{}}
	for _, p := range problems {
		s.Problems = append(s.Problems, problemShape(p))
	}
	if cfg != nil {
		s.NotInForce, s.Relaying = list(cfg.NotInForce()), sentences(relaying(cfg))
	}
	if err := a.printJSON(s); err != nil {
		return err
	}
	if !s.Good {
		return reported{problems}
	}
	return nil
}

func (a *app) reload() *cobra.Command {
	var whatIf bool
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make the running relay read its configuration again",
		Long: `Make the running relay read its configuration again, as SIGHUP does. All of it
comes into force, for the sessions and transactions to come, or, where anything
is wrong with it, nothing. Running sessions are not touched.`,
		Example: "  relay check-config && relay reload",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := a.dial()
			if err != nil {
				return err
			}
			defer client.Close()
			got, err := client.Reload(cmd.Context(), &controlv1.ReloadRequest{WhatIf: whatIf})
			if err != nil {
				return err
			}
			return a.showReload(whatIf, got)
		},
	}
	whatIfFlag(c, &whatIf)
	return c
}

func (a *app) showReload(whatIf bool, r *controlv1.ReloadResponse) error {
	if a.json {
		return a.printJSON(reloadShape{Changed: list(r.GetChanged()), NeedsRestart: list(r.GetNeedsRestart()), WhatIf: whatIf})
	}
	done, inForce, nothing, restart := "reloaded", "in force now", "nothing has changed", "needs a restart"
	if whatIf {
		done, inForce, nothing, restart = "would be reloaded", "would come into force", "nothing would change", "would need a restart"
	}
	if len(r.GetChanged()) == 0 {
		a.say("%s; %s", done, nothing)
	} else {
		a.say("%s; %s: %s", done, inForce, strings.Join(r.GetChanged(), ", "))
	}
	if len(r.GetNeedsRestart()) > 0 {
		a.say("%s: %s", restart, strings.Join(r.GetNeedsRestart(), ", "))
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
