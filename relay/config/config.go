package config

import (
	"net/netip"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// Config is a whole, valid configuration. It is not changed once it is loaded.
type Config struct {
	File            string // its path, absolute
	Hostname        string
	StateDir        string // absolute
	AcceptedDomains []AcceptedDomain
	TLSPairs        []TLSPair // the first is the default
	NextHops        map[string]NextHop
	FrontEnd        *FrontEnd // nil: not configured
	Hub             *Hub      // nil: not configured
	Edge            *Hub      // nil: not configured. Invariant: not both Hub and Edge.
	Limits          Limits
	Networks        Networks
	Agents          Agents
}

// AcceptedDomain is a domain that strangers may send to.
type AcceptedDomain struct {
	Name       string `toml:"name"` // "example.org", or "*.example.org" for its sub-domains
	Recipients string `toml:"recipients" oneof:"verify map any"`
}

// TLSPair is a certificate chain and its key. The paths are absolute.
type TLSPair struct {
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
}

// NextHop is a place that mail goes to.
type NextHop struct {
	Name      string   `toml:"-"`
	Addresses []string `toml:"addresses"` // host:port, tried in order; at least one
	Protocol  string   `toml:"protocol" oneof:"smtp lmtp"`
	TLS       string   `toml:"tls" oneof:"none opportunistic required verified"`
}

// FrontEnd is the transport service without a queue.
type FrontEnd struct {
	NextHop        string     `toml:"next_hop"` // a key of NextHops, or HubNextHop
	RecipientCheck string     `toml:"recipient_check" oneof:"auto live deferred"`
	Listeners      []Listener `toml:"listener"`
}

// HubNextHop is the FrontEnd's next hop that is the Hub of the same process.
const HubNextHop = "hub"

// Listener is an address to listen on.
type Listener struct {
	Address string `toml:"address"` // host:port; an empty host is all addresses
	TLS     string `toml:"tls" oneof:"none starttls implicit"`
}

// Hub is a transport service with a queue: the Hub, or the Edge.
type Hub struct {
	NextHop       string        `toml:"next_hop"` // a key of NextHops
	RetryInterval time.Duration `toml:"retry_interval"`
	ExpireAfter   time.Duration `toml:"expire_after"`
	Listeners     []Listener    `toml:"listener"`
}

// Limits are what one client may ask for.
type Limits struct {
	MessageSize    int64         `toml:"message_size" as:"size"` // octets
	Recipients     int           `toml:"recipients" min:"1"`
	HeaderSize     int64         `toml:"header_size" as:"size"` // octets
	CommandTimeout time.Duration `toml:"command_timeout"`
	DataTimeout    time.Duration `toml:"data_timeout"`
	// ConnectionsPerAddress is how many sessions one address may have at a time; 0: any number.
	ConnectionsPerAddress int `toml:"connections_per_address"`
}

// Networks are three rights that clients have by their address.
type Networks struct {
	Relay   []netip.Prefix `toml:"relay"`
	Proxy   []netip.Prefix `toml:"proxy"`
	XClient []netip.Prefix `toml:"xclient"`
}

// Agents are the defaults of agents that say nothing themselves.
type Agents struct {
	Timeout   time.Duration `toml:"timeout"`
	OnFailure string        `toml:"on_failure" oneof:"tempfail continue"`
}

// Domains returns the accepted domains as a set.
func (c *Config) Domains() mail.Domains {
	names := make([]string, len(c.AcceptedDomains))
	for i := range c.AcceptedDomains {
		names[i] = c.AcceptedDomains[i].Name
	}
	return mail.NewDomains(names...)
}

// Services returns the transport services that are configured.
func (c *Config) Services() []event.Role {
	var all []event.Role
	if c.FrontEnd != nil {
		all = append(all, event.FrontEnd)
	}
	if c.Hub != nil {
		all = append(all, event.Hub)
	}
	if c.Edge != nil {
		all = append(all, event.Edge)
	}
	return all
}
