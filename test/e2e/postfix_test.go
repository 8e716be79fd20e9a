package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
)

// postfix is an instance of Debian's Postfix with a folder of its own.
type postfix struct {
	addr string
	dir  string
}

// startPostfix runs Postfix with these lines of main.cf, and further ones of master.cf, until
// the test ends. It listens on the loopback interface.
func startPostfix(t *testing.T, main string, services ...string) *postfix {
	t.Helper()
	program := needs.Program(t, "postfix")
	needs.Root(t)
	dir := folder(t, "etc", "spool", "data", "log", "mail")
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("chown", "nobody", filepath.Join(dir, "mail")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	addr := freeAddr(t)
	write(t, filepath.Join(dir, "etc", "main.cf"), fmt.Sprintf(`
compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[1]s/log/mail.log
maillog_file_prefixes = %[1]s/log
myhostname = postfix.example.org
mydestination =
local_recipient_maps =
local_transport = error:no local mail
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
%[2]s
`, dir, main))
	write(t, filepath.Join(dir, "etc", "master.cf"), addr+` inet n - n - - smtpd
pickup    unix  n - n 1 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
virtual   unix  - n n - - virtual
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`+strings.Join(services, "\n")+"\n")
	cmd := exec.Command(program, "-c", filepath.Join(dir, "etc"), "start-fg")
	out := &relaytest.Log{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 10 * time.Second // a process of it may be left that has the pipe
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		// Its master is a process group of its own: only its own command ends it and all the rest, and
		// that only once it is up.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			said, err := exec.Command(program, "-c", filepath.Join(dir, "etc"), "stop").CombinedOutput()
			if err == nil {
				break
			}
			select {
			case <-ended:
			default:
				if time.Now().Before(deadline) {
					continue
				}
			}
			t.Errorf("stop Postfix: %v: %s", err, said)
			_ = cmd.Process.Kill()
			break
		}
		<-ended
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log", "mail.log"))
			t.Logf("Postfix said:\n%s\n%s", out, log)
		}
	})
	listens(t, "Postfix", addr)
	return &postfix{addr, dir}
}

// startMailServer is a Postfix that delivers to alice and bob of example.org, and knows
// nobody else. Further lines are those of main.cf.
func startMailServer(t *testing.T, further ...string) *postfix {
	t.Helper()
	p := startPostfix(t, `
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = example.org
virtual_mailbox_maps = inline:{alice@example.org=alice/ bob@example.org=bob/}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
smtpd_relay_restrictions = permit_auth_destination, reject
mailbox_size_limit = 0
message_size_limit = 40000000
`+strings.Join(further, ""))
	write(t, filepath.Join(p.dir, "etc", "main.cf"), read(t, filepath.Join(p.dir, "etc", "main.cf"))+"virtual_mailbox_base = "+p.dir+"/mail\n")
	if out, err := exec.Command(needs.Program(t, "postfix"), "-c", filepath.Join(p.dir, "etc"), "reload").CombinedOutput(); err != nil {
		t.Fatalf("reload: %v: %s", err, out)
	}
	return p
}

// mailbox waits for a message whose text contains what is wanted, and returns it.
func (p *postfix) mailbox(t *testing.T, user, want string) string {
	t.Helper()
	var found string
	relaytest.Eventually(t, user+" gets "+want, func() bool {
		files, _ := filepath.Glob(filepath.Join(p.dir, "mail", user, "new", "*"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err == nil && strings.Contains(string(data), want) {
				found = string(data)
				return true
			}
		}
		return false
	})
	return found
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// run runs a client and returns what it printed and whether it was content.
func run(t *testing.T, program string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), needs.Program(t, program), args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestRealMailServerWithRealClients(t *testing.T) {
	server := startMailServer(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: server.addr})
	host, port, _ := net.SplitHostPort(r.Addr)

	t.Run("swaks, no agent", func(t *testing.T) {
		out, ok := run(t, "swaks", "--server", host, "--port", port, "--from", "swaks@example.net", "--to", "alice@example.org",
			"--header", "Subject: by swaks")
		if !ok {
			t.Fatalf("swaks:\n%s", out)
		}
		server.mailbox(t, "alice", "Subject: by swaks")
	})
	t.Run("the mail server's refusal is the client's", func(t *testing.T) {
		out, ok := run(t, "swaks", "--server", host, "--port", port, "--from", "swaks@example.net", "--to", "nobody@example.org")
		if ok || !strings.Contains(out, "550 5.1.1 <nobody@example.org>: Recipient address rejected") {
			t.Errorf("swaks:\n%s", out)
		}
	})
	t.Run("strangers are not relayed for", func(t *testing.T) {
		out, ok := run(t, "swaks", "--server", host, "--port", port, "--from", "swaks@example.net", "--to", "carol@example.com")
		if ok || !strings.Contains(out, "550 5.7.1 relaying denied") {
			t.Errorf("swaks:\n%s", out)
		}
	})

	r.Install("catchall", relaytest.Build(t, "plugins/catchall"), "")
	t.Run("swaks, with the catch-all", func(t *testing.T) {
		out, ok := run(t, "swaks", "--server", host, "--port", port, "--from", "swaks@example.net", "--to", "alice_shop@example.org",
			"--header", "Subject: tagged by swaks")
		if !ok {
			t.Fatalf("swaks:\n%s", out)
		}
		server.mailbox(t, "alice", "Subject: [shop] tagged by swaks")
	})
	t.Run("an alias the mail server does not know", func(t *testing.T) {
		out, ok := run(t, "swaks", "--server", host, "--port", port, "--from", "swaks@example.net", "--to", "nobody_shop@example.org")
		if ok || !strings.Contains(out, "550 5.1.1") || !strings.Contains(out, "<nobody_shop@example.org>") || strings.Contains(out, "nobody@") {
			t.Errorf("swaks:\n%s", out)
		}
	})
	t.Run("curl", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "message.eml")
		write(t, file, "From: curl@example.net\r\nSubject: by curl\r\n\r\nhello\r\n.dot\r\n")
		out, ok := run(t, "curl", "-sS", "smtp://"+r.Addr, "--mail-from", "curl@example.net", "--mail-rcpt", "bob_list@example.org", "-T", file)
		if !ok {
			t.Fatalf("curl:\n%s", out)
		}
		got := server.mailbox(t, "bob", "Subject: [list] by curl")
		if !strings.Contains(got, "\n.dot\n") {
			t.Errorf("the dot is gone:\n%s", got)
		}
	})
	t.Run("Postfix", func(t *testing.T) {
		client := startPostfix(t, "relayhost = ["+host+"]:"+port+"\nmynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n")
		out, ok := run(t, "swaks", "--server", client.addr, "--from", "postfix@example.net", "--to", "alice_a@example.org,bob_a@example.org",
			"--header", "Subject: by Postfix")
		if !ok {
			t.Fatalf("swaks:\n%s", out)
		}
		server.mailbox(t, "alice", "Subject: [a] by Postfix")
		server.mailbox(t, "bob", "Subject: [a] by Postfix")
	})
}
