package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
)

// results is a results file, read: its runs by scenario and label, each in
// the order of first appearance.
type results struct {
	scenarios []string
	labels    map[string][]string
	runs      map[string]map[string][]result
}

func (rs *results) add(r result) {
	if rs.runs[r.Scenario] == nil {
		rs.runs[r.Scenario] = map[string][]result{}
		rs.scenarios = append(rs.scenarios, r.Scenario)
	}
	if rs.runs[r.Scenario][r.Label] == nil {
		rs.labels[r.Scenario] = append(rs.labels[r.Scenario], r.Label)
	}
	rs.runs[r.Scenario][r.Label] = append(rs.runs[r.Scenario][r.Label], r)
}

// readResults reads result lines, leaving out the runs in which others used
// more than maxOther percent of the machine.
func readResults(in io.Reader, maxOther float64) (*results, error) {
	rs := &results{labels: map[string][]string{}, runs: map[string]map[string][]result{}}
	sc := bufio.NewScanner(in)
	for sc.Scan() {
		var r result
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			return nil, err
		}
		if r.OtherCPU <= maxOther {
			rs.add(r)
		}
	}
	return rs, sc.Err()
}

func openResults(fs *flag.FlagSet, args []string) (*results, error) {
	maxOther := fs.Float64("max-other", 100, "leave out runs in which others used more of the machine, in percent")
	fs.Parse(args)
	if fs.NArg() != 1 {
		return nil, fmt.Errorf("usage: smtpbench %s [flags] RESULTS.jsonl", fs.Name())
	}
	f, err := os.Open(fs.Arg(0))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readResults(f, *maxOther)
}

// reportMain prints a table a scenario: min/median/max over the runs, and
// medians as a ratio to the runs labelled "direct".
func reportMain(args []string) error {
	rs, err := openResults(flag.NewFlagSet("report", flag.ExitOnError), args)
	if err != nil {
		return err
	}
	for _, s := range rs.scenarios {
		base := col(rs.runs[s]["direct"], func(r result) float64 { return r.Rate })
		fmt.Printf("\n### %s\n\n", s)
		fmt.Println("| relay | runs | delivered/s min/med/max | ÷ direct | accepted/s med | accept p50 / p99 ms | e2e p50 / p99 ms | CPU-s/1000 min/med/max | load CPU-s/1000 | peak RSS / PSS MB | procs | msgs/sink conn | other CPU % | missing/dup/bad/errs |")
		fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
		for _, l := range rs.labels[s] {
			fmt.Println(tableRow(l, rs.runs[s][l], base))
		}
	}
	return nil
}

func tableRow(label string, rs []result, base []float64) string {
	c := func(get func(result) float64) []float64 { return col(rs, get) }
	rate := c(func(r result) float64 { return r.Rate })
	cpu := c(func(r result) float64 { return r.CPUPer1000 })
	ratio := "—"
	if len(base) > 0 {
		ratio = fmt.Sprintf("%.3f", med(rate)/med(base))
	}
	var f faults
	for _, r := range rs {
		f.add(r)
	}
	return fmt.Sprintf("| %s | %d | %.0f / **%.0f** / %.0f | %s | %.0f | %.1f / %.1f | %.1f / %.1f | %.3f / **%.3f** / %.3f | %.3f | %.0f / %.0f | %.0f | %.1f | %.0f | %s |",
		label, len(rs), rate[0], med(rate), rate[len(rate)-1], ratio,
		med(c(func(r result) float64 { return r.AcceptRate })),
		med(c(func(r result) float64 { return r.AcceptP50 })), med(c(func(r result) float64 { return r.AcceptP99 })),
		med(c(func(r result) float64 { return r.E2EP50 })), med(c(func(r result) float64 { return r.E2EP99 })),
		cpu[0], med(cpu), cpu[len(cpu)-1],
		med(c(func(r result) float64 { return r.LoadCPU })),
		med(c(func(r result) float64 { return r.PeakRSS })), med(c(func(r result) float64 { return r.PeakPSS })),
		med(c(func(r result) float64 { return float64(r.Procs) })),
		med(c(func(r result) float64 { return float64(r.Delivered) / max(1, float64(r.SinkConns)) })),
		med(c(func(r result) float64 { return r.OtherCPU })), f)
}

// faults counts what must not happen: a run with one of them proves nothing.
type faults struct{ missing, dup, bad, errs int }

func (f *faults) add(r result) {
	f.missing += r.Missing
	f.dup += r.Dup
	f.bad += r.Bad
	f.errs += r.Errs
}

func (f faults) String() string { return fmt.Sprintf("%d/%d/%d/%d", f.missing, f.dup, f.bad, f.errs) }

func col(rs []result, get func(result) float64) []float64 {
	var v []float64
	for _, r := range rs {
		v = append(v, get(r))
	}
	sort.Float64s(v)
	return v
}

// med returns the median of sorted values, 0 of none.
func med(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
