package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

// A pair is a relay and the rival that it is compared with.
type pair struct {
	relay, rival string
	rate         bar // delivered/s, scenario 4k
}

// A bar is what a ratio must and should reach; the zero bar is none.
type bar struct{ must, goal float64 }

var (
	pairs = []pair{
		{"relay:pass", "postfix:proxy", bar{4, 6}},
		{"relay:rewrite", "postfix:proxy-rewrite", bar{3, 5}},
	}
	// The scenarios other than 4k: delivered/s of every pair.
	rateElsewhere = map[string]bar{
		"4k-1":    {2, 3},
		"4k-conn": {2, 3},
		"50k":     {2, 2.5},
		"5M":      {2, 3},
	}
	cpuBar = bar{0.3, 0.15} // CPU per message, scenario 4k
	p99Bar = bar{0.5, 0.25} // p99 latency until accepted, at equal load
)

// pacedScenario offers each relay the same load, fewer messages a second than
// the slowest of them can take: only there are latencies comparable.
const pacedScenario = "4k-load"

// A comparison is one line of the ratio report.
type comparison struct {
	scenario, figure, relay, rival string
	ratios                         []float64 // sorted; one a round, or one of medians
	relayMed, rivalMed             float64
	relayOther, rivalOther         float64 // percent of the machine that others used meanwhile
	bar                            bar
	lowIsGood                      bool
	note                           string // why the line proves nothing; empty: it does
}

// verdict says which bar the median ratio reaches.
func (c comparison) verdict() string {
	m := med(c.ratios)
	reach := func(b float64) bool { return m >= b }
	if c.lowIsGood {
		reach = func(b float64) bool { return m <= b }
	}
	switch {
	case c.note != "":
		return "INVALID: " + c.note
	case c.bar == bar{}:
		return ""
	case reach(c.bar.goal):
		return "goal"
	case reach(c.bar.must):
		return "must"
	}
	return "MISSED"
}

// missed says that a bar is not shown to be reached.
func (c comparison) missed() bool {
	return c.bar != bar{} && (c.note != "" || c.verdict() == "MISSED")
}

// compare makes the report's lines for a scenario in which both have run.
func compare(scenario string, p pair, relay, rival []result) []comparison {
	line := func(figure string, b bar, lowIsGood bool, get func(result) float64) comparison {
		c := comparison{scenario: scenario, figure: figure, relay: p.relay, rival: p.rival, bar: b, lowIsGood: lowIsGood}
		c.relayMed, c.rivalMed = med(col(relay, get)), med(col(rival, get))
		other := func(r result) float64 { return r.OtherCPU }
		c.relayOther, c.rivalOther = med(col(relay, other)), med(col(rival, other))
		c.ratios = ratios(relay, rival, get)
		c.note = spoiled(relay, rival)
		return c
	}
	rate := func(r result) float64 { return r.Rate }
	p99 := line("accept p99, ms", bar{}, true, func(r result) float64 { return r.AcceptP99 })
	cpu := line("CPU-s/1000", bar{}, true, func(r result) float64 { return r.CPUPer1000 })
	if scenario == pacedScenario {
		p99.bar = p99Bar
		if p99.note == "" && !near(med(col(relay, rate)), med(col(rival, rate)), 0.05) {
			p99.note = "not at equal load, lower BENCH_RATE"
		}
		return []comparison{p99, cpu}
	}
	rateBar := rateElsewhere[scenario]
	if scenario == "4k" {
		rateBar, cpu.bar = p.rate, cpuBar
	}
	return []comparison{line("delivered/s", rateBar, false, rate), cpu, p99}
}

// spoiled says why runs cannot be compared, or returns "".
func spoiled(relay, rival []result) string {
	for _, rs := range [][]result{relay, rival} {
		var f faults
		delivered := 0
		for _, r := range rs {
			f.add(r)
			delivered += r.Delivered
		}
		if delivered == 0 {
			return rs[0].Label + " delivered nothing"
		}
		if f != (faults{}) {
			return fmt.Sprintf("%s has missing/dup/bad/errs %s", rs[0].Label, f)
		}
	}
	return ""
}

// ratios divides the figures of runs of the same round, which met the same
// machine; where no round has both it divides the medians.
func ratios(relay, rival []result, get func(result) float64) []float64 {
	byRound := map[string][]result{}
	for _, r := range rival {
		byRound[r.Round] = append(byRound[r.Round], r)
	}
	var v []float64
	for _, r := range relay {
		if with := byRound[r.Round]; r.Round != "" && len(with) > 0 {
			if d := med(col(with, get)); d > 0 {
				v = append(v, get(r)/d)
			}
		}
	}
	if d := med(col(rival, get)); len(v) == 0 && d > 0 {
		v = append(v, med(col(relay, get))/d)
	}
	slices.Sort(v)
	return v
}

func near(a, b, tolerance float64) bool {
	return a > 0 && b > 0 && max(a, b)/min(a, b) <= 1+tolerance
}

// compareAll also says which pairs have not run.
func compareAll(rs *results) (lines []comparison, absent []string) {
	for _, p := range pairs {
		found := false
		for _, s := range rs.scenarios {
			relay, rival := rs.runs[s][p.relay], rs.runs[s][p.rival]
			if len(relay) > 0 && len(rival) > 0 {
				lines = append(lines, compare(s, p, relay, rival)...)
				found = true
			}
		}
		if !found {
			absent = append(absent, p.relay+" ÷ "+p.rival)
		}
	}
	return lines, absent
}

func printRatios(w io.Writer, lines []comparison) {
	fmt.Fprintln(w, "| scenario | figure | relay ÷ rival | relay | rival | ratio med (min–max) | must | goal | reached | other CPU %, relay / rival |")
	fmt.Fprintln(w, "|---|---|---|--:|--:|---|---|---|---|---|")
	for _, c := range lines {
		must, goal := "", ""
		if c.bar != (bar{}) {
			sign := "≥"
			if c.lowIsGood {
				sign = "≤"
			}
			must, goal = fmt.Sprintf("%s %g", sign, c.bar.must), fmt.Sprintf("%s %g", sign, c.bar.goal)
		}
		ratio := "—"
		if n := len(c.ratios); n > 0 {
			ratio = fmt.Sprintf("**%.2f** (%.2f–%.2f, n=%d)", med(c.ratios), c.ratios[0], c.ratios[n-1], n)
		}
		fmt.Fprintf(w, "| %s | %s | %s ÷ %s | %s | %s | %s | %s | %s | %s | %.0f / %.0f |\n",
			c.scenario, c.figure, c.relay, c.rival, short(c.relayMed), short(c.rivalMed), ratio, must, goal, c.verdict(), c.relayOther, c.rivalOther)
	}
}

// short prints large figures without, small ones with decimals.
func short(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// ratiosMain prints how the relay does beside its rivals, with the bars.
func ratiosMain(args []string) error {
	fs := flag.NewFlagSet("ratios", flag.ExitOnError)
	gate := fs.Bool("gate", false, "exit 1 if a bar that must be reached is not")
	rs, err := openResults(fs, args)
	if err != nil {
		return err
	}
	lines, absent := compareAll(rs)
	if len(lines) > 0 {
		printRatios(os.Stdout, lines)
	}
	for _, a := range absent {
		fmt.Printf("\nNot compared, one of them did not run: %s\n", a)
	}
	if *gate && (len(absent) > 0 || slices.ContainsFunc(lines, comparison.missed)) {
		return errors.New("a bar is missed")
	}
	return nil
}
