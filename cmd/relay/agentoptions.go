package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay"
)

// The groups of flags that install-agent and set-agent share, as --help has them.
const (
	permissionFlags = "What it may do:"
	narrowingFlags  = "What it is asked about (what is given several times, any of it):"
	confiningFlags  = "What its processes may use and see (default takes back what was set; see [agents]):"
)

// agentOptions are the flags that install-agent and set-agent share.
type agentOptions struct {
	grant, deny                                            []string
	listeners, recipientDomains, senderDomains, readPaths  []string
	direction, authenticated, maxSize                      string
	sessions, memory, processor, processes, user, readOnly string
}

func (o *agentOptions) flags(c *cobra.Command, grant string) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringSliceVar(&o.grant, "grant", nil, grant)
	f.StringSliceVar(&o.deny, "deny", nil, "what of it not, a `LIST`, or all")
	takeGroup(c, permissionFlags, f)

	f = pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringSliceVar(&o.listeners, "only-listener", nil, "sessions on this `ADDRESS`, as configured")
	f.StringSliceVar(&o.recipientDomains, "only-recipient-domain", nil, "mail with a recipient in this `DOMAIN`; *.example.org is all below it")
	f.StringSliceVar(&o.senderDomains, "only-sender-domain", nil, "mail from this `DOMAIN`")
	f.StringVar(&o.direction, "only-direction", "", "inbound (clients outside of networks.relay), internal or any: `WHICH`")
	f.StringVar(&o.authenticated, "only-authenticated", "", "yes (the client has logged in), no or any: `WHICH`")
	f.StringVar(&o.maxSize, "only-max-size", "", "mail up to this `SIZE`, such as 10MB; 0: any")
	takeGroup(c, narrowingFlags, f)

	f = pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringVar(&o.sessions, "max-sessions", "", "sessions it is asked about at the same time, a `NUMBER`; 0: no limit")
	f.StringVar(&o.memory, "max-memory", "", "memory, a `SIZE` such as 200MB; 0: no limit")
	f.StringVar(&o.processor, "max-processor", "", "processor time in `PERCENT` of one processor; 0: no limit")
	f.StringVar(&o.processes, "max-processes", "", "processes and threads, a `NUMBER`; 0: no limit")
	f.StringVar(&o.user, "user", "", "the system `USER` it runs as; \"\": the relay's own")
	f.Var((*choice)(&o.readOnly), "read-only", "it writes to its own folders only and reads little else; or no, or default")
	f.Lookup("read-only").NoOptDefVal = "yes"
	f.StringSliceVar(&o.readPaths, "read-path", nil, "a `PATH` that it can read with --read-only; \"\": none but its own")
	takeGroup(c, confiningFlags, f)
}

// request is what was given, nil where nothing was. All that is not written as it must be is
// said at once.
func (o *agentOptions) request(given func(string) bool) (*controlv1.AgentOptions, error) {
	var r controlv1.AgentOptions
	some := false
	for _, l := range []struct {
		flag string
		from []string
		to   **controlv1.StringList
	}{
		{"grant", o.grant, &r.Grant},
		{"deny", o.deny, &r.Deny},
		{"only-listener", o.listeners, &r.OnlyListeners},
		{"only-recipient-domain", o.recipientDomains, &r.OnlyRecipientDomains},
		{"only-sender-domain", o.senderDomains, &r.OnlySenderDomains},
		{"read-path", o.readPaths, &r.ReadPaths},
	} {
		if !given(l.flag) {
			continue
		}
		some = true
		*l.to = &controlv1.StringList{}
		for _, v := range l.from {
			if v = strings.TrimSpace(v); v != "" {
				(*l.to).Values = append((*l.to).Values, v)
			}
		}
	}
	for i, p := range r.ReadPaths.GetValues() {
		var err error
		if r.ReadPaths.Values[i], err = filepath.Abs(p); err != nil {
			return nil, err
		}
	}
	for _, s := range []struct {
		flag string
		from *string
		to   **string
	}{
		{"only-direction", &o.direction, &r.OnlyDirection},
		{"only-authenticated", &o.authenticated, &r.OnlyAuthenticated},
		{"only-max-size", &o.maxSize, &r.OnlyMaxSize},
		{"max-sessions", &o.sessions, &r.MaxSessions},
		{"max-memory", &o.memory, &r.MaxMemory},
		{"max-processor", &o.processor, &r.MaxProcessor},
		{"max-processes", &o.processes, &r.MaxProcesses},
		{"user", &o.user, &r.User},
		{"read-only", &o.readOnly, &r.ReadOnly},
	} {
		if given(s.flag) {
			some = true
			*s.to = s.from
		}
	}
	if !some {
		return nil, nil
	}
	if err := relay.CheckAgentOptions(&r); err != nil {
		return nil, usageError{err}
	}
	return &r, nil
}
