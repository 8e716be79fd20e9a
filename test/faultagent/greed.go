package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"example.org/relay/plugins/agent"
)

// held keeps what hog has taken.
var held [][]byte

func hog(*faulty, *agent.Message) agent.Verdict {
	for range 1 << 10 {
		part := make([]byte, 1<<20)
		for i := 0; i < len(part); i += os.Getpagesize() {
			part[i] = 1
		}
		held = append(held, part)
	}
	return agent.Continue()
}

func forks(*faulty, *agent.Message) agent.Verdict {
	for range 500 {
		if err := exec.Command("/bin/sleep", "60").Start(); err != nil {
			return agent.Fail(fmt.Errorf("start a process: %w", err))
		}
	}
	return agent.Continue()
}

func fill(f *faulty, m *agent.Message) agent.Verdict {
	file, err := os.Create(filepath.Join(f.setup.StateDir, "fill-"+m.ID()))
	if err != nil {
		return agent.Fail(err)
	}
	defer file.Close()
	for range 64 {
		if _, err := file.Write(make([]byte, 1<<20)); err != nil {
			return agent.Fail(err)
		}
	}
	return agent.Continue()
}
