package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"example.org/relay/test/corpus"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// Every message goes through octet for octet below the trace field, or is refused with the
// reason that an independent scan of it gives.
func TestCorpusGoesThroughUnchanged(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Hostname: "relay.corpus.example.org"})
	sendCorpus(t, r.Addr, sink, func(wire []byte) ([]byte, error) { return wire, nil })
}

// With an agent that changes the Subject, all but that field.
func TestCorpusGoesThroughAnAgentUnchangedButForTheSubject(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Hostname: "relay.corpus.example.org"})
	r.Install("subject", relaytest.Build(t, "test/subjectagent"), "")
	sendCorpus(t, r.Addr, sink, func(wire []byte) ([]byte, error) { return changed(wire), nil })
	if a := r.Agent("subject"); a.Failures != 0 || a.Crashes != 0 {
		t.Errorf("the agent failed %d times and crashed %d times", a.Failures, a.Crashes)
	}
}

// changed is the message as the agent that changes the Subject leaves it.
func changed(wire []byte) []byte {
	header, rest := corpus.Split(wire)
	field := []byte("Subject: changed by an agent\r\n")
	if old := corpus.Find(header, "Subject"); old != nil {
		// The name stays as it was written.
		field = append(slices.Clone(old[:bytes.IndexByte(old, ':')]), field[len("Subject"):]...)
	}
	return append(corpus.ReplaceSubject(header, field, corpus.Top), rest...)
}

// sendCorpus sends everything and compares what arrives with what the message should have
// become.
func sendCorpus(t *testing.T, addr string, sink *smtptest.Sink, expect func(wire []byte) ([]byte, error)) {
	t.Helper()
	sent, refused := 0, 0
	for _, m := range messages(t) {
		wire := m.Wire()
		defects := corpus.Scan(wire)
		answer, err := send(addr, m, wire)
		var early *smtptest.Refused
		if errors.As(err, &early) {
			answer = early.Reply
		} else if err != nil {
			t.Errorf("%s: %v", m.File, err)
			continue
		}
		arrived := sink.Take()
		if len(defects) > 0 {
			refused++
			if len(arrived) != 0 {
				t.Errorf("%s: arrived, though %s", m.File, defects[0].Text)
			}
			if !answersDefect(answer, defects) {
				t.Errorf("%s: answered %q, want what says %s", m.File, answer, defects[0].Text)
			}
			continue
		}
		if !strings.HasPrefix(answer, "250") || len(arrived) != 1 {
			t.Errorf("%s: answered %q and arrived %d times, want it once", m.File, answer, len(arrived))
			continue
		}
		sent++
		want, err := expect(wire)
		if err != nil {
			t.Fatal(err)
		}
		if err := compare(arrived[0].Content, want); err != nil {
			t.Errorf("%s: %v", m.File, err)
		}
	}
	t.Logf("%d messages went through unchanged, %d were refused as predicted", sent, refused)
}

func messages(t *testing.T) []corpus.Message {
	t.Helper()
	dir, err := corpus.Dir()
	if err != nil {
		t.Fatal(err)
	}
	all, err := corpus.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, corpus.Generated()...)
	if foreign := corpus.Foreign(); foreign != "" {
		more, err := corpus.Load(foreign)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, more...)
	} else if os.Getenv("CI") != "" && os.Getenv("RELAY_REQUIRE_PEERS") != "" {
		t.Log("RELAY_CORPUS is not set: the project's own messages only")
	}
	return append(all, corpus.GeneratedLarge()...)
}

// send sends one message over a connection of its own.
func send(addr string, m corpus.Message, wire []byte) (string, error) {
	c, err := smtptest.Dial(addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	params := ""
	if corpus.Has8Bit(wire) {
		params = " BODY=8BITMIME"
	}
	return c.Send("sender@example.net", "alice@example.org", params, wire)
}

func answersDefect(answer string, defects []corpus.Defect) bool {
	for _, d := range defects {
		code, enhanced := d.Kind.Reply()
		if strings.HasPrefix(answer, fmt.Sprintf("%d %s ", code, enhanced)) {
			return true
		}
	}
	return false
}

// compare takes the relay's trace field out of what arrived, by its known octets, and
// compares the rest.
func compare(arrived, want []byte) error {
	const start, end = "Received: from client.example.net ([127.0.0.1])\r\n\tby relay.corpus.example.org with ESMTP id ", "\r\n"
	at := bytes.Index(arrived, []byte(start))
	if at < 0 {
		return fmt.Errorf("no trace field of ours in %.300q", arrived)
	}
	// Three line ends: by, for, date.
	stop := at + len(start)
	for range 3 {
		i := bytes.Index(arrived[stop:], []byte(end))
		if i < 0 {
			return fmt.Errorf("the trace field does not end: %.300q", arrived[at:])
		}
		stop += i + len(end)
	}
	got := append(slices.Clone(arrived[:at]), arrived[stop:]...)
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	return fmt.Errorf("differs at octet %d of %d: got %.120q, want %.120q", i, len(want), got[i:], want[i:])
}
