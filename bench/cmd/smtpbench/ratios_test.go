package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func run(label, scenario, round string, rate, cpu, p99 float64) result {
	return result{Label: label, Scenario: scenario, Round: round, Delivered: 100, Rate: rate, CPUPer1000: cpu, AcceptP99: p99}
}

func TestRatiosDivideWithinARound(t *testing.T) {
	rate := func(r result) float64 { return r.Rate }
	tests := []struct {
		name         string
		relay, rival []result
		want         []float64
	}{
		{"a slow round slows both", []result{run("a", "4k", "1", 600, 0, 0), run("a", "4k", "2", 60, 0, 0)},
			[]result{run("b", "4k", "1", 100, 0, 0), run("b", "4k", "2", 10, 0, 0)}, []float64{6, 6}},
		{"a round without the rival counts not", []result{run("a", "4k", "1", 600, 0, 0), run("a", "4k", "2", 60, 0, 0)},
			[]result{run("b", "4k", "1", 100, 0, 0)}, []float64{6}},
		{"no common round: medians", []result{run("a", "4k", "1", 600, 0, 0), run("a", "4k", "2", 800, 0, 0)},
			[]result{run("b", "4k", "3", 100, 0, 0)}, []float64{7}},
		{"no rounds: medians", []result{run("a", "4k", "", 600, 0, 0)}, []result{run("b", "4k", "", 100, 0, 0), run("b", "4k", "", 300, 0, 0)}, []float64{3}},
		{"a rival at nothing gives no ratio", []result{run("a", "4k", "1", 600, 0, 0)}, []result{run("b", "4k", "1", 0, 0, 0)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ratios(tt.relay, tt.rival, rate); !slices.Equal(got, tt.want) {
				t.Errorf("ratios = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestVerdictSaysWhichBarIsReached(t *testing.T) {
	tests := []struct {
		name string
		c    comparison
		want string
		miss bool
	}{
		{"at the goal", comparison{ratios: []float64{6}, bar: bar{4, 6}}, "goal", false},
		{"between", comparison{ratios: []float64{5.9}, bar: bar{4, 6}}, "must", false},
		{"below", comparison{ratios: []float64{3.99}, bar: bar{4, 6}}, "MISSED", true},
		{"low is good, goal", comparison{ratios: []float64{.15}, bar: bar{.3, .15}, lowIsGood: true}, "goal", false},
		{"low is good, missed", comparison{ratios: []float64{.31}, bar: bar{.3, .15}, lowIsGood: true}, "MISSED", true},
		{"the median counts", comparison{ratios: []float64{1, 5, 9}, bar: bar{4, 6}}, "must", false},
		{"no bar", comparison{ratios: []float64{1}}, "", false},
		{"spoiled runs reach nothing", comparison{ratios: []float64{9}, bar: bar{4, 6}, note: "x"}, "INVALID: x", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.c.verdict(); got != tt.want || tt.c.missed() != tt.miss {
				t.Errorf("verdict = %q, missed %v, want %q, %v", got, tt.c.missed(), tt.want, tt.miss)
			}
		})
	}
}

func TestCompareRefusesSpoiledRuns(t *testing.T) {
	lost := run("relay:pass", "4k", "1", 9000, 0.1, 1)
	lost.Missing = 1
	silent := run("relay:pass", "4k", "1", 0, 0, 0)
	silent.Delivered = 0
	rival := []result{run("postfix:proxy", "4k", "1", 1000, 0.5, 10)}
	for _, tt := range []struct {
		name  string
		relay result
		want  string
	}{
		{"a message lost", lost, "relay:pass has missing/dup/bad/errs 1/0/0/0"},
		{"nothing delivered", silent, "relay:pass delivered nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range compare("4k", pairs[0], []result{tt.relay}, rival) {
				if c.note != tt.want {
					t.Errorf("%s: note %q, want %q", c.figure, c.note, tt.want)
				}
			}
		})
	}
}

func TestLatencyIsJudgedAtEqualLoadOnly(t *testing.T) {
	relay, rival := run("relay:pass", pacedScenario, "1", 500, 0.1, 1), run("postfix:proxy", pacedScenario, "1", 495, 0.5, 10)
	p99 := compare(pacedScenario, pairs[0], []result{relay}, []result{rival})[0]
	if p99.verdict() != "goal" {
		t.Errorf("at equal load: %q, want goal", p99.verdict())
	}
	rival.Rate = 300
	p99 = compare(pacedScenario, pairs[0], []result{relay}, []result{rival})[0]
	if !strings.HasPrefix(p99.verdict(), "INVALID") {
		t.Errorf("at unequal load: %q, want INVALID", p99.verdict())
	}
	for _, c := range compare("4k", pairs[0], []result{relay}, []result{rival}) {
		if strings.Contains(c.figure, "p99") && c.bar != (bar{}) {
			t.Error("p99 of a closed loop has a bar")
		}
	}
}

func TestReportOfAResultsFile(t *testing.T) {
	const file = `{"label":"relay:pass","scenario":"4k","round":"1","delivered":10,"rate":4000,"cpu_per_1000":0.1,"accept_p99_ms":2}
{"label":"postfix:proxy","scenario":"4k","round":"1","delivered":10,"rate":1000,"cpu_per_1000":0.5,"accept_p99_ms":20}
{"label":"postfix:proxy","scenario":"4k","round":"2","delivered":10,"rate":9000,"cpu_per_1000":0.5,"other_cpu_pct":60}
`
	rs, err := readResults(strings.NewReader(file), 50)
	if err != nil {
		t.Fatal(err)
	}
	lines, absent := compareAll(rs)
	if want := []string{"relay:rewrite ÷ postfix:proxy-rewrite"}; !slices.Equal(absent, want) {
		t.Errorf("absent = %q, want %q", absent, want)
	}
	var out bytes.Buffer
	printRatios(&out, lines)
	for _, want := range []string{
		"| 4k | delivered/s | relay:pass ÷ postfix:proxy | 4000 | 1000 | **4.00** (4.00–4.00, n=1) | ≥ 4 | ≥ 6 | must | 0 / 0 |",
		"| 4k | CPU-s/1000 | relay:pass ÷ postfix:proxy | 0.1 | 0.5 | **0.20** (0.20–0.20, n=1) | ≤ 0.3 | ≤ 0.15 | must | 0 / 0 |",
		"| 4k | accept p99, ms | relay:pass ÷ postfix:proxy | 2 | 20 | **0.10** (0.10–0.10, n=1) |  |  |  | 0 / 0 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, out.String())
		}
	}
}
