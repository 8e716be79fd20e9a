package main

import (
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

func TestSubjectIsMarked(t *testing.T) {
	h := agenttest.Start(t, agent.New("hello", tagger{}, agent.Asks(agent.ChangeHeaders)), agenttest.Config{})
	m := h.Connect("192.0.2.1").Mail("sender@example.com")
	m.Rcpt("alice@example.org")
	got := m.EndOfHeaders("From: sender@example.com\r\nSubject: Hi\r\n")
	if want := "From: sender@example.com\r\nSubject: [hello] Hi\r\n"; got.Header != want {
		t.Errorf("header = %q, want %q", got.Header, want)
	}
}
