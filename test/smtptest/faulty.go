package smtptest

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
)

// Fault is what a next hop does wrong.
type Fault struct {
	// At is the stage: "connect", "greeting", a command by its verb, "content" for when the first of
	// the content has come, "." for the final dot.
	At string
	// Say is what it says there in place of what it should, octet for octet. At "content" it says so
	// beside what it should, which comes after the dot.
	Say string
	// Close and Hang are what it does after that: it hangs up, or reads on and says nothing more.
	Close, Hang bool
	// Extensions are the lines of its EHLO reply; nil is PIPELINING and 8BITMIME.
	Extensions []string
}

// Faulty is a next hop that does something wrong at one stage, on each connection, and is well
// otherwise. Its Fault is set before Start or Serve.
type Faulty struct {
	Fault
	// Deaf, where set, makes it stop reading at "content" until Deaf is closed, and then hang up.
	Deaf chan struct{}

	listener net.Listener
	mu       sync.Mutex
	taken    int
	once     sync.Once
	done     chan struct{}
}

// Done is closed when it has done wrong.
func (f *Faulty) Done() <-chan struct{} { return f.done }

// Taken is how many messages have come to their final dot and were not refused there.
func (f *Faulty) Taken() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.taken
}

// Addr is where it listens.
func (f *Faulty) Addr() string { return f.listener.Addr().String() }

// Start listens on a free port until the test ends.
func (f *Faulty) Start(t testing.TB) *Faulty {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.listener, f.done = l, make(chan struct{})
	if f.At == "connect" {
		l.Close() // nobody listens there any more
		return f
	}
	accept(t, l, f.Serve)
	return f
}

// Serve plays one connection to its end.
func (f *Faulty) Serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	// say answers at a stage, and reports whether to go on.
	say := func(stage, usual string) bool {
		if stage == f.At {
			usual = f.Say
		}
		var err error
		if usual != "" { // a pipe waits for the reader of nothing
			_, err = c.Write([]byte(usual))
		}
		if stage == f.At && f.done != nil {
			defer f.once.Do(func() { close(f.done) })
		}
		if err != nil || stage == f.At && f.Close {
			c.Close()
			return false
		}
		for stage == f.At && f.Hang {
			if _, err := r.ReadByte(); err != nil {
				return false
			}
		}
		return true
	}
	if !say("greeting", "220 faulty.example.org ESMTP\r\n") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimRight(line, "\r\n")), " ")
		usual := "250 2.0.0 ok\r\n"
		switch verb {
		case "EHLO":
			usual = f.hello()
		case "DATA":
			usual = "354 go ahead\r\n"
		case "QUIT":
			usual = "221 2.0.0 bye\r\n"
		}
		if !say(verb, usual) || verb == "QUIT" {
			return
		}
		if verb != "DATA" || f.At == "DATA" && !strings.HasPrefix(f.Say, "354") {
			continue
		}
		if !f.content(r, say) {
			return
		}
	}
}

// content reads to the final dot and answers it.
func (f *Faulty) content(r *bufio.Reader, say func(stage, usual string) bool) bool {
	if _, err := r.Peek(1); err != nil || !say("content", "") {
		return false
	}
	if f.Deaf != nil {
		<-f.Deaf
		return false
	}
	if _, ok := readData(r); !ok {
		return false
	}
	if f.At != "." || f.Say == "" || f.Say[0] == '2' {
		f.mu.Lock()
		f.taken++
		f.mu.Unlock()
	}
	return say(".", "250 2.0.0 kept\r\n")
}

func (f *Faulty) hello() string {
	extensions := f.Extensions
	if extensions == nil {
		extensions = []string{"PIPELINING", "8BITMIME"}
	}
	var b strings.Builder
	b.WriteString("250-faulty.example.org\r\n")
	for _, e := range extensions {
		b.WriteString("250-" + e + "\r\n")
	}
	return b.String() + "250 HELP\r\n"
}
