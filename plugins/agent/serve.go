package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"example.org/relay/plugins/agent/processors"
	agentv1 "example.org/relay/proto/agent/v1"
)

// Serve serves the factories to the relay that started the process, and never returns: it is
// the last line of main. What Check refuses it refuses, with a sentence on stderr and exit
// code 1. Standard output and error both go to the relay's log.
//
// The process ends when the relay ends it, and when the relay is gone. SIGINT and SIGTERM
// do not end it while the relay holds it: sent to the whole group they would take the agent
// away before the relay has finished its sessions.
func Serve(factories ...Factory) {
	stderr := os.Stderr
	answers, err := NewService(newLog(stderr), factories...)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	if os.Getenv(agentv1.MagicCookieKey) != agentv1.MagicCookieValue {
		fmt.Fprintf(stderr, "%s is an agent of a relay, which starts it by itself: relay install-agent NAME --path %[1]s\n", os.Args[0])
		os.Exit(1)
	}
	if os.Getenv("GOGC") == "" {
		// Events leave much garbage behind and little that lives: fewer collections cost a few MB.
		debug.SetGCPercent(400)
	}
	processors.Share()
	own := answers.(*service)
	own.watches.gone = func() { os.Exit(0) }
	ignoreTermination(&own.watches)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: agentv1.ProtocolVersion, MagicCookieKey: agentv1.MagicCookieKey, MagicCookieValue: agentv1.MagicCookieValue,
		},
		Plugins:    plugin.PluginSet{agentv1.PluginName: &glue{service: own, stderr: stderr}},
		GRPCServer: newServer,
		Logger:     hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: stderr}),
	})
	os.Exit(0)
}

// newServer makes the gRPC server. Its windows are fixed: no probing for bandwidth on a unix
// socket, and bounded memory a stream. The receive size leaves room above the frames' 1 MiB.
func newServer(options []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(8<<20),
		grpc.StaticStreamWindowSize(1<<20),
		grpc.StaticConnWindowSize(4<<20),
		grpc.ReadBufferSize(64<<10),
		grpc.WriteBufferSize(64<<10),
	)...)
}

// glue registers the service with go-plugin.
type glue struct {
	plugin.NetRPCUnsupportedPlugin
	service *service
	stderr  *os.File
}

// GRPCServer registers the service.
func (g *glue) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	agentv1.RegisterAgentServiceServer(s, &started{service: g.service, stderr: g.stderr})
	return nil
}

// GRPCClient is for hosts; an agent is none.
func (g *glue) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("an agent is no host")
}

// started gives the process its stderr back once the host calls: go-plugin puts pipes in the
// place of stdout and stderr, whose reader is the host's own RPC, and a host that does not
// read would stop an agent that prints.
type started struct {
	*service
	stderr *os.File
	once   sync.Once
}

func (s *started) restore() {
	s.once.Do(func() { os.Stdout, os.Stderr = s.stderr, s.stderr })
}

// Describe is the host's first call, or Configure is.
func (s *started) Describe(ctx context.Context, q *agentv1.DescribeRequest) (*agentv1.DescribeResponse, error) {
	s.restore()
	return s.service.Describe(ctx, q)
}

// Configure is the host's first call where it knows the program already.
func (s *started) Configure(ctx context.Context, q *agentv1.ConfigureRequest) (*agentv1.ConfigureResponse, error) {
	s.restore()
	return s.service.Configure(ctx, q)
}

// ignoreTermination keeps SIGTERM from ending the process while a relay watches it. go-plugin
// does it for SIGINT.
func ignoreTermination(w *watches) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		for range signals {
			if !w.any() {
				os.Exit(0)
			}
		}
	}()
}

// newLog writes to stderr, which the relay reads line by line and stamps with the time.
func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}
