package main

import (
	"fmt"
	"io"
	"slices"
)

type samples []sample

// of are those of one contender, in rounds' order.
func (all samples) of(label string, sessions int) samples {
	var v samples
	for _, s := range all {
		if s.label == label && s.sessions == sessions {
			v = append(v, s)
		}
	}
	return v
}

// col are one figure of all, sorted.
func (all samples) col(get func(sample) float64) []float64 {
	var v []float64
	for _, s := range all {
		v = append(v, get(s))
	}
	slices.Sort(v)
	return v
}

// sessionCounts are those measured, in order.
func (all samples) sessionCounts() []int {
	var v []int
	for _, s := range all {
		if !slices.Contains(v, s.sessions) {
			v = append(v, s.sessions)
		}
	}
	return v
}

// median of sorted values; 0 of none.
func median(v []float64) float64 {
	n := len(v)
	switch {
	case n == 0:
		return 0
	case n%2 == 0:
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[n/2]
}

// printFigures prints the medians of all contenders.
func printFigures(w io.Writer, all samples) {
	fmt.Fprint(w, "\n### Agents and milters: figures (medians; they depend on the machine)\n\n")
	fmt.Fprintln(w, "| sessions | contender | µs CPU a message, both processes: min / med / max | host's part | round trips a message | round trips/s | µs a round trip p50 / p99 | µs a message p50 | host allocations a round trip |")
	fmt.Fprintln(w, "|--:|---|---|--:|--:|--:|---|--:|--:|")
	for _, n := range all.sessionCounts() {
		for _, c := range contenders {
			ss := all.of(c.label, n)
			if len(ss) == 0 {
				continue
			}
			cpu := ss.col(sample.cpu)
			med := func(get func(sample) float64) float64 { return median(ss.col(get)) }
			fmt.Fprintf(w, "| %d | %s | %.0f / **%.0f** / %.0f | %.0f %% | %.0f | %.0f | %.0f / %.0f | %.0f | %.0f |\n",
				n, c.label, cpu[0], median(cpu), cpu[len(cpu)-1],
				med(func(s sample) float64 { return 100 * s.hostCPU / s.cpu() }),
				med(func(s sample) float64 { return s.tripsPerMessage }),
				med(func(s sample) float64 { return s.tripsPerSecond }),
				med(func(s sample) float64 { return s.p50 }), med(func(s sample) float64 { return s.p99 }),
				med(func(s sample) float64 { return s.messageP50 }),
				med(func(s sample) float64 { return s.hostAllocs }))
		}
	}
	fmt.Fprintln(w)
	for _, c := range contenders {
		fmt.Fprintf(w, "- %s: %s.\n", c.label, c.what)
	}
}

// A gate is a ratio of CPU per message between two contenders, with what it
// must and should be at most at gateSessions; a gate without them informs.
type gate struct {
	over, under string
	must, goal  float64
}

const gateSessions = 20

var gates = []gate{
	{agentDecide, milterHeaders, 0.60, 0.40},
	{agentNotify, milterHeaders, 0.25, 0.15},
	{agentDecide, milterFull, 0, 0},
	{agentNotify, milterFull, 0, 0},
	{agentDecide, milterQuiet, 0, 0},
	{agentNotify, milterQuiet, 0, 0},
	{agentThree, agentDecide, 4.0, 3.3},
}

// ratios are those of each round, sorted.
func (g gate) ratios(all samples, sessions int) []float64 {
	var v []float64
	unders := all.of(g.under, sessions)
	for _, o := range all.of(g.over, sessions) {
		for _, t := range unders {
			if t.round == o.round && t.cpu() > 0 {
				v = append(v, o.cpu()/t.cpu())
			}
		}
	}
	slices.Sort(v)
	return v
}

// verdict says which bar a ratio reaches, "" where there is none.
func (g gate) verdict(ratio float64, sessions int) string {
	switch {
	case g.must == 0 || sessions != gateSessions:
		return ""
	case ratio <= g.goal:
		return "goal"
	case ratio <= g.must:
		return "must"
	}
	return "MISSED"
}

// printRatios prints the gates and reports whether one is missed.
func printRatios(w io.Writer, all samples) (missed bool) {
	fmt.Fprint(w, "\n### CPU per message, both processes: agents ÷ milters\n\n")
	fmt.Fprintln(w, "Round by round, median (min–max). Without a bar: for information.")
	fmt.Fprintln(w)
	fmt.Fprintln(w, "| sessions | what ÷ what | ratio | must | goal | reached |")
	fmt.Fprintln(w, "|--:|---|---|---|---|---|")
	for _, n := range all.sessionCounts() {
		for _, g := range gates {
			v := g.ratios(all, n)
			if len(v) == 0 {
				continue
			}
			verdict := g.verdict(median(v), n)
			must, goal := "", ""
			if verdict != "" {
				must, goal = fmt.Sprintf("≤ %.2f", g.must), fmt.Sprintf("≤ %.2f", g.goal)
			}
			missed = missed || verdict == "MISSED"
			fmt.Fprintf(w, "| %d | %s ÷ %s | **%.2f** (%.2f–%.2f, n=%d) | %s | %s | %s |\n",
				n, g.over, g.under, median(v), v[0], v[len(v)-1], len(v), must, goal, verdict)
		}
	}
	return missed
}
