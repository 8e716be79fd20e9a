package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// cost is a sample with this CPU per message, half of it the host's.
func cost(label string, sessions, round int, us float64) sample {
	return sample{label: label, sessions: sessions, round: round, hostCPU: us / 2, filterCPU: us / 2}
}

func TestGateComparesWithinARound(t *testing.T) {
	all := samples{
		cost(milterHeaders, 20, 0, 400), cost(agentDecide, 20, 0, 200),
		cost(milterHeaders, 20, 1, 800), cost(agentDecide, 20, 1, 480), // a slow round slows both
		cost(milterHeaders, 20, 2, 0), cost(agentDecide, 20, 2, 100), // nothing to divide by
		cost(agentDecide, 20, 3, 100), // alone
		cost(milterHeaders, 1, 0, 1000), cost(agentDecide, 1, 0, 900),
	}
	g := gate{agentDecide, milterHeaders, 0.6, 0.4}
	if got, want := g.ratios(all, 20), []float64{0.5, 0.6}; !slices.Equal(got, want) {
		t.Errorf("20 sessions: ratios = %v, want %v", got, want)
	}
	if got, want := g.ratios(all, 1), []float64{0.9}; !slices.Equal(got, want) {
		t.Errorf("1 session: ratios = %v, want %v", got, want)
	}
	if got := g.ratios(all, 200); got != nil {
		t.Errorf("200 sessions, not measured: ratios = %v, want none", got)
	}
}

func TestGateVerdict(t *testing.T) {
	g := gate{agentDecide, milterHeaders, 0.6, 0.4}
	tests := []struct {
		name     string
		g        gate
		ratio    float64
		sessions int
		want     string
	}{
		{"at the goal", g, 0.4, gateSessions, "goal"},
		{"between", g, 0.6, gateSessions, "must"},
		{"above", g, 0.61, gateSessions, "MISSED"},
		{"other numbers of sessions have no bar", g, 9, 1, ""},
		{"a ratio for information has no bar", gate{over: agentDecide, under: milterQuiet}, 9, gateSessions, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.g.verdict(tt.ratio, tt.sessions); got != tt.want {
				t.Errorf("verdict(%v) = %q, want %q", tt.ratio, got, tt.want)
			}
		})
	}
}

func TestReportNamesTheMissedBar(t *testing.T) {
	all := samples{
		cost(milterHeaders, 20, 0, 400), cost(milterFull, 20, 0, 500),
		cost(agentDecide, 20, 0, 280), cost(agentNotify, 20, 0, 60),
	}
	var out bytes.Buffer
	if !printRatios(&out, all) {
		t.Error("0.70 over a bar of 0.60 is not reported as missed")
	}
	for _, want := range []string{
		"| 20 | agent, all decided ÷ milter to EOH | **0.70** (0.70–0.70, n=1) | ≤ 0.60 | ≤ 0.40 | MISSED |",
		"| 20 | agent, decides once ÷ milter to EOH | **0.15** (0.15–0.15, n=1) | ≤ 0.25 | ≤ 0.15 | goal |",
		"| 20 | agent, all decided ÷ milter with body | **0.56** (0.56–0.56, n=1) |  |  |  |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), milterQuiet) {
		t.Error("a contender that did not run is in the report")
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	tests := []struct {
		name string
		v    []float64
		q    float64
		want float64
	}{
		{"none", nil, 0.5, 0},
		{"one", []float64{7}, 0.99, 7},
		{"median of three", []float64{1, 2, 3}, 0.5, 2},
		{"p99 of a hundred", hundred, 0.99, 99},
		{"p50 of a hundred", hundred, 0.5, 50},
		{"smallest", hundred, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := quantile(tt.v, tt.q); got != tt.want {
				t.Errorf("quantile(%v) = %v, want %v", tt.q, got, tt.want)
			}
		})
	}
}

func TestMessageIsOfTheStatedSize(t *testing.T) {
	if len(headerFields) != 10 || len(headerRaw) != 1024 || len(body) != 4096 {
		t.Errorf("%d fields, %d bytes of headers, %d of body, want 10, 1024, 4096", len(headerFields), len(headerRaw), len(body))
	}
}
