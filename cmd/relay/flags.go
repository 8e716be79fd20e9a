package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groupKey marks a flag with the heading that --help has it under.
const groupKey = "group"

// takeGroup gives the command flags that stand together in its help.
func takeGroup(c *cobra.Command, heading string, flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.VisitAll(func(f *pflag.Flag) {
		f.Annotations = map[string][]string{groupKey: {heading}}
		c.Flags().AddFlag(f)
	})
}

// flagsInGroups is what --help says of a command's own flags: those of no group, then group by
// group.
func flagsInGroups(c *cobra.Command) string {
	var headings []string
	groups := map[string]*pflag.FlagSet{}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		heading := ""
		if g := f.Annotations[groupKey]; len(g) > 0 {
			heading = g[0]
		}
		if groups[heading] == nil {
			groups[heading] = pflag.NewFlagSet("", pflag.ContinueOnError)
			groups[heading].SortFlags = false
			if heading != "" {
				headings = append(headings, heading)
			}
		}
		groups[heading].AddFlag(f)
	})
	var b strings.Builder
	if general := groups[""]; general != nil {
		b.WriteString(general.FlagUsages())
	}
	for _, heading := range headings {
		b.WriteString("\n" + heading + "\n" + groups[heading].FlagUsages())
	}
	return b.String()
}

// useGroups makes the help of root and all below it have flags in groups.
func useGroups(root *cobra.Command) {
	cobra.AddTemplateFunc("flagsInGroups", flagsInGroups)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), ".LocalFlags.FlagUsages", "flagsInGroups .", 1))
}

// place is a flag's place in an order.
type place uint32

func (p *place) String() string { return strconv.FormatUint(uint64(*p), 10) }
func (*place) Type() string     { return "N" }

func (p *place) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return errors.New("must be a whole number; the first place is 1")
	}
	*p = place(n)
	return nil
}

// choice is a flag's word. Alone, without "=", the flag is its NoOptDefVal.
type choice string

func (c *choice) String() string { return string(*c) }
func (*choice) Type() string     { return "bool" } // has --help write --flag[=yes]

func (c *choice) Set(text string) error {
	*c = choice(text)
	return nil
}

// length is a flag's time.
type length time.Duration

func (l *length) String() string {
	if *l == 0 {
		return "0" // that is no default to speak of in the help
	}
	return time.Duration(*l).String()
}

func (*length) Type() string { return "D" }

func (l *length) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("must be a time with a unit, such as 5s or 15m")
	}
	if d < 0 {
		return errors.New("must not be negative")
	}
	*l = length(d)
	return nil
}
