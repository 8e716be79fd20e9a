package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.org/relay/relay/sink"
)

func commandsDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDocumentHasEveryCommandAndFlag(t *testing.T) {
	text := commandsDocument(t)
	root := (&app{stdin: os.Stdin}).root()
	for _, c := range root.Commands() {
		_, section, found := strings.Cut(text, "### relay "+c.Name()+"\n")
		if !found {
			if c.Name() != "help" {
				t.Errorf("docs/commands.md has no section for %s", c.Name())
			}
			continue
		}
		section, _, _ = strings.Cut(section, "\n### ")
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			where := section
			if f.Annotations[groupKey] != nil { // several commands have it, and one section is of all of them
				where = text
			}
			if f.Name != "help" && !strings.Contains(where, "--"+f.Name) {
				t.Errorf("docs/commands.md: %s has a flag --%s, which its section does not have", c.Name(), f.Name)
			}
		})
	}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, "`--"+f.Name) {
			t.Errorf("docs/commands.md does not have --%s", f.Name)
		}
	})
}

func TestDocumentHasEveryFieldOfTheJSONShapes(t *testing.T) {
	text := commandsDocument(t)
	for _, shape := range []any{
		agentShape{}, changeShape{}, stageShape{}, boundShape{}, reloadShape{}, checkShape{}, problemShape{}, hashShape{}, sink.Message{}, sink.Address{},
	} {
		typ := reflect.TypeOf(shape)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name != "" && !strings.Contains(text, `"`+name+`":`) {
				t.Errorf("docs/commands.md has no field %q of %s", name, typ)
			}
		}
	}
}

func TestEveryCommandHasAnExampleAndALongText(t *testing.T) {
	root := (&app{stdin: os.Stdin}).root()
	for _, c := range append([]*cobra.Command{root}, root.Commands()...) {
		if c.Name() == "help" {
			continue
		}
		if c.Short == "" || c.Long == "" || !strings.Contains(c.Example, "relay ") {
			t.Errorf("%s: a short text, a long text and an example are wanted", c.CommandPath())
		}
	}
}

func TestWithoutAnyConfigurationTheMessageSaysWhereItWasLookedFor(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := os.Stat(configPaths[1]); err == nil {
		t.Skip("this machine has " + configPaths[1])
	}
	_, err := (&app{}).configPath()
	if err == nil || !strings.Contains(err.Error(), "neither ./config.toml nor /etc/relay/config.toml exists; name one with --config FILE") {
		t.Errorf("error %v", err)
	}
}
