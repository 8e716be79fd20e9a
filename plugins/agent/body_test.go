package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

// atEnd is an agent of one function.
type atEnd func(*agent.Message) agent.Verdict

func (f atEnd) OnEndOfData(_ context.Context, m *agent.Message) agent.Verdict { return f(m) }

const small = "Hello\r\n.\r\nbare\nLF and no end"

func large() string { return strings.Repeat("0123456789abcdef", 50_000) } // 800,000 octets: several windows of chunks

func TestABodyIsReadHoweverItComes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config agenttest.Config
		option []agent.Option
	}{
		{"inline", agenttest.Config{}, nil},
		{"pulled", agenttest.Config{Bodies: agenttest.Pulled}, nil},
		{"pulled in chunks of 7", agenttest.Config{Bodies: agenttest.Pulled, ChunkSize: 700}, nil},
		{"a spool file", agenttest.Config{Bodies: agenttest.Spooled}, nil},
		{"on demand", agenttest.Config{}, []agent.Option{agent.BodyOnDemand()}},
	} {
		for _, body := range []string{"", small, large()} {
			t.Run(tc.name, func(t *testing.T) {
				read := atEnd(func(m *agent.Message) agent.Verdict {
					b := m.Body()
					if b.Size() != int64(len(body)) || b.Revision() != 0 {
						return agent.Fail(errors.New("size or revision"))
					}
					if all, err := io.ReadAll(b); err != nil || string(all) != body {
						return agent.Fail(fmt.Errorf("read %d octets, %v", len(all), err))
					}
					if body == small { // reads octet by octet
						if err := iotest.TestReader(struct{ io.Reader }{m.Body()}, []byte(body)); err != nil {
							return agent.Fail(err)
						}
					}
					section := make([]byte, 3)
					n, err := m.Body().ReadAt(section, max(int64(len(body))-2, 0))
					if want := body[max(len(body)-2, 0):]; string(section[:n]) != want || !errors.Is(err, io.EOF) {
						return agent.Fail(errors.New("ReadAt at the end"))
					}
					if n, err := m.Body().ReadAt(section, int64(len(body)+9)); n != 0 || !errors.Is(err, io.EOF) {
						return agent.Fail(errors.New("ReadAt behind the end"))
					}
					return agent.Continue()
				})
				h := agenttest.Start(t, agent.New("read", read, tc.option...), tc.config)
				m := h.Connect("192.0.2.1").Mail("s@example.com")
				m.EndOfHeaders("Subject: s\r\n")
				if got := m.EndOfData(body); got.Verdict.Failure != "" || got.Body != body {
					t.Errorf("%d octets: %+v", len(body), got.Verdict)
				}
			})
		}
	}
}

func TestBodiesThatCannotBeRead(t *testing.T) {
	read := func(m *agent.Message) agent.Verdict {
		_, err := io.ReadAll(m.Body())
		return agent.Fail(err)
	}
	for _, tc := range []struct {
		name   string
		value  any
		config agenttest.Config
		want   string
	}{
		{"not granted", atEnd(read), agenttest.Config{Grant: []agent.Permission{agent.ReadHeaders}}, "body: the operator has not granted read_body"},
		{"an old relay", atEnd(read), agenttest.Config{OldRelay: true}, "body: this relay does not give bodies to agents (capability CONTENT_READ)"},
		{"too early", onHeaders(func(_ context.Context, m *agent.Message) agent.Verdict { return read(m) }), agenttest.Config{},
			"body: OnEndOfHeaders has none: it can be read at OnEndOfData, in the routing events and at OnDeliverMailItem"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := agenttest.Start(t, agent.New("read", tc.value, agent.Asks(agent.ReadBody)), tc.config).Connect("192.0.2.1").Mail("")
			got := m.EndOfHeaders("Subject: s\r\n").Verdict
			if got.Failure == "" {
				got = m.EndOfData("body").Verdict
			}
			if got.Failure != tc.want {
				t.Errorf("failure %q, want %q", got.Failure, tc.want)
			}
		})
	}
}

type watcher struct{ err chan error }

func (w watcher) OnEndOfData(_ context.Context, m *agent.Message) {
	_, err := io.ReadAll(m.Body())
	w.err <- err
}

func TestAWatcherReadsOnlyWhatCameWithTheEvent(t *testing.T) {
	for _, tc := range []struct {
		body string
		ok   bool
	}{{small, true}, {large(), false}} {
		w := watcher{make(chan error, 1)}
		c := agenttest.Start(t, agent.New("watch", w), agenttest.Config{}).Connect("192.0.2.1")
		c.Mail("").EndOfData(tc.body)
		c.Quit()
		if err := <-w.err; (err == nil) != tc.ok {
			t.Errorf("%d octets: %v", len(tc.body), err)
		}
	}
}

func TestReplaceBody(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name   string
		do     func(m *agent.Message) error
		config agenttest.Config
		want   string // the body; empty: as it was
		err    string
	}{
		{"small", func(m *agent.Message) error { return m.ReplaceBody(strings.NewReader("new\r\n")) }, agenttest.Config{}, "new\r\n", ""},
		{"large", func(m *agent.Message) error { return m.ReplaceBody(strings.NewReader(large())) }, agenttest.Config{}, large(), ""},
		{"a whole number of chunks", func(m *agent.Message) error { return m.ReplaceBody(bytes.NewReader(make([]byte, 512<<10))) }, agenttest.Config{},
			string(make([]byte, 512<<10)), ""},
		{"made from the old one while that is pulled", func(m *agent.Message) error {
			return m.ReplaceBody(io.MultiReader(strings.NewReader(large()), m.Body(), strings.NewReader("-- \r\nfooter\r\n")))
		}, agenttest.Config{Bodies: agenttest.Pulled}, large() + small + "-- \r\nfooter\r\n", ""},
		{"twice: the last", func(m *agent.Message) error {
			return errors.Join(m.ReplaceBody(strings.NewReader(large())), m.ReplaceBody(strings.NewReader("last")))
		}, agenttest.Config{}, "last", ""},
		{"a reader that fails", func(m *agent.Message) error { return m.ReplaceBody(iotest.ErrReader(broken)) }, agenttest.Config{}, "", "broken"},
		{"a reader that fails late", func(m *agent.Message) error {
			return m.ReplaceBody(io.MultiReader(strings.NewReader(large()), iotest.ErrReader(broken)))
		}, agenttest.Config{}, "", "broken"},
		{"a large one to an old relay", func(m *agent.Message) error { return m.ReplaceBody(strings.NewReader(large())) },
			agenttest.Config{OldRelay: true}, "", "new body: this relay takes at most 65536 octets from an agent (capability UPLOAD)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := agenttest.Start(t, agent.New("x", atEnd(func(m *agent.Message) agent.Verdict {
				if err := tc.do(m); err != nil {
					return agent.Continue().Because(err.Error())
				}
				return agent.Continue()
			}), agent.Asks(agent.ChangeBody)), tc.config)
			m := h.Connect("192.0.2.1").Mail("")
			m.EndOfHeaders("Subject: s\r\n")
			got := m.EndOfData(small)
			want := tc.want
			if want == "" {
				want = small
			}
			if got.Body != want || got.Verdict.Reason != tc.err || got.Header != "Subject: s\r\n" {
				t.Errorf("%d octets, %+v; want %d, %q", len(got.Body), got.Verdict, len(want), tc.err)
			}
		})
	}
}

func TestReplaceMessageEndsTheHeaderEdits(t *testing.T) {
	replace := func(more bool) atEnd {
		return func(m *agent.Message) agent.Verdict {
			if err := m.ReplaceMessage(strings.NewReader("Subject: other\r\n\r\nbody\r\n")); err != nil {
				return agent.Fail(err)
			}
			if more {
				m.Header().Add("X-A", "b")
			}
			return agent.Continue()
		}
	}
	asks := agent.Asks(agent.ChangeBody, agent.ChangeHeaders)
	m := agenttest.Start(t, agent.New("x", replace(false), asks), agenttest.Config{}).Connect("192.0.2.1").Mail("")
	m.EndOfHeaders("Subject: s\r\n")
	if got := m.EndOfData("old"); got.Header != "Subject: other\r\n" || got.Body != "body\r\n" {
		t.Errorf("%+v", got)
	}
	m = agenttest.Start(t, agent.New("x", replace(true), asks), agenttest.Config{}).Connect("192.0.2.1").Mail("")
	if got := m.EndOfData("old").Verdict.Failure; !strings.Contains(got, "put another message in the place of this one") {
		t.Errorf("failure %q", got)
	}
}
