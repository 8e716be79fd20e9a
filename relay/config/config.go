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
	TLSPairs        []TLSPair // the first is the default, the others by the name the client asks for
	ACME            *ACME     // nil: no certificates are asked for
	NextHops        map[string]NextHop
	FrontEnd        *FrontEnd // nil: not configured
	Hub             *Hub      // nil: not configured
	Edge            *Hub      // nil: not configured. Invariant: not both Hub and Edge.
	Limits          Limits
	Networks        Networks
	Auth            Auth
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

// ACME gets certificates from an authority by RFC 8555.
type ACME struct {
	Domains   []string `toml:"domains"`   // the names that certificates are for; at least one
	Directory string   `toml:"directory"` // the URL of the authority
	Email     string   `toml:"email"`     // where it may write to; "": none
	// TermsAgreed is the operator's word that the authority's terms are agreed to; it must be given.
	TermsAgreed bool   `toml:"terms_agreed"`
	Challenge   string `toml:"challenge" oneof:"http-01 tls-alpn-01"`
	Address     string `toml:"address"` // host:port where challenges are answered; "": the challenge's own port
	CA          string `toml:"ca"`      // PEM of whom to trust as the directory; "": the system's; absolute
}

// NextHop is a place that mail goes to.
type NextHop struct {
	Name      string   `toml:"-"`
	Addresses []string `toml:"addresses"` // host:port, tried in order; at least one
	// Weights, one for each address, replace the order by chance; 0: only when no other answers.
	Weights     []int        `toml:"weights"`
	Protocol    string       `toml:"protocol" oneof:"smtp lmtp"`
	TLS         string       `toml:"tls" oneof:"none opportunistic required verified"`
	TLSName     string       `toml:"tls_name"`    // whom the certificate must be for; "": the host of the address
	CA          string       `toml:"ca"`          // PEM of whom to trust with "verified"; "": the system's; absolute
	Certificate string       `toml:"certificate"` // of ours, shown where the server asks; "": none; absolute
	Key         string       `toml:"key"`         // its private key; absolute
	Auth        *NextHopAuth `toml:"auth"`        // nil: we do not log in
	// ForwardClient is how the next hop is told who the client is.
	ForwardClient string `toml:"forward_client" oneof:"none xclient xforward"`
	// Connections is how many there may be at a time, to all addresses together; 0: any number.
	Connections int `toml:"connections"`
}

// NextHopAuth is how the relay logs in at a next hop (RFC 4954).
type NextHopAuth struct {
	Mechanism    string `toml:"mechanism" oneof:"plain login xoauth2"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"` // plain, login: its first line; read at each login; absolute
	TokenFile    string `toml:"token_file"`    // xoauth2: likewise
}

// FrontEnd is the transport service without a queue.
type FrontEnd struct {
	NextHop        string `toml:"next_hop"` // a key of NextHops, or HubNextHop
	RecipientCheck string `toml:"recipient_check" oneof:"auto live deferred"`
	// RecipientCacheTTL is how long the next hop's answer to a recipient is kept in live mode; 0: not.
	RecipientCacheTTL  time.Duration `toml:"recipient_cache_ttl" zero:"yes"`
	RecipientCacheSize int           `toml:"recipient_cache_size" min:"1"`
	Listeners          []Listener    `toml:"listener"`
}

// HubNextHop is the FrontEnd's next hop that is the Hub of the same process.
const HubNextHop = "hub"

// Listener is an address to listen on.
type Listener struct {
	Address string `toml:"address"` // host:port; an empty host is all addresses
	TLS     string `toml:"tls" oneof:"none starttls implicit"`
	// Auth: "required" takes mail from those alone who have logged in.
	Auth              string `toml:"auth" oneof:"none optional required"`
	ClientCertificate string `toml:"client_certificate" oneof:"none request"` // whether the client is asked for one
	Banner            string `toml:"banner"`                                  // what follows the hostname in the greeting; "": "ESMTP relay"
	// Networks and Limits are those in force here: of what the listener's own tables leave out, the
	// general ones.
	Networks Networks `toml:"networks"`
	Limits   Limits   `toml:"limits"`
}

// Hub is a transport service with a queue: the Hub, or the Edge.
type Hub struct {
	NextHop       string        `toml:"next_hop"` // a key of NextHops
	RetryInterval time.Duration `toml:"retry_interval"`
	ExpireAfter   time.Duration `toml:"expire_after"`
	Listeners     []Listener    `toml:"listener"`
}

// Limits are what one client may ask for. 0 is no limit where the comment says so.
type Limits struct {
	MessageSize    int64         `toml:"message_size" as:"size"` // octets
	Recipients     int           `toml:"recipients" min:"1"`
	HeaderSize     int64         `toml:"header_size" as:"size"` // octets
	HeaderFields   int           `toml:"header_fields" min:"1"`
	CommandTimeout time.Duration `toml:"command_timeout"`
	DataTimeout    time.Duration `toml:"data_timeout"`
	// MessageTimeout is for a whole content, SessionTimeout for a session outside of one; 0: no limit.
	MessageTimeout time.Duration `toml:"message_timeout" zero:"yes"`
	SessionTimeout time.Duration `toml:"session_timeout" zero:"yes"`
	// MinimumRate is what a client must send while it sends anything, octets a second; 0: no limit.
	MinimumRate int64 `toml:"minimum_rate" as:"size" zero:"yes"`
	// Connections are those of a listener at a time; 0: what the descriptors allow. Per address and
	// per network: 0 is no limit.
	Connections           int `toml:"connections"`
	ConnectionsPerAddress int `toml:"connections_per_address"`
	ConnectionsPerNetwork int `toml:"connections_per_network"`
	// Errors are the bad commands of a session, UnknownCommands those of them that no server knows.
	Errors          int `toml:"errors" min:"1"`
	UnknownCommands int `toml:"unknown_commands" min:"1"`
	// Tarpit is by how much each refusal after the third is delayed; 0: not.
	Tarpit time.Duration `toml:"tarpit" zero:"yes"`
	// GreetingDelay is how long the banner waits for those who cannot; 0: not.
	GreetingDelay time.Duration `toml:"greeting_delay" zero:"yes"`
	// AuthFailures are those of a session; per address, those of ten minutes, 0: no limit.
	AuthFailures           int `toml:"auth_failures" min:"1"`
	AuthFailuresPerAddress int `toml:"auth_failures_per_address"`
	// BareLineEnds is what happens to content with a CR or LF that stands alone.
	BareLineEnds string `toml:"bare_line_ends" oneof:"refuse repair"`
}

// Networks are three rights that clients have by their address.
type Networks struct {
	Relay   []netip.Prefix `toml:"relay"`
	Proxy   []netip.Prefix `toml:"proxy"`
	XClient []netip.Prefix `toml:"xclient"`
}

// Auth is who may log in.
type Auth struct {
	Users string `toml:"users"` // the file of users and their hashed passwords; "": nobody; absolute
}

// Agents are the defaults of agents that say nothing themselves.
type Agents struct {
	Timeout   time.Duration `toml:"timeout"`
	OnFailure string        `toml:"on_failure" oneof:"tempfail continue"`
	Sessions  int           `toml:"sessions"`                    // at the same time; 0: no limit
	Memory    int64         `toml:"memory" as:"size" zero:"yes"` // octets, of one agent's processes; 0: no limit
	Processor int           `toml:"processor"`                   // percent of one processor; 0: no limit
	Processes int           `toml:"processes"`                   // of one agent, threads too; 0: no limit
	User      string        `toml:"user"`                        // the system user they run as; "": the relay's own
	ReadOnly  bool          `toml:"read_only"`                   // they write their own folders only
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
