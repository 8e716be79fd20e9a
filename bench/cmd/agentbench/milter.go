package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/d--j/go-milter"
)

// noop answers each event. The library's NoOpMilter may answer "skip", which
// would spare it the rest of the header fields.
type noop struct{ milter.NoOpMilter }

func (noop) RcptTo(string, string, milter.Modifier) (*milter.Response, error) {
	return milter.RespContinue, nil
}

func (noop) Header(string, string, milter.Modifier) (*milter.Response, error) {
	return milter.RespContinue, nil
}

func (noop) BodyChunk([]byte, milter.Modifier) (*milter.Response, error) {
	return milter.RespContinue, nil
}

// waived are the replies that the quiet form does without: all but that to the
// end of headers, its last event.
const waived = milter.OptNoConnReply | milter.OptNoHeloReply | milter.OptNoMailReply | milter.OptNoRcptReply |
	milter.OptNoDataReply | milter.OptNoHeaderReply

// serveMilter is the milter process. It ends with its standard input, which
// its parent holds: it cannot be left behind.
func serveMilter(socket string, quiet bool) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	opts := []milter.Option{milter.WithMilter(func() milter.Milter { return &noop{} }), milter.WithProtocol(milter.OptNoUnknown)}
	if quiet {
		opts = append(opts, milter.WithProtocol(waived))
	}
	s := milter.NewServer(opts...)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		s.Close()
	}()
	fmt.Println("ready")
	if err := s.Serve(l); !errors.Is(err, milter.ErrServerClosed) {
		return err
	}
	return nil
}

// milterPeer is a milter process and the MTA's end of its protocol.
type milterPeer struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	dir    string
	client *milter.Client
	body   bool
	quiet  bool
}

func startMilter(body, quiet bool) func(options) (peer, error) {
	return func(options) (peer, error) {
		dir, err := os.MkdirTemp("", "agentbench")
		if err != nil {
			return nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		socket := filepath.Join(dir, "milter")
		m := &milterPeer{cmd: exec.Command(self, "-milter", socket, fmt.Sprintf("-quiet=%v", quiet)), dir: dir, body: body, quiet: quiet}
		m.cmd.Stderr = os.Stderr
		if m.stdin, err = m.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		out, err := m.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := m.cmd.Start(); err != nil {
			return nil, err
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			return nil, errors.Join(fmt.Errorf("milter did not start: %w", err), m.close())
		}
		m.client = milter.NewClient("unix", socket, milter.WithAction(0), milter.WithoutDefaultMacros())
		return m, nil
	}
}

func (m *milterPeer) pids() []int { return []int{m.cmd.Process.Pid} }

func (m *milterPeer) close() error {
	m.stdin.Close()
	return errors.Join(m.cmd.Wait(), os.RemoveAll(m.dir))
}

// session opens a connection a session, as Postfix and Sendmail do, and sends
// no macros, which an MTA would.
func (m *milterPeer) session(rec *recorder) error {
	s, err := m.client.Session(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	// each makes one call. A waived reply is no round trip.
	each := func(answered bool, call func() (*milter.Action, error)) {
		if err != nil {
			return
		}
		start := time.Now()
		var act *milter.Action
		if act, err = call(); err == nil && act.Type != milter.ActionContinue {
			err = fmt.Errorf("milter answered %v", act)
		}
		if answered {
			rec.trip(start)
		}
	}
	all := !m.quiet
	each(all, func() (*milter.Action, error) {
		return s.Conn(helloName, milter.FamilyInet, clientPort, clientIP)
	})
	each(all, func() (*milter.Action, error) { return s.Helo(helloName) })
	each(all, func() (*milter.Action, error) { return s.Mail("<"+fromAddress+">", "") })
	each(all, func() (*milter.Action, error) { return s.Rcpt("<"+rcptAddress+">", "") })
	each(all, func() (*milter.Action, error) { return s.DataStart() })
	for _, f := range headerFields {
		each(all, func() (*milter.Action, error) { return s.HeaderField(f.name, f.value, nil) })
	}
	each(true, func() (*milter.Action, error) { return s.HeaderEnd() })
	if m.body {
		each(true, func() (*milter.Action, error) { return s.BodyChunk(body) })
		if err == nil {
			start := time.Now()
			_, _, err = s.End()
			rec.trip(start)
		}
	}
	return err
}
