package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/relay/plugins/agent"
)

// faults are what a message can meet. Those of tamper.go are done to the verdict on its way.
var faults = map[string]func(f *faulty, m *agent.Message) agent.Verdict{
	"crash":      func(*faulty, *agent.Message) agent.Verdict { os.Exit(3); return agent.Verdict{} },
	"crash-once": crashOnce, // ends the process the first time it sees the message
	"hang":       func(*faulty, *agent.Message) agent.Verdict { select {} },
	"stop":       stop, // SIGSTOP to itself
	"panic":      func(*faulty, *agent.Message) agent.Verdict { panic("fault on demand") },
	"inject":     inject,                // a header value that would be two fields
	"late":       late,                  // a recipient edit that the factory does not declare
	"huge":       tampered("huge"),      // a reason of 5 MiB
	"huge-edit":  tampered("huge-edit"), // an edit of 5 MiB
	"seq":        tampered("seq"),       // a verdict for another event
	"twice":      tampered("twice"),     // two verdicts for one event
	"class":      tampered("class"),     // a refusal with a 250
	"defer":      tampered("defer"),     // a verdict that no FrontEnd has
	"ungranted":  tampered("ungranted"), // an edit that it did not ask to make
	"gone":       tampered("gone"),      // an edit of a field that is not there
	"many":       tampered("many"),      // 10,000 edits
	"close":      tampered("close"),     // the end of the stream in place of a verdict
	"reject":     func(*faulty, *agent.Message) agent.Verdict { return agent.Reject("fault on demand") },
	"tempfail":   func(*faulty, *agent.Message) agent.Verdict { return agent.TempFail("fault on demand") },
	"discard":    func(*faulty, *agent.Message) agent.Verdict { return agent.Discard() },
	"hog":        hog,   // takes a gigabyte of memory
	"forks":      forks, // starts processes without end, or 500
	"fill":       fill,  // writes its directory full, or 64 MB
	"fail":       func(*faulty, *agent.Message) agent.Verdict { return agent.Fail(fmt.Errorf("fault on demand")) },
}

// The process' own streams: go-plugin puts pipes in their place.
var stdout, stderr = os.Stdout, os.Stderr

// noises are done all the time by a factory of that name.
var noises = map[string]func(){
	"stderr": func() {
		for {
			fmt.Fprintln(stderr, `{"@message":5}`)
			time.Sleep(time.Millisecond)
		}
	},
	"stdout": func() { // one line longer than any line buffer
		_, _ = stdout.WriteString(strings.Repeat("x", 1<<20) + "\n")
	},
}

func factories() []agent.Factory {
	asks := agent.Asks(agent.ChangeHeaders, agent.ChangeRecipients, agent.RejectMail, agent.DiscardMail)
	list := []agent.Factory{
		agent.Build("marker", build(""), asks, agent.Describe("does the fault that the Subject names")),
		agent.New("connect", connect{}, agent.Describe("binds OnConnect")),
		agent.New("data", data{}, agent.Describe("binds OnEndOfData")),
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		list = append(list, agent.Build(name, build(name), asks, agent.Describe("does its fault to every message")))
	}
	for _, name := range slices.Sorted(maps.Keys(noises)) {
		list = append(list, agent.Build(name, build(name), asks, agent.Describe("makes noise")))
	}
	return list
}

type faulty struct {
	fault string // empty: the Subject says
	setup agent.Setup
}

func build(name string) func(agent.Setup) (*faulty, error) {
	return func(s agent.Setup) (*faulty, error) {
		if noise, ok := noises[name]; ok {
			go noise()
		}
		return &faulty{fault: name, setup: s}, nil
	}
}

// OnEndOfHeaders does the fault.
func (f *faulty) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
	name := f.fault
	if name == "" {
		name, _ = strings.CutPrefix(m.Header().Text("Subject"), "fault: ")
	}
	if text, ok := strings.CutPrefix(name, "sleep "); ok {
		if d, err := time.ParseDuration(text); err == nil {
			time.Sleep(d)
		}
	}
	m.Header().Add("X-Fault-Agent", "passed")
	if do, ok := faults[name]; ok {
		return do(f, m)
	}
	return agent.Continue()
}

// crashOnce leaves a file in the state directory, which lives through the crash.
func crashOnce(f *faulty, m *agent.Message) agent.Verdict {
	mark := filepath.Join(f.setup.StateDir, "crashed-"+m.ID())
	file, err := os.OpenFile(mark, os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_ = file.Close()
		os.Exit(3)
	}
	return agent.Verdict{}
}

func stop(*faulty, *agent.Message) agent.Verdict {
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	return agent.Verdict{}
}

func inject(_ *faulty, m *agent.Message) agent.Verdict {
	m.Header().AddRaw("X-Injected", " a\r\nBcc: victim@example.org")
	return agent.Verdict{}
}

func late(_ *faulty, m *agent.Message) agent.Verdict {
	m.AddRecipient("late@example.org")
	return agent.Verdict{}
}

type connect struct{}

func (connect) OnConnect(context.Context, *agent.Session) agent.Verdict { return agent.Continue() }

type data struct{}

func (data) OnEndOfData(context.Context, *agent.Message) agent.Verdict { return agent.Continue() }
