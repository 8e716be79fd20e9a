package smtpserver

import "testing"

func TestSecretsOfAuthAreNotTold(t *testing.T) {
	for line, want := range map[string]string{
		"AUTH PLAIN AGFsaWNlAHNlY3JldA==": "AUTH PLAIN …",
		"auth login":                      "AUTH login",
		"MAIL FROM:<a@example.org>":       "MAIL FROM:<a@example.org>",
	} {
		if got := parseCommand(line).told(); got != want {
			t.Errorf("%q is told as %q, want %q", line, got, want)
		}
	}
}
