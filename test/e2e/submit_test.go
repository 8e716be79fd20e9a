package e2e

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"example.org/relay/proto/control/v1"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// archived is a relay with the agent that tells of each message.
type archived struct {
	*relaytest.Relay
	sink *smtptest.Sink
	c    *smtptest.Client
}

func startArchived(t *testing.T, sink *smtptest.Sink, o relaytest.Options) *archived {
	t.Helper()
	sink.Start(t)
	o.NextHop = sink.Addr()
	r := relaytest.Start(t, o)
	r.Install("archivist", relaytest.Build(t, "test/submitagent"), "archivist")
	c, err := smtptest.Dial(r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &archived{r, sink, c}
}

func (a *archived) send(t *testing.T, params, content string) {
	t.Helper()
	reply, err := a.c.Send("bob@example.net", "alice@example.org", params, []byte(content))
	if err != nil || reply[:3] != "250" {
		t.Fatalf("%q, %v", reply, err)
	}
}

// logged waits for a line with all these words.
func (a *archived) logged(t *testing.T, words ...string) {
	t.Helper()
	relaytest.Eventually(t, "a line of the log with "+strings.Join(words, ", "), func() bool {
		for line := range strings.Lines(a.Log.String()) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// One connection to the next hop is enough for both messages, and an agent that answers what comes of its own is
// stopped, the message not.
func TestAgentSubmitsAndCannotLoop(t *testing.T) {
	a := startArchived(t, &smtptest.Sink{}, relaytest.Options{NextHopLines: "connections = 1", RecipientCheck: "live"})
	content := "Subject: hello\r\n\r\nbody\r\n"
	for n := range 3 {
		a.send(t, " ENVID=a+2Bb RET=FULL", content)
		all := a.sink.Take()
		last := all[len(all)-1]
		if !bytes.HasSuffix(last.Content, []byte(content)) || !strings.Contains(last.From, "ENVID=told+20of+20+2B+20a+2Bb") {
			t.Fatalf("message %d: %s %q", n, last.From, last.Content)
		}
		a.logged(t, "msg=message ", "result=relayed", "OnProxyInboundMessage accept (to mailserver at "+a.sink.Addr()+")")
		if n == 2 {
			if len(all) != 1 {
				t.Errorf("%d messages: the agent submitted a third time", len(all))
			}
			a.logged(t, "level=WARN", "msg=message ", "submit: loop: ")
			return
		}
		if len(all) != 2 || !strings.HasPrefix(all[0].From, "<> ") || strings.Join(all[0].To, " ") != "<archive@example.org>" {
			t.Fatalf("message %d: %+v", n, all)
		}
		a.logged(t, `msg="submitted message"`, "result=relayed", "agent=archivist")
		content = string(all[0].Content)
	}
}

// The words are the agent's, the code is that of the command.
func TestAgentWordsTheAnswerToHelp(t *testing.T) {
	a := startArchived(t, &smtptest.Sink{}, relaytest.Options{})
	reply, err := a.c.Cmd("HELP")
	if want := "214-2.0.0 mail is archived here\n214 2.0.0 ask archive@example.org"; err != nil || reply != want {
		t.Errorf("%q, %v, want %q", reply, err, want)
	}
}

func TestAgentsMessageIsSentOnceThoughTheAgentDies(t *testing.T) {
	a := startArchived(t, &smtptest.Sink{}, relaytest.Options{})
	a.send(t, "", "Subject: die\r\n\r\nbody\r\n")
	all := a.sink.Take()
	if len(all) != 2 {
		t.Errorf("%d messages have arrived, want the agent's and the client's: %+v", len(all), all)
	}
	a.logged(t, "agent crashed")
}

func TestAgentsMessageThatTheNextHopRefusesIsTheAgentsAffair(t *testing.T) {
	a := startArchived(t, &smtptest.Sink{Reply: func(command string) string {
		if strings.Contains(command, "archive@") {
			return "550 5.1.1 no archive"
		}
		return ""
	}}, relaytest.Options{})
	a.send(t, "", "Subject: hello\r\n\r\nbody\r\n")
	a.logged(t, `msg="submitted message"`, "result=refused", "no archive")
	a.logged(t, "msg=message ", "result=relayed", ": 550)")
	a.send(t, "", "Subject: hello\r\nX-Tell: carol@example.com\r\n\r\nbody\r\n")
	a.logged(t, "msg=message ", "result=relayed", "accepted domains")
	if n := len(a.sink.Take()); n != 2 {
		t.Errorf("%d messages have arrived, want the client's two", n)
	}
}

func TestAgentThatMayNotSubmitIsRefusedAndCounted(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	ctx := context.Background()
	if _, err := r.InstallAgent(ctx, &controlv1.InstallAgentRequest{
		Name: "archivist", Service: "FrontEnd", Path: relaytest.Build(t, "test/submitagent"), Options: &controlv1.AgentOptions{Deny: &controlv1.StringList{Values: []string{"submit"}}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.EnableAgent(ctx, &controlv1.AgentRequest{Name: "archivist"}); err != nil {
		t.Fatal(err)
	}
	c, err := smtptest.Dial(r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := &archived{r, sink, c}
	a.send(t, "", "Subject: hello\r\n\r\nbody\r\n")
	if n := len(sink.Take()); n != 1 {
		t.Errorf("%d messages have arrived", n)
	}
	a.logged(t, "agent broke the contract", "submit", "was not granted")
}
