// Probe is the agent of the conformance tests in Go; testdata has the same in other languages.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"example.org/relay/plugins/agent"
)

type probe struct {
	Mark string `json:"mark"`
}

var (
	connected = agent.SessionKey[string]("connected")
	other     = agent.SessionKey[string]("other/word")
)

func main() {
	agent.Serve(agent.Build("probe", newProbe,
		agent.Asks(agent.ChangeHeaders, agent.ChangeRecipients, agent.ChangeSender, agent.RejectMail),
		agent.ChangesRecipientsAt(agent.EventEndOfHeaders)))
}

func newProbe(setup agent.Setup) (*probe, error) {
	p := &probe{Mark: "none"}
	return p, setup.Settings(p)
}

func (*probe) OnConnect(_ context.Context, s *agent.Session) {
	connected.Set(s, s.RemoteAddr().Addr().String())
}

func (*probe) OnEhloCommand(_ context.Context, _ *agent.Session, domain string) agent.Verdict {
	return agent.Continue().Because("said " + domain)
}

func (p *probe) OnHelpCommand(context.Context, *agent.Session, string) agent.Verdict {
	return agent.Continue().Text(p.Mark)
}

func (*probe) OnMailCommand(ctx context.Context, m *agent.Message, from agent.Mailbox) agent.Verdict {
	s := m.Session()
	switch from.Local() {
	case "crash":
		m.SetSender("changed@example.org")
		connected.Set(s, "crashed")
		panic("as asked")
	case "print":
		fmt.Fprintln(os.Stdout, "printed by the agent")
	case "slow":
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "the slow one was cancelled")
	case "reject":
		return agent.Reject("no", "really not").Code(554, "5.7.9").Because("asked")
	case "fail":
		return agent.Fail(errors.New("database away"))
	case "resumed":
		return agent.TempFail(strconv.FormatBool(s.Resumed()))
	case "bag":
		return agent.TempFail(connected.Get(s), other.Get(s))
	}
	return agent.Continue()
}

func (*probe) OnRcptCommand(_ context.Context, m *agent.Message, rcpt agent.Recipient) agent.Verdict {
	switch rcpt.Local() {
	case "list":
		m.ReplaceRecipient(rcpt, "a@example.org", "b@example.org")
	case "gone":
		m.RemoveRecipient(rcpt)
	}
	return agent.Continue()
}

func (*probe) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	h := m.Header()
	n, err := strconv.Atoi(h.Text("X-Add"))
	for range n {
		h.AddRaw("X-Added", " 1")
	}
	if err == nil {
		return agent.Continue()
	}
	if f := h.Field("X-Raw"); f != nil {
		f.SetRaw(f.Raw() + "!")
		return agent.Continue()
	}
	m.SetSender("sender@example.org")
	m.AddRecipient("added@example.org")
	if r := m.Recipients()[0]; r.Local() == "twice" {
		m.ReplaceRecipient(r, "once@example.org")
		m.ReplaceRecipient(m.Recipients()[0], "again@example.org")
	}
	h.Remove("X-Remove")
	h.SetText("Subject", "[probe] "+h.Text("Subject"))
	h.Add("X-Top", "1")
	h.Add("X-Above", strings.Repeat("é", 3))
	h.AddLast("X-Last", "end")
	h.Field("X-Top").SetText("2")
	return agent.Continue()
}

func (*probe) OnReject(_ context.Context, _ *agent.Session, r agent.Rejection) agent.Verdict {
	if r.Reply.Code == 550 && r.Recipient == "nobody@example.org" && r.Cause == agent.CauseNextHop {
		return agent.Disconnect("enough")
	}
	return agent.Continue()
}

func (*probe) OnDisconnect(_ context.Context, s *agent.Session, reason agent.DisconnectReason) {
	word := "otherwise"
	if reason == agent.Quit {
		word = "by QUIT"
	}
	fmt.Fprintln(os.Stderr, "ended", word, connected.Get(s))
}
