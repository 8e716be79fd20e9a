// Command idlebench measures what idle sessions cost a relay: memory a session, and what they do to
// a busy one. The relay, the next hop and the idle clients are processes of their own.
//
//	idlebench [-relay FILE] [-n SESSIONS] [-for DURATION] [-rounds N]
//
// In each round a busy session sends messages one after the other, before and while the idle
// sessions are there: trust the ratios, not the absolute figures.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type options struct {
	relay  string
	n      int
	busy   time.Duration
	rounds int
}

// kinds are how far the idle sessions have come.
var kinds = []string{"greeted", "hello", "mail", "tls"}

func main() {
	hold := flag.String("hold", "", "be the idle clients of this relay, until standard input ends")
	kind := flag.String("kind", "greeted", "with -hold: how far they have come")
	o := options{}
	flag.StringVar(&o.relay, "relay", "bin/relay", "the relay's program")
	flag.IntVar(&o.n, "n", 10_000, "idle sessions")
	flag.DurationVar(&o.busy, "for", 3*time.Second, "how long the busy session sends at a time")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each kind of idle session is measured")
	flag.Parse()
	var err error
	if *hold != "" {
		err = holdSessions(*hold, o.n, *kind)
	} else {
		err = bench(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "idlebench:", err)
		os.Exit(1)
	}
}

func bench(o options) error {
	// Ended by a signal, it still ends what it has started.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	dir, err := os.MkdirTemp("", "idlebench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	relay, err := filepath.Abs(o.relay)
	if err != nil {
		return err
	}
	fmt.Printf("%d idle sessions; memory of the relay's process, KiB a session; a busy session's messages\n\n", o.n)
	fmt.Println("| they have said | KiB a session | messages/s with ÷ without | p99 with ÷ without | connections to the next hop for them |")
	fmt.Println("|---|---|---|---|---|")
	for _, kind := range kinds {
		var all []result
		for range o.rounds {
			select {
			case <-interrupted:
				return fmt.Errorf("interrupted")
			default:
			}
			r, err := measure(dir, relay, kind, o)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			all = append(all, r)
		}
		fmt.Println(row(kind, all))
	}
	return nil
}
