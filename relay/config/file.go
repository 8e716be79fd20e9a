package config

import "time"

// file is config.toml as it is written. Each key is here once: the decoder, the manual's
// test and the suggestions for mistyped keys all go by these tags.
type file struct {
	Hostname        string           `toml:"hostname"`
	StateDir        string           `toml:"state_dir"`
	AcceptedDomains []AcceptedDomain `toml:"accepted_domain"`
	TLS             struct {
		Pairs []TLSPair `toml:"pair"`
		ACME  *ACME     `toml:"acme"`
	} `toml:"tls"`
	NextHops map[string]NextHop `toml:"next_hop"`
	FrontEnd *FrontEnd          `toml:"frontend"`
	Hub      *Hub               `toml:"hub"`
	Edge     *Hub               `toml:"edge"`
	Limits   Limits             `toml:"limits"`
	Networks Networks           `toml:"networks"`
	Auth     Auth               `toml:"auth"`
	Agents   Agents             `toml:"agents"`
}

// newFile returns what an empty file means. Tables that may be there several times bring
// their defaults by a method of their own; what has no default is empty, and missed by
// the rules.
func newFile() *file {
	return &file{
		StateDir: "var",
		Limits: Limits{
			MessageSize:            35_000_000,
			Recipients:             200,
			HeaderSize:             256_000,
			HeaderFields:           10_000,
			CommandTimeout:         5 * time.Minute,
			DataTimeout:            10 * time.Minute,
			MessageTimeout:         time.Hour,
			SessionTimeout:         12 * time.Hour,
			MinimumRate:            100,
			Errors:                 20,
			UnknownCommands:        10,
			AuthFailures:           3,
			AuthFailuresPerAddress: 20,
			BareLineEnds:           "refuse",
		},
		Agents: Agents{Timeout: 10 * time.Second, OnFailure: "tempfail"},
	}
}

func (a *AcceptedDomain) setDefaults() { a.Recipients = "verify" }

func (a *ACME) setDefaults() { a.Directory, a.Challenge = letsEncrypt, "http-01" }

const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func (n *NextHop) setDefaults() {
	n.Protocol, n.TLS, n.ForwardClient = "smtp", "opportunistic", "none"
}

func (a *NextHopAuth) setDefaults() { a.Mechanism = "plain" }

func (f *FrontEnd) setDefaults() { f.RecipientCheck, f.RecipientCacheSize = "auto", 100_000 }

func (l *Listener) setDefaults() { l.Auth, l.ClientCertificate = "none", "none" }

func (h *Hub) setDefaults() { h.RetryInterval, h.ExpireAfter = 5*time.Minute, 48*time.Hour }
