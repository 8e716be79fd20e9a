package confine

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs do on an operating system thread of its own, which ends with it: what do has
// done to the thread is nobody else's. The main thread cannot end, so that it is never taken:
// where the goroutine finds itself on it, it keeps it busy until another thread has the work.
func onThread(do func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			do()
			return // without UnlockOSThread: the thread ends
		}
		taken := make(chan struct{})
		onThread(func() {
			close(taken)
			do()
		})
		<-taken
		runtime.UnlockOSThread()
	}()
}
