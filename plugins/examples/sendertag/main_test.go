package main

import (
	"slices"
	"strings"
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/plugins/agent/agenttest"
)

type table = map[string]any

var partners = agenttest.Config{Settings: table{"senders": table{
	"Example.net": table{"subject": "[partner] "}, "*.example.net": table{"header": "X-Class: partner's own"},
	"boss@example.net": table{"subject": "[boss] ", "header": "X-Class: boss"}, "<>": table{"header": "X-Bounce: yes"},
}}}

func TestMarks(t *testing.T) {
	const header = "X-Class: forged\r\nSubject: Hello\r\nX-Kept:  \xe9\r\n"
	h := agenttest.Start(t, factory(), partners)
	for from, want := range map[string]string{
		"a@example.net":        "Subject: [partner] Hello\r\nX-Kept:  \xe9\r\n",
		"BOSS@example.NET":     "X-Class: boss\r\nSubject: [boss] Hello\r\nX-Kept:  \xe9\r\n",
		"a@b.c.example.net":    "X-Class: partner's own\r\nSubject: Hello\r\nX-Kept:  \xe9\r\n",
		"":                     "X-Bounce: yes\r\nSubject: Hello\r\nX-Kept:  \xe9\r\n",
		"a@other.example":      "Subject: Hello\r\nX-Kept:  \xe9\r\n",
		`"x@example.net"@b.cd`: "Subject: Hello\r\nX-Kept:  \xe9\r\n",
	} {
		if got := h.Connect("192.0.2.1").Mail(from).EndOfHeaders(header); got.Header != want {
			t.Errorf("from <%s>: %q, want %q (%+v)", from, got.Header, want, got.Verdict)
		}
	}
	if got, want := h.HeaderNames(agent.EventEndOfHeaders), []string{"Subject", "X-Bounce", "X-Class"}; !slices.Equal(got, want) {
		t.Errorf("is shown %q, want %q", got, want)
	}
}

func TestSettingsAreRefusedFieldByField(t *testing.T) {
	h := agenttest.Start(t, factory(), partners)
	for _, tc := range []struct {
		settings table
		want     []string
	}{
		{nil, []string{`senders: must have at least one, as "example.net" = { subject = "[partner] " }`}},
		{table{"senders": table{"a": 1}}, []string{"senders: must be a table (each value a table), not a table"}},
		{table{"senders": table{"*": table{"subject": "x"}, "a.example": table{}, "b.example": table{"header": "X"}, "c.example": table{"header": "Received: x"}}}, []string{
			`senders.*: must be as "user@example.net", "example.net", "*.example.net" or "<>"`,
			"senders.a.example: needs subject, header or both",
			`senders.b.example.header: must be as "X-Sender-Class: partner", and not Received, not "X"`,
			`senders.c.example.header: must be as "X-Sender-Class: partner", and not Received, not "Received: x"`}},
	} {
		if err := h.Configure(agenttest.Config{Settings: tc.settings}); err == nil || err.Error() != strings.Join(tc.want, "\n") {
			t.Errorf("Configure(%v) = %v, want %q", tc.settings, err, tc.want)
		}
	}
}
