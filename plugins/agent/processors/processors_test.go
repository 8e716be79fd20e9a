package processors

import "testing"

func TestSharingGivesProcessorsToWhoUsesThem(t *testing.T) {
	s := sharing{all: 8, now: 1}
	ticks := func(n int, busy float64) (given int) {
		for range n {
			if got := s.next(busy); got != 0 {
				given = got
			}
		}
		return given
	}
	for _, step := range []struct {
		what  string
		ticks int
		busy  float64
		want  int
	}{
		{"half a processor in use", 100, 0.5, 0},
		{"nearly full for a moment", busyTicks - 1, 0.95, 0},
		{"not any more", 1, 0.5, 0},
		{"nearly full", busyTicks, 0.95, 8},
		{"in use", 100, 0.9, 0},
		{"calm for a moment", calmTicks - 1, 0.5, 0},
		{"in use again", 1, 0.9, 0},
		{"calm", calmTicks, 0.5, 1},
	} {
		if got := ticks(step.ticks, step.busy); got != step.want {
			t.Errorf("%s: %d processors given, want %d", step.what, got, step.want)
		}
	}
}
