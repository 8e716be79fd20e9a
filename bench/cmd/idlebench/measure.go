package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// result is one round.
type result struct {
	memory      float64 // KiB of private memory of the relay a session
	rate, p99   float64 // of the busy session with the idle ones, divided by without
	connections int64   // to the next hop, opened for the idle sessions
}

func measure(dir, relay, kind string, o options) (result, error) {
	next, err := startSink()
	if err != nil {
		return result{}, err
	}
	defer next.Close()
	addr, server, err := startRelay(dir, relay, next.Addr().String(), o.n)
	if err != nil {
		return result{}, err
	}
	defer end(server)
	if _, err := busy(addr, time.Second); err != nil { // warms up
		return result{}, err
	}
	without, err := busy(addr, o.busy)
	if err != nil {
		return result{}, err
	}
	memory, connections := private(server), next.connections.Load()

	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	client := exec.Command(self, "-hold", addr, "-kind", kind, "-n", strconv.Itoa(o.n))
	client.Stderr = os.Stderr
	in, err := client.StdinPipe()
	if err != nil {
		return result{}, err
	}
	out, err := client.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	if err := client.Start(); err != nil {
		return result{}, err
	}
	defer func() {
		in.Close()
		_ = client.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		return result{}, fmt.Errorf("idle clients: %q, %v", line, err)
	}
	r := result{memory: (private(server) - memory) / float64(o.n), connections: next.connections.Load() - connections}
	with, err := busy(addr, o.busy)
	if err != nil {
		return result{}, err
	}
	r.rate, r.p99 = with.rate/without.rate, with.p99/without.p99
	return r, nil
}

// startRelay runs the relay's program with a listener that offers STARTTLS.
func startRelay(dir, program, hop string, n int) (addr string, server *exec.Cmd, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = free.Addr().String()
	free.Close()
	if err := makePair(dir); err != nil {
		return "", nil, err
	}
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`hostname = "relay.example"
state_dir = "state"
[[accepted_domain]]
name = "dest.example"
[[tls.pair]]
certificate = "cert.pem"
key = "key.pem"
[next_hop.sink]
addresses = [%q]
tls = "none"
connections = 100
[frontend]
next_hop = "sink"
[[frontend.listener]]
address = %q
tls = "starttls"
[limits]
connections = %d
`, hop, addr, n+100)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	server = exec.Command(program, "serve", "--config", config)
	server.Stdout, server.Stderr = io.Discard, io.Discard
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	for range 500 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr, server, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	end(server)
	return "", nil, fmt.Errorf("the relay does not listen")
}

func end(server *exec.Cmd) {
	_ = server.Process.Signal(syscall.SIGTERM)
	_ = server.Wait()
}

// private is the private memory of a process in KiB: what it would give back by ending.
func private(p *exec.Cmd) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.Process.Pid))
	if err != nil {
		return 0
	}
	sum := 0.0
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) > 1 && strings.HasPrefix(f[0], "Private_") {
			kib, _ := strconv.ParseFloat(f[1], 64)
			sum += kib
		}
	}
	return sum
}

type pace struct{ rate, p99 float64 } // messages a second; milliseconds

// busy sends 4 KB messages over one session, one after the other.
func busy(addr string, lasting time.Duration) (pace, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return pace{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(lasting + time.Minute))
	if err := talk(c, "", "220"); err != nil {
		return pace{}, err
	}
	if err := talk(c, "EHLO busy.example", "250"); err != nil {
		return pace{}, err
	}
	content := "Subject: busy\r\n\r\n" + strings.Repeat("a line of some fifty octets, as there are so many\r\n", 80) + "."
	var took []float64
	for begun := time.Now(); time.Since(begun) < lasting; {
		at := time.Now()
		for _, step := range [][2]string{
			{"MAIL FROM:<a@busy.example>", "250"}, {"RCPT TO:<b@dest.example>", "250"}, {"DATA", "354"}, {content, "250"},
		} {
			if err := talk(c, step[0], step[1]); err != nil {
				return pace{}, err
			}
		}
		took = append(took, float64(time.Since(at).Microseconds())/1000)
	}
	slices.Sort(took)
	return pace{float64(len(took)) / lasting.Seconds(), took[len(took)*99/100]}, nil
}

// makePair writes a certificate for STARTTLS.
func makePair(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay.example"}, DNSNames: []string{"relay.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// row prints the medians of the rounds.
func row(kind string, all []result) string {
	said := map[string]string{"greeted": "nothing", "hello": "EHLO", "mail": "EHLO, MAIL", "tls": "EHLO, STARTTLS, EHLO"}
	median := func(of func(result) float64) float64 {
		v := make([]float64, len(all))
		for i, r := range all {
			v[i] = of(r)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return fmt.Sprintf("| %s | %.1f | %.2f | %.2f | %.0f |", said[kind],
		median(func(r result) float64 { return r.memory }), median(func(r result) float64 { return r.rate }),
		median(func(r result) float64 { return r.p99 }), median(func(r result) float64 { return float64(r.connections) }))
}
