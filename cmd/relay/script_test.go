package main

import (
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"relay": main})
}

// patience is how long a script waits for something to happen in another process.
const patience = 20 * time.Second

func TestScripts(t *testing.T) {
	agents := buildAgents(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(5 * time.Minute),
		Setup: func(env *testscript.Env) error {
			env.Setenv("AGENTS", agents)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"freeport": freePort,
			"await":    await,
			"listens":  listens,
			"signal":   signalTo,
			"send":     send,
			"hold":     hold,
		},
	})
}

// buildAgents builds the agents that scripts install.
func buildAgents(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "catchall"), "example.org/relay/plugins/catchall").CombinedOutput()
	if err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	return dir
}

// exits CODE COMMAND…: the command ends with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// freeport NAME: sets NAME to a port of the loopback interface that nobody listens on.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// until polls a condition.
func until(ts *testscript.TestScript, what string, done func() bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("%s: has not happened in %s", what, patience)
		}
	}
}

// await FILE PATTERN [NAME]: waits until a file that the pattern names has a match of the
// expression; NAME is set to its first group.
func await(ts *testscript.TestScript, _ bool, args []string) {
	expr, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var last []byte
	until(ts, fmt.Sprint("await ", args), func() bool {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		for _, f := range files {
			last, _ = os.ReadFile(f)
			if m := expr.FindSubmatch(last); m != nil {
				if len(args) > 2 {
					ts.Setenv(args[2], string(m[1]))
				}
				return true
			}
		}
		return false
	})
}

// listens ADDRESS: waits until somebody does.
func listens(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "listens "+args[0], func() bool {
		c, err := net.Dial("tcp", args[0])
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// signal NAME WORD: signals the background command that has the word in its line.
func signalTo(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	for _, c := range ts.BackgroundCmds() {
		if c.ProcessState == nil && strings.Contains(strings.Join(c.Args, " "), args[1]) {
			ts.Check(c.Process.Signal(signals[args[0]]))
			return
		}
	}
	ts.Fatalf("no background command with %q", args[1])
}

// send ADDRESS FROM TO FILE: sends a message. "! send" wants it refused.
func send(ts *testscript.TestScript, neg bool, args []string) {
	content := strings.ReplaceAll(ts.ReadFile(args[3]), "\n", "\r\n")
	err := smtp.SendMail(args[0], nil, args[1], []string{args[2]}, []byte(content))
	if neg {
		if err == nil {
			ts.Fatalf("the message was taken")
		}
		ts.Logf("%v", err)
		return
	}
	ts.Check(err)
}

// hold ADDRESS TO: begins to send a message and does not end it before the script does.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	c, err := smtp.Dial(args[0])
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	ts.Check(c.Mail("slow@example.net"))
	ts.Check(c.Rcpt(args[1]))
	w, err := c.Data()
	ts.Check(err)
	_, err = fmt.Fprint(w, "Subject: half a message\r\n\r\n", strings.Repeat("and no end\r\n", 10_000))
	ts.Check(err)
}
