package agents

import (
	"os"
	"syscall"
)

// killed reports whether a process ended by SIGKILL, which is ours in nearly every case.
func killed(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}
