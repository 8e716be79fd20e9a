package agents

import (
	"testing"

	"example.org/relay/plugins/agent"
	"example.org/relay/relay/event"
)

// The SDK tells authors which service has which event, without importing the relay.
func TestTheSDKKnowsTheRoleMatrix(t *testing.T) {
	for _, k := range event.Kinds() {
		for _, r := range []event.Role{event.FrontEnd, event.Hub, event.Edge, event.MailboxSubmission} {
			if got, want := agent.Event(k).OfferedBy(string(r)), r.Has(k); got != want {
				t.Errorf("%s at %s: the SDK says %v, the relay %v", k, r, got, want)
			}
		}
		if got := agent.Event(k).String(); got != k.String() {
			t.Errorf("the SDK calls %s %s", k, got)
		}
	}
}
