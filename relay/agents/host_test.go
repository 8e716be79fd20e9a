package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// rig is a host with its registry in a directory of its own.
type rig struct {
	*Host
	registry *Registry
	log      *logBuffer
	changes  chan event.Role
}

type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newRig(t *testing.T) *rig { return newRigIn(t, t.TempDir()) }

func newRigIn(t *testing.T, dir string) *rig {
	t.Helper()
	registry, err := OpenRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{registry: registry, log: &logBuffer{}, changes: make(chan event.Role, 100)}
	r.Host, err = New(Options{
		Registry: registry, Services: []event.Role{event.FrontEnd}, Version: "test",
		Defaults: Defaults{Hostname: "mx.example.org", Domains: []string{"example.org"}},
		Log:      slog.New(slog.NewTextHandler(r.log, nil)),
		OnChange: func(role event.Role) { r.changes <- role },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(r.shop.sockets); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("socket directory stays: %v", err)
		}
		registry.Close()
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

// enabled installs and enables an agent that behaves as told.
func (r *rig) enabled(t *testing.T, behaviour string) *Agent {
	t.Helper()
	if _, _, err := r.Install(t.Context(), InstallRequest{Name: behaviour, Service: "FrontEnd", Path: program(t, behaviour)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Enable(t.Context(), Target{Name: behaviour}); err != nil {
		t.Fatal(err)
	}
	all := r.Enabled(event.FrontEnd)
	return all[len(all)-1]
}

func newState(session string) *event.State {
	return &event.State{
		SessionID: session,
		Connection: &event.Connection{
			Remote: netip.MustParseAddrPort("192.0.2.1:4711"), Local: netip.MustParseAddrPort("192.0.2.2:25"), Listener: ":25",
		},
		Client: event.Client{Hello: "client.example.org", ESMTP: true},
	}
}

// mailFrom asks the agent about MAIL from a sender that tells it how to behave.
func mailFrom(t *testing.T, c *Conversation, state *event.State, seq uint32, local string, limit time.Duration) (event.Verdict, error) {
	t.Helper()
	e := event.Event{Seq: seq, Kind: event.MailCommand, From: mail.Path{Local: local, Domain: "example.org"}}
	return c.Decide(context.Background(), []event.Event{e}, state, limit)
}

func (r *rig) pid(t *testing.T, name string) int {
	t.Helper()
	infos, err := r.Get(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return infos[0].PID
}

// eventually waits until ok, for at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("in vain waited for: " + what)
		}
	}
}

func TestConversationShowsStateOnlyWhenChanged(t *testing.T) {
	r := newRig(t)
	c := r.enabled(t, "good").Open("s1")
	state := newState("s1")
	state.Envelope = &mail.Envelope{ID: "m1"}
	state.EnvelopeRevision++
	for i, want := range []string{
		"s1 resumed=false events=1 parts=Cce chunks=0",
		"s1 resumed=false events=2 parts= chunks=0",
	} {
		v, err := mailFrom(t, c, state, uint32(i+1), "a", time.Second)
		if err != nil || !strings.HasPrefix(v.Reason, want) {
			t.Fatalf("event %d: %q, %v, want %q", i+1, v.Reason, err, want)
		}
	}
	state.Header = mail.ParseHeader([]byte("Subject: x\r\n"))
	state.HeaderRevision++
	state.Bag = []event.Property{{Agent: "other", Key: "k", Value: []byte("1")}, {Agent: "other", Key: "p", Private: true}}
	state.BagRevision++
	v, err := c.Decide(t.Context(), []event.Event{{Seq: 3, Kind: event.EndOfHeaders}}, state, time.Second)
	if want := "s1 resumed=false events=3 parts=hp chunks=0"; err != nil || !strings.HasPrefix(v.Reason, want) {
		t.Errorf("%q, %v, want %q", v.Reason, err, want)
	}
	c.End([]event.Event{{Seq: 4, Kind: event.Disconnect, Notify: true}}, state, event.DisconnectQuit)

	// The next session is on the same stream and begins anew.
	c = r.Enabled(event.FrontEnd)[0].Open("s2")
	v, err = mailFrom(t, c, newState("s2"), 1, "reject", time.Second)
	if err != nil || !strings.HasPrefix(v.Reason, "s2 resumed=false events=1 parts=Cc ") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	if v.Action != event.RejectIt || v.Reply.String() != "550 5.7.1 no" {
		t.Errorf("verdict %v %v", v.Action, v.Reply)
	}
	c.End(nil, newState("s2"), event.DisconnectQuit)
}

func TestHeaderSectionLargerThanAFrameComesInChunks(t *testing.T) {
	r := newRig(t)
	c := r.enabled(t, "good").Open("s")
	state := newState("s")
	state.Envelope = &mail.Envelope{ID: "m"}
	state.Header = mail.ParseHeader([]byte(strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 2000)))
	v, err := c.Decide(t.Context(), []event.Event{{Seq: 1, Kind: event.EndOfHeaders}}, state, 5*time.Second)
	if err != nil || !strings.Contains(v.Reason, "parts=Cce chunks=4") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

// Header section, envelope and bag are each small enough for a frame, and together they are not. The agent
// ends a stream on which more than a frame comes.
func TestHeaderSectionAndEnvelopeTogetherKeepToTheFrame(t *testing.T) {
	r := newRig(t)
	c := r.enabled(t, "frames").Open("s")
	state := newState("s")
	state.Envelope = &mail.Envelope{ID: "m"}
	long := strings.Repeat("r", 200)
	for i := range 900 {
		path, err := mail.ParseMailbox(fmt.Sprintf("%s%d@example.org", long, i), false)
		if err != nil {
			t.Fatal(err)
		}
		state.Envelope.Add(mail.Recipient{Path: path, Original: path})
	}
	state.Header = mail.ParseHeader([]byte(strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 950)))
	v, err := c.Decide(t.Context(), []event.Event{{Seq: 1, Kind: event.EndOfHeaders}}, state, 5*time.Second)
	if err != nil || !strings.Contains(v.Reason, "parts=Cce chunks=2") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestFaultsGiveTheirError(t *testing.T) {
	for _, tt := range []struct {
		sender string
		want   error
	}{
		{"never", event.ErrTimeout},
		{"large", event.ErrProtocol},
		{"wrongseq", event.ErrProtocol},
		{"twice", event.ErrProtocol},
		{"ends", event.ErrProtocol},
		{"unknown", event.ErrProtocol},
		{"read", event.ErrProtocol},
		{"fails", event.ErrFailed},
	} {
		t.Run(tt.sender, func(t *testing.T) {
			r := newRig(t)
			c := r.enabled(t, "good").Open("s")
			state := newState("s")
			limit := 5 * time.Second
			if tt.want == event.ErrTimeout {
				limit = 50 * time.Millisecond
			}
			if _, err := mailFrom(t, c, state, 1, tt.sender, limit); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			// The session goes on with the agent, on another stream where the first is spent.
			v, err := mailFrom(t, c, state, 2, "a", 5*time.Second)
			if err != nil || !strings.HasPrefix(v.Reason, "s resumed=") {
				t.Errorf("after the fault: %q, %v", v.Reason, err)
			}
			c.End(nil, state, event.DisconnectQuit)
		})
	}
}

func TestTwoProtocolFaultsRestartTheAgent(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	before := r.pid(t, "good")
	c := a.Open("s")
	state := newState("s")
	mailFrom(t, c, state, 1, "wrongseq", time.Second)
	a.Fault("s", event.MailCommand, errors.New("header injection"))
	eventually(t, "another process", func() bool { p := r.pid(t, "good"); return p != 0 && p != before })
	if v, err := mailFrom(t, c, state, 2, "a", 5*time.Second); err != nil || !strings.Contains(v.Reason, "resumed=true") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestKilledAgentLosesNoEventInFlight(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	const sessions = 20
	errs := make(chan error, sessions)
	for i := range sessions {
		go func() {
			id := fmt.Sprint("s", i)
			c := a.Open(id)
			state := newState(id)
			var err error
			for seq := range uint32(4) {
				if _, e := mailFrom(t, c, state, seq+1, "slow", 10*time.Second); e != nil {
					err = e
				}
			}
			c.End(nil, state, event.DisconnectQuit)
			errs <- err
		}()
	}
	eventually(t, "events in flight", func() bool { return a.sup.Load().cur.Load().deciding.Load() == sessions })
	if err := syscall.Kill(r.pid(t, "good"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range sessions {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if i, _ := r.Get("good", ""); i[0].Crashes != 1 || i[0].State != stateRunning {
		t.Errorf("crashes %d, state %s", i[0].Crashes, i[0].State)
	}
}

func TestPoisonIsFoundAndOthersLoseNothing(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	var others sync.WaitGroup
	for i := range 5 {
		others.Go(func() {
			id := fmt.Sprint("s", i)
			c, state := a.Open(id), newState(id)
			if _, err := mailFrom(t, c, state, 1, "slow", 10*time.Second); err != nil {
				t.Error(err)
			}
			c.End(nil, state, event.DisconnectQuit)
		})
	}
	eventually(t, "events in flight", func() bool { return a.sup.Load().cur.Load().deciding.Load() == 5 })
	c, state := a.Open("bad"), newState("bad")
	state.Envelope = &mail.Envelope{ID: "m1"}
	state.EnvelopeRevision++
	if _, err := mailFrom(t, c, state, 1, "crash", 10*time.Second); !errors.Is(err, event.ErrPoison) {
		t.Errorf("error %v, want poison", err)
	}
	others.Wait()
	crashes := a.stats.crashes.Load()
	if _, err := mailFrom(t, c, state, 2, "a", time.Second); !errors.Is(err, event.ErrPoison) {
		t.Errorf("error %v: the message is shown again", err)
	}
	state.Envelope = &mail.Envelope{ID: "m2"}
	state.EnvelopeRevision++
	if _, err := mailFrom(t, c, state, 3, "a", 5*time.Second); err != nil {
		t.Errorf("the next message of the session: %v", err)
	}
	if now := a.stats.crashes.Load(); now != crashes || now != 1 {
		t.Errorf("crashes %d, then %d", crashes, now)
	}
	c.End(nil, state, event.DisconnectQuit)
	eventually(t, "end of the spare", func() bool {
		a.sup.Load().trial.mu.Lock()
		defer a.sup.Load().trial.mu.Unlock()
		return a.sup.Load().trial.spare == nil
	})
}

func TestMessageThatStopsTheProcessIsPoison(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "stop", 20*time.Second); !errors.Is(err, event.ErrPoison) {
		t.Errorf("error %v, want poison", err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestHungAgentIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.enabled(t, "good")
	c, state := a.Open("s"), newState("s")
	if _, err := mailFrom(t, c, state, 1, "a", time.Second); err != nil {
		t.Fatal(err)
	}
	before := r.pid(t, "good")
	if err := syscall.Kill(before, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all threads to stop", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", before))
		return strings.Contains(string(stat), ") T ")
	})
	v, err := mailFrom(t, c, state, 2, "a", 10*time.Second)
	if err != nil || !strings.Contains(v.Reason, "resumed=true events=1 parts=Cc") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	eventually(t, "the stopped process to be gone", func() bool { return syscall.Kill(before, 0) != nil })
	c.End(nil, state, event.DisconnectQuit)
}

func TestSwapFailsNoEvent(t *testing.T) {
	r := newRig(t)
	r.probation = 100 * time.Millisecond
	a := r.enabled(t, "good")
	stop := make(chan struct{})
	var sessions sync.WaitGroup
	for i := range 10 {
		sessions.Go(func() {
			id := fmt.Sprint("s", i)
			c, state := a.Open(id), newState(id)
			for seq := uint32(1); ; seq++ {
				select {
				case <-stop:
					c.End(nil, state, event.DisconnectQuit)
					return
				default:
				}
				if _, err := mailFrom(t, c, state, seq, "a", 10*time.Second); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		before := r.pid(t, "good")
		path := program(t, "swapped")
		if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Path: &path}); err != nil {
			t.Fatal(err)
		}
		if now := r.pid(t, "good"); now == before {
			t.Errorf("still pid %d", now)
		}
		eventually(t, "the old process to be gone", func() bool { return syscall.Kill(before, 0) != nil })
	}
	close(stop)
	sessions.Wait()
	bad := program(t, "exit")
	before := r.pid(t, "good")
	if _, _, err := r.Set(t.Context(), SetRequest{Target: Target{Name: "good"}, Path: &bad}); err == nil {
		t.Error("a program that exits was taken")
	}
	if i, _ := r.Get("good", ""); i[0].PID != before || filepath.Base(i[0].Path) != "swapped" {
		t.Errorf("after a failed swap: pid %d, path %s", i[0].PID, i[0].Path)
	}
	if failures := a.stats.failures.Load(); failures != 0 {
		t.Errorf("%d failures", failures)
	}
}

func TestOutputOfAgentsHarmsNothing(t *testing.T) {
	for _, behaviour := range []string{"poisonlog", "stdoutline"} {
		t.Run(behaviour, func(t *testing.T) {
			r := newRig(t)
			c := r.enabled(t, behaviour).Open("s")
			for seq := range uint32(3) {
				if _, err := mailFrom(t, c, newState("s"), seq+1, "a", 5*time.Second); err != nil {
					t.Error(err)
				}
			}
			c.End(nil, newState("s"), event.DisconnectQuit)
			want := map[string]string{"poisonlog": `{\"@message\":5}`, "stdoutline": "yyyyyy"}[behaviour]
			eventually(t, "the line in the log", func() bool { return strings.Contains(r.log.String(), want) })
		})
	}
}

func TestAgentThatReturnsAfterASessionGetsANewStream(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "returns")
	for i := range 5 {
		id := fmt.Sprint("s", i)
		c, state := a.Open(id), newState(id)
		if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
			t.Error(err)
		}
		c.End(nil, state, event.DisconnectQuit)
	}
	if n := a.stats.failures.Load(); n != 0 {
		t.Errorf("%d failures", n)
	}
}

func TestProgramsThatAreNoAgentsAreRefused(t *testing.T) {
	for behaviour, want := range map[string]string{
		"exit":     "exit status 3",
		"babble":   "hello, I am no agent",
		"version9": "incompatible API version",
		"two":      "name one with --factory: test, other",
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			_, _, err := r.Install(t.Context(), InstallRequest{Name: "x", Service: "FrontEnd", Path: program(t, behaviour)})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if all, _ := r.Get("", ""); len(all) != 0 {
				t.Errorf("installed all the same: %v", all)
			}
		})
	}
}

func TestEventsToWatchRideAlong(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	c, state := a.Open("s1"), newState("s1")
	watch := func(seq uint32) []event.Event {
		return []event.Event{{Seq: seq, Kind: event.EndOfHeaders, Notify: true}}
	}
	c.Notify(watch(1), state)
	v, err := c.Decide(t.Context(), append(watch(2), event.Event{Seq: 3, Kind: event.MailCommand}), state, 5*time.Second)
	if err != nil || !strings.HasPrefix(v.Reason, "s1 resumed=false events=3 ") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	c.End([]event.Event{{Seq: 4, Kind: event.Disconnect, Disconnect: event.DisconnectClientLost}}, state, event.DisconnectClientLost)

	// A session whose only event is its end is told as well.
	a.Open("s2").End([]event.Event{{Seq: 1, Kind: event.Disconnect}}, newState("s2"), event.DisconnectQuit)
	for _, want := range []string{"told at the end: s1 EVENT_TYPE_DISCONNECT REASON_CLIENT_LOST", "told at the end: s2 EVENT_TYPE_DISCONNECT REASON_QUIT"} {
		eventually(t, want, func() bool { return strings.Contains(r.log.String(), want) })
	}
}

func TestAgentWithoutCapabilities(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "plain")
	c, state := a.Open("s"), newState("s")
	both := []event.Event{{Seq: 1, Kind: event.EndOfHeaders, Notify: true}, {Seq: 2, Kind: event.MailCommand}}
	v, err := c.Decide(t.Context(), both, state, 5*time.Second)
	if err != nil || !strings.HasPrefix(v.Reason, "s resumed=false events=2 ") {
		t.Errorf("%q, %v", v.Reason, err)
	}
	before := r.pid(t, "plain")
	syscall.Kill(before, syscall.SIGKILL)
	eventually(t, "a new process", func() bool { p := r.pid(t, "plain"); return p != 0 && p != before })
	if _, err := mailFrom(t, c, state, 3, "a", 5*time.Second); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("a session in its middle: %v", err)
	}
	c.End(nil, state, event.DisconnectQuit)
	c = a.Open("s2")
	if _, err := mailFrom(t, c, state, 1, "a", 5*time.Second); err != nil {
		t.Errorf("a new session: %v", err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestSessionsWaitForAnAgentThatTakesFew(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "onesession")
	first, second, state := a.Open("s1"), a.Open("s2"), newState("s")
	if _, err := mailFrom(t, first, state, 1, "a", 5*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := mailFrom(t, second, state, 1, "a", 50*time.Millisecond); !errors.Is(err, event.ErrOverloaded) {
		t.Errorf("error %v, want overloaded", err)
	}
	first.End(nil, state, event.DisconnectQuit)
	if _, err := mailFrom(t, second, state, 2, "a", 5*time.Second); err != nil {
		t.Error(err)
	}
	second.End(nil, state, event.DisconnectQuit)
}

func TestEndOfContextEndsTheCall(t *testing.T) {
	r := newRig(t)
	a := r.enabled(t, "good")
	c, state := a.Open("s"), newState("s")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(t, "an event in flight", func() bool { return a.sup.Load().cur.Load().deciding.Load() == 1 })
		cancel()
	}()
	events := []event.Event{{Seq: 1, Kind: event.MailCommand, From: mail.Path{Local: "never", Domain: "example.org"}}}
	if _, err := c.Decide(ctx, events, state, 10*time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	if n := a.stats.failures.Load(); n != 0 {
		t.Errorf("%d failures", n)
	}
	if _, err := mailFrom(t, c, state, 2, "a", 5*time.Second); err != nil {
		t.Error(err)
	}
	c.End(nil, state, event.DisconnectQuit)
}

func TestChildrenOfAKilledAgentDieWithIt(t *testing.T) {
	r := newRig(t)
	c, state := r.enabled(t, "good").Open("s"), newState("s")
	v, err := mailFrom(t, c, state, 1, "spawn", 5*time.Second)
	pid, convErr := strconv.Atoi(v.Reason)
	if err != nil || convErr != nil || !alive(pid) {
		t.Fatalf("child %q, %v", v.Reason, err)
	}
	syscall.Kill(r.pid(t, "good"), syscall.SIGKILL)
	eventually(t, "the child to be gone", func() bool { return !alive(pid) })
	c.End(nil, state, event.DisconnectQuit)
}

func TestStateDirectoryWithALongName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	r := newRigIn(t, dir)
	c := r.enabled(t, "good").Open("s")
	if _, err := mailFrom(t, c, newState("s"), 1, "a", 5*time.Second); err != nil {
		t.Error(err)
	}
	c.End(nil, newState("s"), event.DisconnectQuit)
}

// hostUntilKilled is a host process for TestKilledHostLeavesNoAgent.
func hostUntilKilled(dir string) {
	registry, err := OpenRegistry(dir)
	if err != nil {
		panic(err)
	}
	h, err := New(Options{Registry: registry, Services: []event.Role{event.FrontEnd}})
	if err != nil {
		panic(err)
	}
	h.Start()
	for {
		if i, err := h.Get("", ""); err == nil && len(i) > 0 && i[0].PID != 0 {
			fmt.Println(i[0].PID)
			break
		}
		time.Sleep(time.Millisecond)
	}
	select {}
}

func TestKilledHostLeavesNoAgent(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir)
	r.enabled(t, "good")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.registry.Close()

	host := exec.Command(os.Args[0])
	host.Env = append(os.Environ(), "AGENTS_TEST_HOST="+dir)
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil || syscall.Kill(pid, 0) != nil {
		t.Errorf("agent of the other host: pid %d, %v", pid, err)
	}
	host.Process.Kill()
	host.Wait()
	eventually(t, "the agent to be gone", func() bool { return !alive(pid) })

	// What the killed host has left is in nobody's way.
	r = newRigIn(t, dir)
	r.Start()
	eventually(t, "the agent to run again", func() bool { return r.pid(t, "good") != 0 })
}

// alive reports whether a process runs: a zombie that nobody has reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
