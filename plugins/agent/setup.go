package agent

import (
	"log/slog"
	"slices"
	"strings"
)

// Setup is what an agent is told when it is made.
type Setup struct {
	Name            string       // the installed name: the agent's namespace in the bags
	Role            string       // the transport service: FrontEnd, Hub or Edge
	Hostname        string       // the relay's own name
	AcceptedDomains []string     // "example.org", "*.example.org"
	Granted         []Permission // what the operator allows of what the agent asked for
	StateDir        string       // the agent may keep files here; survives restarts
	Log             *slog.Logger // goes to the relay's log by way of stderr

	settings []byte
}

// Settings decodes the operator's settings into the struct that v points to, whose fields
// carry json tags. Fields that are not given keep the value they have, so set the defaults
// first. An unknown field, a wrong type and whatever a Validate() error method of v reports
// are errors, all at once, each a FieldError. The tables of a list are named by their place in
// it, the first one "rules[0]". A pointer stays nil where the field is not given.
func (s Setup) Settings(v any) error { return decodeSettings(s.settings, v) }

// May reports whether the operator granted p.
func (s Setup) May(p Permission) bool { return slices.Contains(s.Granted, p) }

// Accepts reports whether the relay takes mail for the domain: it is one of the accepted
// domains or a sub-domain of one that begins with "*.".
func (s Setup) Accepts(domain string) bool { return Matches(s.AcceptedDomains, domain) }

// Matches reports whether a list like AcceptedDomains has the domain.
func Matches(domains []string, domain string) bool {
	for _, d := range domains {
		if suffix, ok := strings.CutPrefix(d, "*"); ok && strings.HasPrefix(suffix, ".") {
			if len(domain) > len(suffix) && strings.EqualFold(domain[len(domain)-len(suffix):], suffix) {
				return true
			}
		} else if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}
