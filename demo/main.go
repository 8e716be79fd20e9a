// Command demo shows the relay's main job on a bare machine: a next hop, a relay in front of
// it, an agent installed and enabled through the relay's own commands, and one message that
// goes through them. It runs until ^C and leaves nothing behind.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const sample = "From: Shop <orders@shop.example>\r\n" +
	"To: alice_shop@example.org\r\n" +
	"Subject: Your order has shipped\r\n" +
	"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n" +
	"Message-ID: <order-1@shop.example>\r\n" +
	"\r\n" +
	"Hello Alice,\r\n" +
	"it is on its way.\r\n"

func main() {
	log.SetFlags(0)
	log.SetPrefix("demo: ")
	bin := flag.String("bin", "bin", "the folder with relay and plugins/catchall")
	once := flag.Bool("once", false, "end after the message")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *once); err != nil {
		log.Fatal(err)
	}
}

// demo is the running pieces.
type demo struct {
	relay  string // the program
	dir    string // of this run; removed at the end
	config string
	listen string
	kids   []*exec.Cmd
}

func run(ctx context.Context, bin string, once bool) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "relay-demo-")
	if err != nil {
		return err
	}
	d := &demo{relay: filepath.Join(bin, "relay"), dir: dir}
	defer d.end()

	next, err := freePort(1025)
	if err != nil {
		return err
	}
	if d.listen, err = freePort(2525); err != nil {
		return err
	}
	arrived, err := d.startSink(next)
	if err != nil {
		return err
	}
	if err := d.startRelay(next); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"install-agent", "catchall", "--path", filepath.Join(bin, "plugins", "catchall"), "--transport-service", "FrontEnd"},
		{"enable-agent", "catchall"},
		{"get-pipeline"},
	} {
		if err := d.command(ctx, args...); err != nil {
			return err
		}
	}
	title("A message as it goes in")
	fmt.Print("MAIL FROM:<orders@shop.example>\nRCPT TO:<alice_shop@example.org>\n\n", indent(sample))
	if err := smtp.SendMail(d.listen, nil, "orders@shop.example", []string{"alice_shop@example.org"}, []byte(sample)); err != nil {
		return fmt.Errorf("send the message: %w", err)
	}
	title("The same message as it arrives at the next hop")
	copyUntilQuiet(os.Stdout, arrived)
	if once {
		return nil
	}
	d.whatNext(next)
	for {
		select {
		case line, open := <-arrived:
			if !open {
				return errors.New("the next hop ended")
			}
			fmt.Println(line)
		case <-ctx.Done():
			fmt.Println()
			return nil
		}
	}
}

func (d *demo) startSink(next string) (<-chan string, error) {
	sink := exec.Command(d.relay, "sink", "--listen", next)
	out, err := sink.StdoutPipe()
	if err != nil {
		return nil, err
	}
	sink.Stderr = os.Stderr
	if err := d.start(sink); err != nil {
		return nil, err
	}
	scan := bufio.NewScanner(out)
	if !scan.Scan() { // it says that it listens
		return nil, fmt.Errorf("the next hop ended at start: %w", scan.Err())
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scan.Scan() {
			lines <- scan.Text()
		}
	}()
	return lines, nil
}

func (d *demo) startRelay(next string) error {
	d.config = filepath.Join(d.dir, "config.toml")
	text := fmt.Sprintf(`hostname  = "mx.example.org"
state_dir = "var"

[[accepted_domain]]
name = "example.org"

[next_hop.mailserver]
addresses = [%q]
tls       = "none"

[frontend]
next_hop = "mailserver"
[[frontend.listener]]
address = %q
tls     = "none"
`, next, d.listen)
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(d.dir, "relay.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	serve := exec.Command(d.relay, "serve", "--config", d.config)
	serve.Stderr = logFile
	if err := d.start(serve); err != nil {
		return err
	}
	if err := waitFor(d.listen); err != nil {
		text, _ := os.ReadFile(logFile.Name())
		return fmt.Errorf("the relay does not listen: %w\n%s", err, text)
	}
	return nil
}

// start runs a program that ends with us, ^C or not.
func (d *demo) start(c *exec.Cmd) error {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		return err
	}
	d.kids = append(d.kids, c)
	return nil
}

// command runs one of the relay's commands and shows it as it would be typed.
func (d *demo) command(ctx context.Context, args ...string) error {
	fmt.Println("\n$ relay " + strings.Join(args, " "))
	c := exec.CommandContext(ctx, d.relay, append(args, "--config", d.config)...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

func (d *demo) whatNext(next string) {
	title("It runs until ^C. Try next, in another terminal")
	fmt.Printf(`  swaks --server %s --to bob_news@example.org --header 'Subject: hello'
  curl smtp://%s --mail-from me@example.net --mail-rcpt carol_x@example.org --crlf -T README.md
  bin/relay get-agent --config %s
  bin/relay disable-agent catchall --config %s
  tail -f %s

The next hop listens on %s; what arrives there is printed here.
`, d.listen, d.listen, d.config, d.config, filepath.Join(d.dir, "relay.log"), next)
}

// end stops what was started, the relay before its next hop, and removes what was written.
func (d *demo) end() {
	for i := len(d.kids) - 1; i >= 0; i-- {
		c := d.kids[i]
		_ = c.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = c.Process.Kill()
			<-done
		}
	}
	_ = os.RemoveAll(d.dir)
}

// freePort is this port of the loopback interface, or any other where it is taken.
func freePort(wanted int) (string, error) {
	for _, port := range []int{wanted, 0} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", errors.New("no port to listen on at 127.0.0.1")
}

func waitFor(address string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// copyUntilQuiet prints lines until none has come for a moment.
func copyUntilQuiet(w io.Writer, lines <-chan string) {
	for {
		select {
		case line, open := <-lines:
			if !open {
				return
			}
			fmt.Fprintln(w, line)
		case <-time.After(500 * time.Millisecond):
			return
		}
	}
}

func title(s string) { fmt.Printf("\n── %s ──\n\n", s) }

func indent(s string) string {
	var b bytes.Buffer
	for line := range strings.Lines(strings.ReplaceAll(s, "\r\n", "\n")) {
		b.WriteString("    " + line)
	}
	return b.String()
}
