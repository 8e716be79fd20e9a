package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/relay/proto/control/v1"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// The agents that come along, together on one relay: what the client is told, what the next hop
// is asked, what arrives.
func TestAgentsThatComeAlong(t *testing.T) {
	sink := (&smtptest.Sink{Reply: func(command string) string {
		if strings.HasPrefix(command, "RCPT TO:<nobody@") {
			return "550 5.1.1 no such mailbox"
		}
		return ""
	}}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	blocked := filepath.Join(t.TempDir(), "senders")
	write(t, blocked, "# senders\n*.spam.example\n")
	install := func(name, settings string) {
		t.Helper()
		ctx := context.Background()
		_, err := r.InstallAgent(ctx, &controlv1.InstallAgentRequest{
			Name: name, Service: "FrontEnd", Path: relaytest.Build(t, "plugins/"+name), SettingsToml: []byte(settings), SettingsPath: name + ".toml",
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.EnableAgent(ctx, &controlv1.AgentRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	install("access", `
[[rules]]
action = "allow"
recipient = ["postmaster@"]
[[rules]]
action = "reject"
hello = ["localhost"]
text = "tell us your name"
[[rules]]
action = "reject"
sender_files = ["`+blocked+`"]
code = 553
enhanced = "5.1.8"
text = "not from there"
[[rules]]
action = "discard"
recipient = ["trap@example.org"]
`)
	install("plusaddressing", `original_header = "X-Original-To"`)
	install("headers", `
[[rules]]
direction = "inbound"
tag_subject = "[EXTERNAL] "
remove = ["X-Internal-*"]
rename = [{ from = "X-Spam", to = "X-Their-Spam" }]
set = [{ name = "X-Auth-User", value = "{auth_user}" }]
add = [{ name = "X-Client", value = "{client_ip} helo={hello} from={from}" }, { name = "X-Last", value = "yes", at = "bottom" }]
`)

	dial := func(hello string) *smtptest.Client {
		t.Helper()
		c, err := smtptest.Dial(r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if reply, err := c.Cmd("EHLO " + hello); err != nil || !strings.HasPrefix(reply, "250") {
			t.Fatalf("EHLO %s: %q, %v", hello, reply, err)
		}
		return c
	}
	says := func(c *smtptest.Client, command, want string) {
		t.Helper()
		if reply, err := c.Cmd(command); err != nil || !strings.HasPrefix(reply, want) {
			t.Errorf("%s: %q, %v; want %s", command, reply, err, want)
		}
	}
	const content = "Received: from theirs\r\n\tby them\r\nX-Internal-Secret: forged\r\nSubject: =?utf-8?q?h=C3=A9llo?=\r\nX-Auth-User: forged\r\nx-spam:  yes\r\n\tindeed\r\nX-Kept: \xe9\r\n\r\nbody\r\n"

	// The mailbox is asked about while the client waits, and gets what is left of the header.
	c := dial("client.example.net")
	says(c, "MAIL FROM:<a@good.example> BODY=8BITMIME", "250")
	says(c, "RCPT TO:<nobody+tag@example.org>", "550 5.1.1")
	says(c, "RCPT TO:<alice+shop@example.org> NOTIFY=FAILURE ORCPT=rfc822;alice+2Bshop@example.org", "250")
	says(c, "DATA", "354")
	if err := c.Raw(append(smtptest.Stuff([]byte(content)), ".\r\n"...)); err != nil {
		t.Fatal(err)
	}
	if reply, err := c.Reply(); err != nil || !strings.HasPrefix(reply, "250") {
		t.Fatalf("content: %q, %v", reply, err)
	}
	got := sink.Take()
	if len(got) != 1 || len(got[0].To) != 1 || got[0].To[0] != "<alice@example.org> NOTIFY=FAILURE ORCPT=rfc822;alice+2Bshop@example.org" {
		t.Fatalf("arrived: %q", got)
	}
	const above = "X-Client: 127.0.0.1 helo=client.example.net from=a@good.example\r\nX-Original-To: alice+shop@example.org\r\nReceived: from client.example.net "
	const below = "Received: from theirs\r\n\tby them\r\nSubject: [EXTERNAL] =?utf-8?q?h=C3=A9llo?=\r\nX-Their-Spam:  yes\r\n\tindeed\r\nX-Kept: \xe9\r\nX-Last: yes\r\n\r\nbody\r\n"
	if text := string(got[0].Content); !strings.HasPrefix(text, above) || !strings.HasSuffix(text, "\r\n"+below) || strings.Contains(text, "forged") {
		t.Errorf("arrived:\n%q\nwant\n%q\n…\n%q", text, above, below)
	}

	// Each refusal where it belongs, with the operator's words.
	says(c, "MAIL FROM:<x@mail.spam.example>", "250") // postmaster may still come
	says(c, "RCPT TO:<alice@example.org>", "553 5.1.8 not from there")
	says(c, "RCPT TO:<postmaster@example.org>", "250")
	says(c, "RSET", "250")
	nameless := dial("localhost")
	says(nameless, "MAIL FROM:<a@good.example>", "250")
	says(nameless, "RCPT TO:<alice+x@example.org>", "550 5.7.1 tell us your name")
	if answer, err := c.Send("a@good.example", "trap@example.org", "", []byte("Subject: s\r\n\r\nb\r\n")); err != nil || !strings.HasPrefix(answer, "250") {
		t.Errorf("a discarded recipient: %q, %v", answer, err)
	}
	if got := sink.Take(); len(got) != 0 {
		t.Errorf("what was to be dropped arrived: %q", got)
	}
	if want := "(" + blocked + ":2)"; !r.Log.Contains("sender <x@mail.spam.example> is *.spam.example " + want) {
		t.Errorf("the log does not say which entry refused: %s", want)
	}

	// A list that changed is in force without a command; a bad one is not.
	write(t, blocked, "good.example\n")
	relaytest.Eventually(t, "the new list is in force", func() bool {
		_, err := c.Send("a@good.example", "alice@example.org", "", []byte("Subject: s\r\n\r\nb\r\n"))
		return err != nil && strings.Contains(err.Error(), "553 5.1.8")
	})
	if err := os.WriteFile(blocked+".new", []byte("a b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(blocked+".new", blocked); err != nil {
		t.Fatal(err)
	}
	relaytest.Eventually(t, "the log tells of the bad list", func() bool {
		_, err := c.Send("a@good.example", "alice@example.org", "", []byte("Subject: s\r\n\r\nb\r\n"))
		if err == nil {
			t.Fatal("the old list is not in force any more")
		}
		return r.Log.Contains("file not taken over") && r.Log.Contains(": line 1: ")
	})
	for _, name := range []string{"access", "plusaddressing", "headers"} {
		if a := r.Agent(name); a.Failures != 0 || a.Crashes != 0 {
			t.Errorf("%s failed %d times and crashed %d times", name, a.Failures, a.Crashes)
		}
	}
}
