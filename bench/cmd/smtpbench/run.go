package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sort"
	"syscall"
	"time"
)

// result is one line of a results file.
type result struct {
	Label      string  `json:"label"`
	Scenario   string  `json:"scenario"`
	Round      string  `json:"round,omitempty"` // runs of one round met the same machine
	Accepted   int     `json:"accepted"`
	Delivered  int     `json:"delivered"`
	Missing    int     `json:"missing"` // accepted, never at the sink
	Dup        int     `json:"dup"`
	Bad        int     `json:"bad"`
	Errs       int     `json:"errs"` // refused or broken on the load side
	Why        string  `json:"why,omitempty"`
	AcceptRate float64 `json:"accept_rate"`
	Rate       float64 `json:"rate"` // delivered end to end, a second
	AcceptP50  float64 `json:"accept_p50_ms"`
	AcceptP99  float64 `json:"accept_p99_ms"`
	E2EP50     float64 `json:"e2e_p50_ms"`
	E2EP99     float64 `json:"e2e_p99_ms"`
	CPUPer1000 float64 `json:"cpu_per_1000"` // relay CPU-seconds
	LoadCPU    float64 `json:"load_cpu_per_1000"`
	OtherCPU   float64 `json:"other_cpu_pct"` // of the whole machine
	PeakRSS    float64 `json:"peak_rss_mb"`
	PeakPSS    float64 `json:"peak_pss_mb"`
	Procs      int     `json:"procs"`
	SinkConns  int64   `json:"sink_conns"`
	Seconds    float64 `json:"seconds"`
}

func runMain(args []string) error {
	fs := flag.NewFlagSet("run", flag.ExitOnError)
	target := fs.String("target", "127.0.0.1:2600", "relay under test")
	listen := fs.String("sink", "127.0.0.1:2600", "where the relay delivers")
	sessions := fs.Int("sessions", 20, "parallel client sessions")
	reuse := fs.Bool("reuse", true, "many messages a connection (else one)")
	size := fs.Int("size", 4096, "message size in bytes")
	dur := fs.Duration("duration", 4*time.Second, "how long to send")
	warm := fs.Duration("warmup", time.Second, "how long to send unmeasured first")
	max := fs.Int("max", 0, "send at most this many messages (0: no limit)")
	drain := fs.Duration("drain", 90*time.Second, "longest wait for the relay to deliver the rest")
	stall := fs.Duration("stall", 20*time.Second, "give up after so long without an arrival")
	rewrite := fs.Bool("rewrite", false, "expect the rewritten recipient, Subject and header")
	group := fs.String("cgroup", "", "name of the relay's control group")
	label := fs.String("label", "?", "relay under test, for the report")
	scenario := fs.String("scenario", "?", "scenario, for the report")
	round := fs.String("round", "", "name of the round of runs, for the report's ratios")
	rate := fs.Float64("rate", 0, "messages a second over all sessions (0: as fast as they go)")
	out := fs.String("out", "", "append the result to this file")
	quiet := fs.Duration("quiet", 20*time.Second, "longest wait for the machine to be idle first")
	fs.Parse(args)

	c := newCorpus(*size, *rewrite)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	sk := newSink(c)
	go sk.serve(l)
	ld := &loader{target: *target, c: c, sessions: *sessions, reuse: *reuse, rate: *rate}
	wait := func() {
		last, lastChange, limit := int64(-1), time.Now(), time.Now().Add(*drain)
		for time.Now().Before(limit) {
			sk.mu.Lock()
			rest := 0
			for id := range ld.ok {
				if _, ok := sk.arrived[id]; !ok {
					rest++
				}
			}
			broken := sk.bad
			sk.mu.Unlock()
			if rest <= broken {
				return
			}
			if n := sk.got.Load(); n != last {
				last, lastChange = n, time.Now()
			} else if time.Since(lastChange) > *stall {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	awaitIdle(*quiet)
	if *warm > 0 {
		ld.load(time.Now().Add(*warm), *max)
		wait()
		time.Sleep(300 * time.Millisecond)
		sk.mu.Lock()
		clear(sk.arrived)
		sk.mu.Unlock()
	}
	conns0 := sk.conns.Load()
	u, err := openUsage(*group)
	if err != nil {
		return err
	}
	m0 := u.mark()
	start := time.Now()
	ld.load(start.Add(*dur), *max)
	wait()
	time.Sleep(300 * time.Millisecond) // let the relay finish its own work
	m1 := u.mark()
	u.stop()

	r := result{Label: *label, Scenario: *scenario, Round: *round, Accepted: len(ld.ok), Errs: ld.errs, Seconds: time.Since(start).Seconds()}
	sk.mu.Lock()
	defer sk.mu.Unlock()
	r.Dup, r.Bad = sk.dup, sk.bad
	if ld.errWhy != nil {
		r.Why = ld.errWhy.Error()
	}
	if sk.badWhy != nil {
		r.Why = sk.badWhy.Error()
	}
	var acc, e2e []float64
	var lastOK time.Time
	for id, t := range ld.ok {
		acc = append(acc, ms(t.end.Sub(t.start)))
		if t.end.After(lastOK) {
			lastOK = t.end
		}
		if at, ok := sk.arrived[id]; ok {
			r.Delivered++
			e2e = append(e2e, ms(at.Sub(t.start)))
		}
	}
	r.Missing = r.Accepted - r.Delivered
	r.AcceptP50, r.AcceptP99 = quantile(acc, .5), quantile(acc, .99)
	r.E2EP50, r.E2EP99 = quantile(e2e, .5), quantile(e2e, .99)
	if r.Delivered > 0 {
		n := float64(r.Delivered)
		r.AcceptRate = float64(r.Accepted) / lastOK.Sub(start).Seconds()
		r.Rate = n / sk.last.Sub(start).Seconds()
		r.CPUPer1000 = (m1.relay - m0.relay) / n * 1000
		r.LoadCPU = (m1.self - m0.self) / n * 1000
	}
	busy, total := m1.busy-m0.busy, m1.total-m0.total
	if total > 0 {
		r.OtherCPU = 100 * (busy - (m1.relay - m0.relay) - (m1.self - m0.self)) / total
	}
	r.PeakRSS, r.PeakPSS, r.Procs = u.peakRSS, u.peakPSS, u.procs
	r.SinkConns = sk.conns.Load() - conns0
	line, _ := json.Marshal(r)
	if *out != "" {
		f, err := os.OpenFile(*out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		fmt.Fprintf(f, "%s\n", line)
		if err := f.Close(); err != nil {
			return err
		}
	}
	fmt.Printf("%-22s %-12s %7.0f/s e2e (%.0f/s accepted, %d msgs, %d missing, %d dup, %d bad, %d errs) p50 %.1f p99 %.1f ms, e2e p99 %.0f ms, cpu/1000 %.3f (load %.3f, other %.0f%%), rss %.0f pss %.0f MB, %d procs, %d conns %s\n",
		r.Label, r.Scenario, r.Rate, r.AcceptRate, r.Delivered, r.Missing, r.Dup, r.Bad, r.Errs, r.AcceptP50, r.AcceptP99, r.E2EP99, r.CPUPer1000, r.LoadCPU, r.OtherCPU, r.PeakRSS, r.PeakPSS, r.Procs, r.SinkConns, r.Why)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sort.Float64s(v)
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

func selfCPU() float64 {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}
