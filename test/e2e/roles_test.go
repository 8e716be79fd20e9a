package e2e

import (
	"context"
	"strings"
	"testing"

	"example.org/relay/proto/control/v1"
	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// What a role does not support is refused at install, with a sentence that says what
// would take it, and nothing is half installed.
func TestRoleMatrixAtInstall(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	r := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr()})
	withHub := relaytest.Start(t, relaytest.Options{NextHop: sink.Addr(), Extra: "[hub]\nnext_hop = \"mailserver\"\n"})
	path := relaytest.Build(t, "test/faultagent")
	for _, tt := range []struct {
		name, service, factory string
		relay                  *relaytest.Relay
		want                   []string
	}{
		{"a service that is not configured", "Hub", "marker", r, []string{"Hub", "not configured", "FrontEnd"}},
		{"OnEndOfData at the FrontEnd", "FrontEnd", "data", r, []string{"OnEndOfData", "FrontEnd", "Hub or Edge"}},
		{"OnConnect at the Hub", "Hub", "connect", withHub, []string{"OnConnect", "Hub", "FrontEnd or Edge"}},
		{"a service without agents", "MailboxDelivery", "marker", r, []string{"no agents in this service"}},
		{"a service nobody knows", "Frontdoor", "marker", r, []string{"Frontdoor", "FrontEnd, Hub, Edge"}},
		{"no factory named", "FrontEnd", "", r, []string{"factory", "marker"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.relay.InstallAgent(context.Background(), &controlv1.InstallAgentRequest{
				Name: "test", Service: tt.service, Path: path, Factory: tt.factory,
			})
			if err == nil {
				t.Fatal("was installed")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			all, err := tt.relay.GetAgents(context.Background(), &controlv1.GetAgentsRequest{})
			if err != nil || len(all.Agents) != 0 {
				t.Errorf("half installed: %v, %v", all, err)
			}
		})
	}
}
