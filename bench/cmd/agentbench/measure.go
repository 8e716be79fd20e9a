package main

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A sample is one measurement of one contender.
type sample struct {
	label    string
	sessions int
	round    int

	messages           int
	hostCPU, filterCPU float64 // µs a message
	hostAllocs         float64 // a round trip
	tripsPerMessage    float64
	tripsPerSecond     float64
	p50, p99           float64 // µs, one round trip
	messageP50         float64 // µs, all of a session
}

func (s sample) cpu() float64 { return s.hostCPU + s.filterCPU }

// A recorder is one worker's: the times of its round trips.
type recorder struct {
	trips    []float64 // µs
	sessions []float64 // µs
}

// trip notes one round trip that began at start.
func (r *recorder) trip(start time.Time) { r.trips = append(r.trips, us(time.Since(start))) }

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// measure runs sessions in parallel, first unmeasured, then for the duration.
func measure(p peer, sessions int, warmup, duration time.Duration) (sample, error) {
	if _, _, err := drive(p, sessions, warmup); err != nil {
		return sample{}, err
	}
	runtime.GC() // what others left behind is not this contender's
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	host0, filter0, err := cpuOfBoth(p)
	if err != nil {
		return sample{}, err
	}
	rec, took, err := drive(p, sessions, duration)
	if err != nil {
		return sample{}, err
	}
	host1, filter1, err := cpuOfBoth(p)
	if err != nil {
		return sample{}, err
	}
	runtime.ReadMemStats(&after)
	s := summarize(rec, took)
	n := float64(s.messages)
	s.hostCPU, s.filterCPU = us(host1-host0)/n, us(filter1-filter0)/n
	s.hostAllocs = float64(after.Mallocs-before.Mallocs) / float64(len(rec.trips))
	return s, nil
}

func summarize(rec *recorder, took time.Duration) sample {
	slices.Sort(rec.trips)
	slices.Sort(rec.sessions)
	return sample{
		messages:        len(rec.sessions),
		tripsPerMessage: float64(len(rec.trips)) / float64(len(rec.sessions)),
		tripsPerSecond:  float64(len(rec.trips)) / took.Seconds(),
		p50:             quantile(rec.trips, 0.50),
		p99:             quantile(rec.trips, 0.99),
		messageP50:      quantile(rec.sessions, 0.50),
	}
}

// quantile is that of sorted values, by nearest rank; 0 of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(0, rank-1)]
}

// drive runs sessions in parallel until the time is over, and at least one in
// each. It fails with the first error of any.
func drive(p peer, sessions int, duration time.Duration) (*recorder, time.Duration, error) {
	var (
		wg     sync.WaitGroup
		failed atomic.Pointer[error]
		recs   = make([]recorder, sessions)
		start  = time.Now()
		end    = start.Add(duration)
	)
	for i := range recs {
		wg.Go(func() {
			rec := &recs[i]
			for failed.Load() == nil {
				begin := time.Now()
				if err := p.session(rec); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				now := time.Now()
				rec.sessions = append(rec.sessions, us(now.Sub(begin)))
				if now.After(end) {
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if err := failed.Load(); err != nil {
		return nil, 0, *err
	}
	all := &recorder{}
	for i := range recs {
		all.trips = append(all.trips, recs[i].trips...)
		all.sessions = append(all.sessions, recs[i].sessions...)
	}
	return all, took, nil
}

func cpuOfBoth(p peer) (host, filter time.Duration, err error) {
	if host, err = processCPU(unix.Getpid()); err != nil {
		return 0, 0, err
	}
	for _, pid := range p.pids() {
		cpu, err := processCPU(pid)
		if err != nil {
			return 0, 0, err
		}
		filter += cpu
	}
	return host, filter, nil
}

// processCPU is the CPU time of all threads of a living process, to the
// nanosecond: the clock that clock_getcpuclockid(3) names, which the kernel
// makes of the process id (CPUCLOCK_SCHED).
func processCPU(pid int) (time.Duration, error) {
	const sched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
