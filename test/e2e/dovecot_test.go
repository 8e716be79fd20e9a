package e2e

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/nexthop"
	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
)

// dovecot is an instance of Debian's Dovecot that speaks LMTP, with a folder of its own.
type dovecot struct {
	dir, tcp, socket string
}

// startDovecot has mailboxes for b, c and full, which takes no message at all.
func startDovecot(t *testing.T) *dovecot {
	t.Helper()
	program := needs.Program(t, "dovecot")
	needs.Program(t, "/usr/lib/dovecot/lmtp")
	needs.Root(t)
	dir, err := os.MkdirTemp("", "relay-dovecot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"", "run", "state", "mail"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "mail", "full"), 0o500); err != nil { // root's: nothing can be written there
		t.Fatal(err)
	}
	const nobody = 65534
	if err := os.Chown(filepath.Join(dir, "mail"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	d := &dovecot{dir: dir, tcp: freeAddr(t), socket: filepath.Join(dir, "run", "relay-lmtp")}
	host, port, _ := net.SplitHostPort(d.tcp)
	write(t, filepath.Join(dir, "users"), "b@example.org::::::\nc@example.org::::::\nfull@example.org:::::\n")
	write(t, filepath.Join(dir, "dovecot.conf"), fmt.Sprintf(`
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = lmtp
hostname = dovecot.example.org
postmaster_address = postmaster@example.org
ssl = no
mail_location = maildir:%[1]s/mail/%%n
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
  default_fields = uid=nobody gid=nogroup home=%[1]s/mail/%%n
}
service lmtp {
  inet_listener lmtp {
    address = %[2]s
    port = %[3]s
  }
  unix_listener relay-lmtp {
    mode = 0600
  }
}
protocol lmtp {
  auth_username_format = %%u
}
`, dir, host, port))
	cmd := exec.Command(program, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	out := &relaytest.Log{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // its master ends all the rest
		_ = cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("dovecot: %s\n%s", out, log)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", d.tcp)
		if err == nil {
			_ = c.Close()
			return d
		}
		if time.Now().After(end) {
			t.Fatalf("Dovecot does not listen: %v: %s", err, out)
		}
	}
}

// inbox is what a user has.
func (d *dovecot) inbox(t *testing.T, user string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "mail", user, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// Each recipient has its own answer, and its message where that is yes.
func TestDovecotAnswersForEachRecipient(t *testing.T) {
	d := startDovecot(t)
	for n, address := range []string{d.tcp, "unix:" + d.socket} {
		h := nexthop.New(nexthop.Config{Name: "dovecot", Addresses: []string{address}, LMTP: true, Hostname: "mx.example.org"}, slog.New(slog.DiscardHandler))
		defer h.Close()
		for i := range 2 { // the connection is good for another
			tx, err := h.Begin(t.Context(), mail.Client{})
			if err != nil {
				t.Fatal(err)
			}
			env := &mail.Envelope{}
			for _, r := range []string{"a@example.org", "b@example.org", "full@example.org", "nobody@example.org", "c@example.org", "b@example.org"} {
				p, err := mail.ParseMailbox(r, false)
				if err != nil {
					t.Fatal(err)
				}
				if env.From.IsNull() {
					env.From = p
					continue
				}
				env.Add(mail.Recipient{Path: p})
			}
			answers, err := tx.Envelope(t.Context(), env, false)
			if err != nil {
				t.Fatal(err)
			}
			var rcpts []int
			for _, r := range answers.Rcpts {
				rcpts = append(rcpts, r.Code)
			}
			if got := fmt.Sprint(rcpts); got != "[250 250 550 250 250]" {
				t.Fatalf("RCPT answered by %s: %v", got, answers.Rcpts)
			}
			if r, err := tx.Data(t.Context()); err != nil || r.Code != 354 {
				t.Fatalf("DATA answered by %v, %v", r, err)
			}
			body := fmt.Sprintf("\r\n.%d %d\r\n..\r\n", n, i)
			each, err := tx.ContentEach(t.Context(), mail.ParseHeader([]byte("Subject: x\r\n")), strings.NewReader(body))
			if err != nil || len(each) != 4 {
				t.Fatalf("ContentEach = %v, %v", each, err)
			}
			if each[0].Code != 250 || each[2].Code != 250 || each[3].Code != 250 || !each[1].Transient() {
				t.Errorf("replies %v", each)
			}
			tx.Release()
		}
	}
	if full := d.inbox(t, "full"); len(full) != 0 {
		t.Errorf("full has %d messages", len(full))
	}
	for user, want := range map[string]int{"b": 8, "c": 4} {
		all := d.inbox(t, user)
		if len(all) < want/2 || len(all) > want { // two to one mailbox may be made one
			t.Errorf("%s has %d messages, want %d", user, len(all), want)
		}
		for _, m := range all {
			m = strings.ReplaceAll(m, "\r\n", "\n")
			if !strings.Contains(m, "\nSubject: x\n\n.") || !strings.HasSuffix(m, "\n..\n") {
				t.Errorf("%s has %q", user, m)
			}
		}
	}
}
