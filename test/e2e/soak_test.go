package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.org/relay/proto/control/v1"
	"example.org/relay/test/corpus"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// Everything that may happen to agents by their operator or by accident, at random, while 20
// sessions send the messages of the corpus: no session is lost, no octet is wrong, every agent
// in force was asked with its settings and in its place, and no process, descriptor or goroutine
// is left. RELAY_SOAK says for how long.
func TestSoakAgentsChangeUnderLoad(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	program := relaytest.Build(t, "test/chaosagent")
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()

	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Hostname: "relay.corpus.example.org", Agents: `timeout = "50s"`})
	c := newChaos(t, r, sink, program)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range loadSessions {
		random := rand.New(rand.NewPCG(seed, uint64(i+1)))
		wg.Go(func() { c.session(random, i, done) })
	}
	c.harm(rand.New(rand.NewPCG(seed, 0)), time.Now().Add(soakTime(t)))
	close(done)
	wg.Wait()
	for _, what := range c.lost {
		t.Error(what)
	}
	t.Logf("%d messages in %d sessions, %d of them while nothing changed; %v", c.sent.Load(), c.sessions.Load(), c.calm.Load(), c.count)
	if c.calm.Load() == 0 || c.sent.Load() == 0 {
		t.Error("the test has not shown anything")
	}
	pids := c.pids()
	r.Stop()
	relaytest.Eventually(t, "no process of an agent is left", func() bool {
		return !slices.ContainsFunc(pids, func(pid int64) bool { return syscall.Kill(int(pid), 0) == nil }) && len(children(t)) == 0
	})
	relaytest.Eventually(t, "goroutines and descriptors are as before", func() bool {
		return runtime.NumGoroutine() <= goroutines+2 && openDescriptors(t) <= descriptors+1 // the sink's
	})
}

// children are the processes that this one has started and not waited for.
func children(t *testing.T) []string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, task := range tasks {
		list, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		all = append(all, strings.Fields(string(list))...)
	}
	return all
}

// chaosAgents are the agents of the soak; the one called subject changes the Subject.
var chaosAgents = []string{"one", "two", "subject"}

// chaos is a relay with agents to which anything may happen, and what its clients have seen.
type chaos struct {
	*relaytest.Relay
	t        *testing.T
	sink     *smtptest.Sink
	program  string
	messages []corpus.Message
	copies   int
	programs map[string][]string // by agent: the files that are there
	count    map[string]int

	sent, calm, sessions atomic.Int64

	mu      sync.Mutex
	lost    []string
	arrived map[string]smtptest.Message // by sender
	changes int                         // begun and ended: odd while one is under way
	order   []string                    // in force
	enabled map[string]bool
	mark    map[string]int // of the settings in force
}

func newChaos(t *testing.T, r *relaytest.Relay, sink *smtptest.Sink, program string) *chaos {
	c := &chaos{
		Relay: r, t: t, sink: sink, program: program, count: map[string]int{}, programs: map[string][]string{}, arrived: map[string]smtptest.Message{},
		order: slices.Clone(chaosAgents), enabled: map[string]bool{}, mark: map[string]int{},
	}
	dir, err := corpus.Dir()
	if err != nil {
		t.Fatal(err)
	}
	all, err := corpus.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if wire := m.Wire(); len(wire) < 100_000 && len(corpus.Scan(wire)) == 0 {
			c.messages = append(c.messages, m)
		}
	}
	for _, name := range chaosAgents {
		r.Install(name, c.copyProgram(), factoryOf(name))
		c.enabled[name] = true
	}
	return c
}

func factoryOf(name string) string {
	if name == "subject" {
		return name
	}
	return "marker"
}

// copyProgram gives an agent a program of its own.
func (c *chaos) copyProgram() string {
	data, err := os.ReadFile(c.program)
	if err != nil {
		c.t.Fatal(err)
	}
	c.copies++
	path := filepath.Join(filepath.Dir(c.Config), "chaosagent-"+strconv.Itoa(c.copies))
	if err := os.WriteFile(path, data, 0o755); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *chaos) pids() (all []int64) {
	for _, name := range chaosAgents {
		if pid := c.Agent(name).Pid; pid != 0 {
			all = append(all, pid)
		}
	}
	return all
}

// harm does one thing after the other until the end.
func (c *chaos) harm(random *rand.Rand, end time.Time) {
	signal := func(s syscall.Signal) func(string) error {
		return func(name string) error {
			if pid := c.Agent(name).Pid; pid != 0 {
				if err := syscall.Kill(int(pid), s); err != nil && err != syscall.ESRCH {
					return err
				}
			}
			return nil
		}
	}
	things := []struct {
		name string
		do   func(name string) error
	}{
		{"kill", signal(syscall.SIGKILL)},
		{"kill", signal(syscall.SIGKILL)},
		{"stop", signal(syscall.SIGSTOP)},
		{"swap", c.swap},
		{"settings", c.configure},
		{"settings", c.configure},
		{"order", func(name string) error { return c.reorder(name, random.IntN(len(chaosAgents))) }},
		{"disable and enable", func(name string) error { return c.disable(name, random.IntN(2) == 0) }},
		{"timeout", func(name string) error {
			timeout := fmt.Sprintf("%ds", 40+random.IntN(10))
			return c.set(&controlv1.SetAgentRequest{Name: name, Timeout: &timeout})
		}},
		{"reload", func(string) error {
			_, err := c.Reload(context.Background(), &controlv1.ReloadRequest{})
			return err
		}},
	}
	for time.Now().Before(end) && !c.failed() {
		thing := things[random.IntN(len(things))]
		c.count[thing.name]++
		name := chaosAgents[random.IntN(len(chaosAgents))]
		if err := thing.do(name); err != nil {
			c.lose("%s %s: %v", thing.name, name, err)
			return
		}
		until := c.sent.Load() + int64(random.IntN(80))
		relaytest.Eventually(c.t, "more messages", func() bool { return c.sent.Load() >= until || c.failed() })
	}
}

func (c *chaos) set(q *controlv1.SetAgentRequest) error {
	_, err := c.SetAgent(context.Background(), q)
	return err
}

// change is a change of what is in force, which becomes known to the clients when it is done.
func (c *chaos) change(do func() error, after func()) error {
	c.mu.Lock()
	c.changes++
	c.mu.Unlock()
	err := do()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	after()
	return err
}

func (c *chaos) swap(name string) error {
	path := c.copyProgram()
	old := c.Agent(name).Path
	if err := c.set(&controlv1.SetAgentRequest{Name: name, Path: &path}); err != nil {
		return err
	}
	// A swap that a kill undoes goes back to the program before: that one stays.
	for _, program := range c.programs[name] {
		if program != old {
			if err := os.Remove(program); err != nil {
				return err
			}
		}
	}
	c.programs[name] = []string{path}
	if old != path {
		c.programs[name] = append(c.programs[name], old)
	}
	return nil
}

func (c *chaos) configure(name string) error {
	c.mu.Lock()
	next := c.mark[name] + 1
	c.mu.Unlock()
	settings := fmt.Appendf(nil, "mark = %q\n", strconv.Itoa(next))
	return c.change(func() error { return c.set(&controlv1.SetAgentRequest{Name: name, SettingsToml: settings}) },
		func() { c.mark[name] = next })
}

func (c *chaos) reorder(name string, to int) error {
	priority := uint32(to + 1)
	return c.change(func() error { return c.set(&controlv1.SetAgentRequest{Name: name, Priority: &priority}) }, func() {
		at := slices.Index(c.order, name)
		c.order = slices.Insert(slices.Delete(c.order, at, at+1), to, name)
	})
}

func (c *chaos) disable(name string, now bool) error {
	ctx := context.Background()
	err := c.change(func() error {
		_, err := c.DisableAgent(ctx, &controlv1.AgentRequest{Name: name, Now: now})
		return err
	}, func() { c.enabled[name] = false })
	if err != nil {
		return err
	}
	until := c.sent.Load() + 20
	relaytest.Eventually(c.t, "20 more messages", func() bool { return c.sent.Load() >= until || c.failed() })
	return c.change(func() error {
		_, err := c.EnableAgent(ctx, &controlv1.AgentRequest{Name: name})
		return err
	}, func() { c.enabled[name] = true })
}

func (c *chaos) lose(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lost) < 20 {
		c.lost = append(c.lost, fmt.Sprintf(format, args...))
	}
}

func (c *chaos) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lost) > 0
}

// session sends messages over one connection after the other.
func (c *chaos) session(random *rand.Rand, number int, done <-chan struct{}) {
	n := 0
	for {
		client, err := smtptest.Dial(c.Addr)
		if err != nil {
			c.lose("session %d: %v", number, err)
			return
		}
		c.sessions.Add(1)
		for range 1 + random.IntN(40) {
			select {
			case <-done:
				client.Quit()
				return
			default:
			}
			n++
			if !c.message(client, random, fmt.Sprintf("s%d.n%d@example.net", number, n)) {
				client.Close()
				return
			}
		}
		client.Quit()
	}
}

// message sends one message and looks at what has arrived; false: something was wrong.
func (c *chaos) message(client *smtptest.Client, random *rand.Rand, sender string) bool {
	m := c.messages[random.IntN(len(c.messages))]
	wire := m.Wire()
	params := ""
	if corpus.Has8Bit(wire) {
		params = " BODY=8BITMIME"
	}
	changes, fields, _ := c.inForce()
	reply, err := client.Send(sender, "alice@example.org", params, wire)
	if err != nil || !strings.HasPrefix(reply, "250") {
		c.lose("%s, %s: %q %v", sender, m.File, reply, err)
		return false
	}
	c.sent.Add(1)
	got, ok := c.take(sender)
	if !ok {
		c.lose("%s, %s: answered %q and not arrived", sender, m.File, reply)
		return false
	}
	marks, content := cutMarks(got.Content)
	subject := c.changedSubject(content, wire)
	problem := ""
	if after, _, enabled := c.inForce(); after == changes && changes%2 == 0 {
		c.calm.Add(1)
		if !slices.Equal(marks, fields) || subject != enabled["subject"] {
			problem = fmt.Sprintf("marks %q, Subject changed: %v; in force were %q, %v", marks, subject, fields, enabled)
		}
	}
	if problem == "" {
		want := wire
		if subject {
			want = changed(wire)
		}
		if err := compare(content, want); err != nil {
			problem = err.Error()
		}
	}
	if problem != "" {
		c.lose("%s, %s: %s", sender, m.File, problem)
	}
	return problem == ""
}

// inForce is what has been changed so far, the marks that a message would get, the last agent's
// first, and who is enabled.
func (c *chaos) inForce() (changes int, fields []string, enabled map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	enabled = make(map[string]bool)
	for _, name := range c.order {
		if enabled[name] = c.enabled[name]; enabled[name] && name != "subject" {
			fields = slices.Insert(fields, 0, name+" "+strconv.Itoa(c.mark[name]))
		}
	}
	return c.changes, fields, enabled
}

// take is the message of this sender, once.
func (c *chaos) take(sender string) (smtptest.Message, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.sink.Take() {
		from := m.From[1:strings.IndexByte(m.From, '>')]
		if _, twice := c.arrived[from]; twice {
			c.lost = append(c.lost, from+": arrived twice")
		}
		c.arrived[from] = m
	}
	m, ok := c.arrived[sender]
	delete(c.arrived, sender)
	return m, ok
}

// cutMarks takes the agents' fields from above the relay's trace: a Subject that was added may
// stand between them.
func cutMarks(content []byte) (marks []string, rest []byte) {
	for below := content; !bytes.HasPrefix(below, []byte("Received: ")); {
		line, after, more := bytes.Cut(below, []byte("\r\n"))
		if !more {
			break
		}
		if mark, ok := bytes.CutPrefix(line, []byte("X-Chaos: ")); ok {
			marks = append(marks, string(mark))
		} else {
			rest = append(append(rest, line...), "\r\n"...)
		}
		below, content = after, after
	}
	return marks, append(rest, content...)
}

// changedSubject reports whether the agent has changed the Subject.
func (c *chaos) changedSubject(content, wire []byte) bool {
	header, _ := corpus.Split(content)
	field := corpus.Find(header, "Subject")
	return bytes.HasSuffix(field, []byte(": changed by an agent\r\n")) && !bytes.HasSuffix(wire, field)
}
