package main

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// fakePeer has sessions of two round trips, of one and two milliseconds.
type fakePeer struct{ err error }

func (p fakePeer) session(r *recorder) error {
	if p.err != nil {
		return p.err
	}
	for _, d := range []time.Duration{time.Millisecond, 2 * time.Millisecond} {
		start := time.Now()
		time.Sleep(d)
		r.trip(start)
	}
	return nil
}
func (fakePeer) pids() []int  { return nil }
func (fakePeer) close() error { return nil }

func TestDriveCountsWhatTheSessionsDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, took, err := drive(fakePeer{}, 4, 29*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		s := summarize(rec, took)
		if took != 30*time.Millisecond || s.messages != 40 {
			t.Errorf("%d messages in %v, want 40 in 30ms", s.messages, took)
		}
		if s.tripsPerMessage != 2 || s.p50 != 1000 || s.p99 != 2000 || s.messageP50 != 3000 {
			t.Errorf("summary = %+v, want 2 trips a message, p50 1000, p99 2000, message 3000", s)
		}
	})
}

func TestDriveFailsWithASession(t *testing.T) {
	want := errors.New("broken")
	if _, _, err := drive(fakePeer{want}, 4, time.Hour); !errors.Is(err, want) {
		t.Errorf("error = %v, want %v", err, want)
	}
}

func TestProcessCPUGrowsWithWork(t *testing.T) {
	before, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after <= before; {
		if after, err = processCPU(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMilterSessionsOfBothForms(t *testing.T) {
	tests := []struct {
		name        string
		body, quiet bool
		trips       int
	}{
		{"headers only", false, false, 16},
		{"with body", true, false, 18},
		{"one reply", false, true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := startMilter(tt.body, tt.quiet)(options{})
			if err != nil {
				t.Fatal(err)
			}
			var rec recorder
			if err := p.session(&rec); err != nil {
				t.Error(err)
			}
			if len(rec.trips) != tt.trips {
				t.Errorf("%d round trips, want %d", len(rec.trips), tt.trips)
			}
			if cpu, err := processCPU(p.pids()[0]); err != nil || cpu == 0 {
				t.Errorf("CPU of the milter = %v, %v", cpu, err)
			}
			if err := p.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMain lets the test binary be the milter process, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-milter" {
		main()
		return
	}
	os.Exit(m.Run())
}
