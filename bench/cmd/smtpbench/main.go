// Command smtpbench loads an SMTP relay and verifies, in the same process,
// that each accepted message reaches the next hop exactly once and intact.
//
//	smtpbench run    load a relay (or, with -target equal to -sink, nothing)
//	smtpbench fsync  how many 4 KB append+fsync a second the disk takes
//	smtpbench report turn a file of result lines into Markdown tables
//	smtpbench ratios compare the relay with its rivals, beside the bars to reach
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: smtpbench run|fsync|report|ratios [flags]")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "run":
		err = runMain(os.Args[2:])
	case "fsync":
		err = fsyncMain(os.Args[2:])
	case "report":
		err = reportMain(os.Args[2:])
	case "ratios":
		err = ratiosMain(os.Args[2:])
	default:
		err = fmt.Errorf("unknown subcommand %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "smtpbench:", err)
		os.Exit(1)
	}
}
