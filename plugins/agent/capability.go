package agent

import (
	"slices"

	agentv1 "example.org/relay/proto/agent/v1"
)

// capabilities are what this package can do on the wire.
var capabilities = []agentv1.Capability{
	agentv1.Capability_CAPABILITY_DEFERRED_EVENTS,
	agentv1.Capability_CAPABILITY_BATCH_DECIDE,
	agentv1.Capability_CAPABILITY_RESUME,
	agentv1.Capability_CAPABILITY_LARGE_STATE,
	agentv1.Capability_CAPABILITY_CONTENT_READ,
	agentv1.Capability_CAPABILITY_CONTENT_FILE,
	agentv1.Capability_CAPABILITY_UPLOAD,
	agentv1.Capability_CAPABILITY_ROUTING,
	agentv1.Capability_CAPABILITY_DELIVERY,
	agentv1.Capability_CAPABILITY_SUBMIT,
}

// agreed are the capabilities that both sides have. A host may name some that this package
// does not know.
func agreed(host []agentv1.Capability) []agentv1.Capability {
	var both []agentv1.Capability
	for _, c := range capabilities {
		if slices.Contains(host, c) {
			both = append(both, c)
		}
	}
	return both
}

// can reports whether a capability is in force.
func (i *instance) can(c agentv1.Capability) bool { return slices.Contains(i.agreed, c) }
