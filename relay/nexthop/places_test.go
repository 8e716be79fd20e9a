package nexthop

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/mail"
)

// serves greets and takes any number of messages, with a pause before each final reply. After last
// messages it hangs up; 0: never.
func serves(pause time.Duration, last int) script {
	return func(p *peer) {
		p.greet("PIPELINING", "8BITMIME")
		for n := 1; ; n++ {
			switch line := p.line(); line {
			case "MAIL FROM:<a@example.org>":
				p.say("250 ok")
				p.answer("RCPT TO:<b@example.org>", "250 ok")
				p.answer("DATA", "354 go on")
				p.content()
				time.Sleep(pause)
				p.say("250 ok")
			default:
				return // QUIT, or closed
			}
			if n == last {
				return
			}
		}
	}
}

func many(n int, s script) []script { return slices.Repeat([]script{s}, n) }

// trySend is sendMail that may fail.
func trySend(ctx context.Context, t testing.TB, h *Hop) error {
	tx, err := h.Begin(ctx, mail.Client{})
	if err != nil {
		return err
	}
	if _, err := tx.Envelope(ctx, envelopeFor(t, "b@example.org"), true); err != nil {
		return err
	}
	if _, err := tx.Content(ctx, mail.ParseHeader(nil), strings.NewReader("\r\nx\r\n")); err != nil {
		return err
	}
	tx.Release()
	return nil
}

// checkPlaces checks that every place is either of an idle connection or free, and nobody waits.
func checkPlaces(t testing.TB, h *Hop) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	idle := 0
	for _, a := range h.addresses {
		idle += len(a.idle)
	}
	if h.places.taken != idle || len(h.places.waiting) != 0 {
		t.Errorf("%d places taken, %d connections idle, %d wait", h.places.taken, idle, len(h.places.waiting))
	}
}

func TestNoMoreConnectionsThanPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, n := hopWith(t, Config{Addresses: []string{addressA}, MaxConnections: 3}, map[string][]script{addressA: many(3, serves(time.Second, 0))})
		start := time.Now()
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if err := trySend(t.Context(), t, h); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := time.Since(start); got != 4*time.Second || len(n.dialled) != 3 {
			t.Errorf("took %v on %d connections, want 4s on 3", got, len(n.dialled))
		}
		checkPlaces(t, h)
	})
}

func TestPlacesAreGivenInTheOrderOfAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := hopWith(t, Config{Addresses: []string{addressA}, MaxConnections: 1}, map[string][]script{addressA: many(9, serves(time.Second, 2))})
		var mu sync.Mutex
		var done []int
		for i := range 8 {
			go func() {
				if err := trySend(t.Context(), t, h); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				done = append(done, i)
			}()
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(done, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("done in the order %v", done)
		}
	})
}

func TestWaitForAPlaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h, _ := hopWith(t, Config{Addresses: []string{addressA}, MaxConnections: 1}, map[string][]script{addressA: many(2, serves(0, 0))})
		h.log = newAlerts(slog.New(slog.NewTextHandler(&log, nil)))
		tx := begin(t, h)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := h.Begin(ctx, mail.Client{})
		wantFault(t, err, "4.3.2")
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("waited for %v", got)
		}
		if got := log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "no connection to the next hop came free in time") {
			t.Errorf("log:\n%s", got)
		}
		// Who goes away asks for nobody's attention.
		log.Reset()
		time.Sleep(time.Minute)
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if _, err := h.Begin(gone, mail.Client{}); err == nil || log.Len() > 0 {
			t.Errorf("error = %v, log:\n%s", err, &log)
		}
		tx.Abort()
		checkPlaces(t, h)
		sendMail(t, h)
		checkPlaces(t, h)
	})
}

func TestIdleConnectionElsewhereMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, n := hopWith(t, Config{Addresses: []string{addressA, addressB}, MaxConnections: 1}, map[string][]script{
			addressB: {serves(0, 0)},
		})
		sendMail(t, h) // A refuses
		n.mu.Lock()
		n.scripts[addressA] = []script{serves(0, 0)}
		n.mu.Unlock()
		time.Sleep(2 * time.Second)
		sendMail(t, h) // A is asked first again, and B's idle connection has the only place
		if want := []string{addressA, addressB, addressA}; !slices.Equal(n.dialled, want) {
			t.Errorf("dialled %v, want %v", n.dialled, want)
		}
		checkPlaces(t, h)
	})
}

func TestReplacedConnectionKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, n := hopWith(t, Config{Addresses: []string{addressA}, MaxConnections: 1}, map[string][]script{
			addressA: {serves(0, 1), serves(time.Second, 0)}, // the first hangs up in the pool
		})
		sendMail(t, h)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { sendMail(t, h) })
		}
		wg.Wait()
		if len(n.dialled) != 2 {
			t.Errorf("%d connections, want 2", len(n.dialled))
		}
		checkPlaces(t, h)
	})
}

// Whatever happens to connections, each place comes back, and each who waits is woken or gives up.
func TestNoPlaceIsLost(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			scripts := map[string][]script{}
			for _, a := range []string{addressA, addressB} {
				for range 200 {
					var s script
					switch random.IntN(6) {
					case 0:
						s = func(p *peer) { p.say("421 4.3.2 no"); p.end() }
					case 1:
						s = func(p *peer) { p.greet("PIPELINING"); p.line() }
					case 2:
						s = func(p *peer) { p.greet("PIPELINING"); p.line(); p.say("421 4.3.2 no"); p.end() }
					default:
						s = serves(time.Duration(random.IntN(3000))*time.Millisecond, random.IntN(3))
					}
					scripts[a] = append(scripts[a], s)
				}
			}
			h, _ := hopWith(t, Config{Addresses: []string{addressA, addressB}, Weights: []int{2, 1}, MaxConnections: 3, MaxIdle: 2}, scripts)
			var wg sync.WaitGroup
			sent := make(chan bool, 100)
			for range 60 {
				wait, patience := time.Duration(random.IntN(20_000))*time.Millisecond, time.Duration(random.IntN(10_000))*time.Millisecond
				wg.Go(func() {
					time.Sleep(wait)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					sent <- trySend(ctx, t, h) == nil
				})
			}
			wg.Wait()
			synctest.Wait()
			checkPlaces(t, h)
			close(sent)
			good := 0
			for ok := range sent {
				if ok {
					good++
				}
			}
			if good == 0 {
				t.Error("nothing was sent at all")
			}
		})
	}
}

func TestWeightsDecideByChance(t *testing.T) {
	const addressC = "c.example.org:25"
	h := New(Config{Addresses: []string{addressA, addressB, addressC}, Weights: []int{3, 1, 0}}, slog.New(slog.DiscardHandler))
	random := rand.New(rand.NewPCG(1, 2))
	h.draw = random.IntN
	first := map[string]int{}
	for range 4000 {
		order, err := h.order()
		if err != nil || len(order) != 3 || order[2].hostport != addressC {
			t.Fatalf("order = %v, %v", order, err)
		}
		first[order[0].hostport]++
	}
	if a := first[addressA]; a < 2900 || a > 3100 {
		t.Errorf("first of 4000: %v, want 3 to 1", first)
	}
	synctest.Test(t, func(t *testing.T) {
		h.failed(h.addresses[0])
		order, _ := h.order()
		if got := []string{order[0].hostport, order[1].hostport, order[2].hostport}; !slices.Equal(got, []string{addressB, addressC, addressA}) {
			t.Errorf("with the first failed: %v", got)
		}
	})
}

func TestWeightsHoldWithConnectionsInThePool(t *testing.T) {
	h, n := hopWith(t, Config{Addresses: []string{addressA, addressB}, Weights: []int{1, 1}}, map[string][]script{
		addressA: {serves(0, 0)}, addressB: {serves(0, 0)},
	})
	h.draw = rand.New(rand.NewPCG(3, 4)).IntN
	used := map[string]int{}
	for range 200 {
		tx := begin(t, h)
		used[tx.Remote()]++
		tx.Release()
	}
	if used[addressA] < 70 || used[addressB] < 70 || len(n.dialled) != 2 {
		t.Errorf("used %v, on %d connections", used, len(n.dialled))
	}
}
