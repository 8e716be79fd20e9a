package agentv1

// The handshake of hashicorp/go-plugin, as host and agents must spell it.
const (
	// ProtocolVersion is the major version of the contract: go-plugin's APP version.
	ProtocolVersion = 1

	// MagicCookieKey and MagicCookieValue are the environment variable by which an agent
	// knows that a relay started it. They protect nothing: they spare a user who starts an
	// agent by hand the wondering.
	MagicCookieKey   = "RELAY_AGENT"
	MagicCookieValue = "relay.agent.v1"

	// PluginName is the name the agent's service is dispensed by.
	PluginName = "agent"
)

// Limits of the wire, the same for both sides. The host sends them in Configure.
const (
	MaxFrameBytes      = 1 << 20
	InlineContentBytes = 64 << 10
	MaxEdits           = 1000
	MaxPropertyBytes   = 64 << 10
)
