// Command agentbench compares what a message costs with an agent of the relay
// and with a milter, both in a process of their own behind a unix socket: CPU
// of both processes together, round trips a second, latency of one event.
//
// It is the load, the host's end of either protocol, and (started again by
// itself, with -milter) the milter. Both sides of a comparison run in the same
// process, in the same round, one after the other: trust the ratios, not the
// absolute figures, which depend on the machine and on what else it does.
//
//	agentbench [-agent FILE] [-rounds N] [-duration D] [-sessions "1 20 200"] [-gate]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	agent    string
	rounds   int
	duration time.Duration
	warmup   time.Duration
	sessions []int
	gate     bool
}

func main() {
	milterSocket := flag.String("milter", "", "be the milter on this socket, until standard input ends")
	milterQuiet := flag.Bool("quiet", false, "with -milter: waive all replies that can be")
	o := options{}
	self, _ := os.Executable()
	flag.StringVar(&o.agent, "agent", filepath.Join(filepath.Dir(self), "benchagent"), "agent program with the factories decide and notify")
	flag.IntVar(&o.rounds, "rounds", 3, "how often all take their turn")
	flag.DurationVar(&o.duration, "duration", time.Second, "how long one measurement takes")
	flag.DurationVar(&o.warmup, "warmup", 300*time.Millisecond, "how long to run unmeasured before it")
	sessions := flag.String("sessions", "1 20 200", "numbers of parallel SMTP sessions to measure with")
	flag.BoolVar(&o.gate, "gate", false, "exit 1 if a bar that must be reached is not")
	flag.Parse()
	for _, s := range strings.Fields(*sessions) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "agentbench: -sessions: %q is no number of sessions\n", s)
			os.Exit(2)
		}
		o.sessions = append(o.sessions, n)
	}
	var err error
	if *milterSocket != "" {
		err = serveMilter(*milterSocket, *milterQuiet)
	} else {
		err = bench(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agentbench:", err)
		os.Exit(1)
	}
}

// bench runs all contenders in turn and reports.
func bench(o options) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	var all samples
	for round := range o.rounds {
		for _, sessions := range o.sessions {
			for _, c := range contenders {
				select {
				case <-stop:
					return errors.New("interrupted")
				default:
				}
				s, err := measureContender(c, o, sessions)
				if err != nil {
					return fmt.Errorf("%s, %d sessions: %w", c.label, sessions, err)
				}
				s.label, s.sessions, s.round = c.label, sessions, round
				all = append(all, s)
				fmt.Fprintf(os.Stderr, "%d/%d %-24s %3d sessions %7.1f µs CPU a message (host %.1f, filter %.1f), %.0f round trips/s\n",
					round+1, o.rounds, c.label, sessions, s.cpu(), s.hostCPU, s.filterCPU, s.tripsPerSecond)
			}
		}
	}
	printFigures(os.Stdout, all)
	missed := printRatios(os.Stdout, all)
	if o.gate && missed {
		return errors.New("a bar is missed")
	}
	return nil
}

func measureContender(c contender, o options, sessions int) (sample, error) {
	p, err := c.start(o)
	if err != nil {
		return sample{}, err
	}
	s, err := measure(p, sessions, o.warmup, o.duration)
	return s, errors.Join(err, p.close())
}
