package agent

import "testing"

func TestSharingGivesProcessorsToWhoUsesThem(t *testing.T) {
	s := sharing{all: 8, now: 1}
	for range 100 {
		if n := s.next(0.5); n != 0 {
			t.Fatalf("half a processor in use: %d given", n)
		}
	}
	if n := s.next(0.9); n != 8 {
		t.Fatalf("a processor nearly full: %d given, want all", n)
	}
	for range 100 {
		if n := s.next(0.4); n != 0 {
			t.Fatalf("in use, but %d given", n)
		}
	}
	for i := range calmTicks - 1 {
		if n := s.next(0.1); n != 0 {
			t.Fatalf("taken after %d calm ticks", i+1)
		}
	}
	if n := s.next(0.1); n != 1 {
		t.Fatalf("calm for long: %d given, want 1", n)
	}
}
