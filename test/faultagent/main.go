// Faultagent is an agent that misbehaves on demand, for the tests of what the relay does then.
//
// Before the handshake, a file beside the program, its path with ".mode" added, says what is
// wrong; without the file the start is clean:
//
//	exit        ends at once with code 3
//	garbage     prints a line before the handshake
//	handshake   speaks a protocol version that nobody has
//	silent      prints nothing and stays
//
// After it the factory decides. The factory "marker" does what the Subject says, as in
// "Subject: fault: crash"; a message without a marker passes. Each other factory of faults.go
// does its one fault to every message. Every message that passes gets the field
// "X-Fault-Agent: passed".
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

func main() {
	version := startFault()
	service, err := agent.NewService(slog.New(slog.NewTextHandler(os.Stderr, nil)), factories()...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: version, MagicCookieKey: agentv1.MagicCookieKey, MagicCookieValue: agentv1.MagicCookieValue,
		},
		Plugins:    plugin.PluginSet{agentv1.PluginName: &glue{service: tamperer{service}}},
		GRPCServer: plugin.DefaultGRPCServer,
	})
}

// startFault does what the file beside the program says and returns the protocol version to
// speak.
func startFault() uint {
	path, err := os.Executable()
	if err != nil {
		return agentv1.ProtocolVersion
	}
	mode, _ := os.ReadFile(path + ".mode")
	switch strings.TrimSpace(string(mode)) {
	case "exit":
		os.Exit(3)
	case "garbage":
		fmt.Println("starting up, please wait")
	case "handshake":
		return 99
	case "silent":
		select {}
	}
	return agentv1.ProtocolVersion
}

type glue struct {
	plugin.NetRPCUnsupportedPlugin
	service agentv1.AgentServiceServer
}

func (g *glue) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	agentv1.RegisterAgentServiceServer(s, g.service)
	return nil
}

func (g *glue) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("an agent is no host")
}
