// Command relay is the operator's command: it runs the relay, and it speaks to the running
// one. What the commands do is done elsewhere; here is what they are called, what they take
// and how they answer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"example.org/relay/relay/config"
)

// Exit codes.
const (
	exitDone   = 0 // and in effect for the next transaction
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is one run of a command.
type app struct {
	stdin          *os.File
	stdout, stderr io.Writer

	// The flags that all commands have.
	configFile string
	json, yes  bool

	started bool // the command line was good; what fails now is not its fault
}

// usageError is wrong use that only a command itself could find.
type usageError struct{ error }

func wrongUse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var usage usageError
	if a.started && !errors.As(err, &usage) {
		a.complain(err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "relay: %s; see: %s --help\n", plain(err), cmd.CommandPath())
	return exitUsage
}

// complain says what went wrong, a line for each thing.
func (a *app) complain(err error) {
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintln(a.stderr, "relay:", tidy(p.String()))
		}
		return
	}
	var told reported
	if !errors.As(err, &told) {
		fmt.Fprintln(a.stderr, "relay:", plain(err))
	}
}

// reported is a failure of which the command has said everything.
type reported struct{ error }

// plain is the error on one line.
func plain(err error) string {
	return tidy(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
}
