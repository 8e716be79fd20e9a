package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/config"
)

func (a *app) explain() *cobra.Command {
	var r controlv1.ExplainRequest
	var from, size string
	c := &cobra.Command{
		Use:   "explain [--listener ADDR] [--ip IP] [--hello NAME] [--user NAME] [--from ADDR] [--to ADDR]... [--size SIZE]",
		Short: "Say what would happen to a mail, before it comes",
		Long: `Say what would happen to a mail, before it comes: event by event which agents
are asked, in their order, and which are not, and why; whether the relay itself
takes each recipient; when recipients are verified; and where mail goes. No
agent is asked. What is not said counts as not known.`,
		Example: "  relay explain --from bob@example.net --to alice@example.org\n" +
			"  relay explain --listener :587 --ip 192.0.2.1 --user alice --from alice@example.org --to bob@example.net --size 10MB",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("from") {
				r.From = &from
			}
			o, err := a.operator(cmd.Context())
			if err != nil {
				return err
			}
			defer o.Close()
			got, err := o.Explain(cmd.Context(), &r)
			if err != nil {
				return err
			}
			return a.showExplained(got)
		},
		PreRunE: func(*cobra.Command, []string) error {
			if size == "" {
				return nil
			}
			n, err := config.ParseSize(size)
			if err != nil {
				return wrongUse("--size: %w", err)
			}
			r.Size = uint64(n)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&r.Listener, "listener", "", "the `ADDR` of the listener, as configured (default the only one)")
	f.StringVar(&r.Ip, "ip", "", "the client's `IP` (default one that is not in networks.relay)")
	f.StringVar(&r.Hello, "hello", "", "the `NAME` it says in EHLO")
	f.StringVar(&r.User, "user", "", "the `NAME` it has logged in as (default it has not)")
	f.StringVar(&from, "from", "", "the `ADDR`ess of the sender; \"\" is the null sender")
	f.StringArrayVar(&r.To, "to", nil, "the `ADDR`ess of a recipient; again for each")
	f.StringVar(&size, "size", "", "the `SIZE` that MAIL says, such as 10MB (default it does not say)")
	return c
}

// showExplained prints a block for each event, then what the relay and the next hop do.
func (a *app) showExplained(e *controlv1.ExplainResponse) error {
	if a.json {
		return a.printJSON(explainedShape(e))
	}
	a.say("%s on listener %s", e.GetService(), e.GetListener())
	for _, ev := range e.GetEvents() {
		a.say("")
		about := ""
		if ev.GetRecipient() != "" {
			about = " for " + ev.GetRecipient()
		}
		a.say("%s%s, at most %s for all agents", ev.GetEvent(), about, ev.GetLimit())
		rows := [][]string{{"  PRIORITY", "AGENT", "ASKED", "TIMEOUT", "ON FAILURE", "PROCESS", "WHY"}}
		for _, g := range ev.GetAgents() {
			rows = append(rows, []string{
				fmt.Sprintf("  %d", g.GetPriority()), g.GetName(), asked(g), g.GetTimeout(), g.GetOnFailure(), g.GetState(), g.GetWhy(),
			})
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	if len(e.GetEvents()) == 0 {
		a.say("no agent is enabled")
	}
	if len(e.GetRecipients()) > 0 {
		a.say("")
		rows := [][]string{{"RECIPIENT", "TAKEN", "WHY"}}
		for _, r := range e.GetRecipients() {
			rows = append(rows, []string{r.GetAddress(), yesNo(r.GetTaken()), r.GetWhy()})
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	a.say("")
	hop := config.NextHop{Addresses: e.GetAddresses()}
	for _, w := range e.GetWeights() {
		hop.Weights = append(hop.Weights, int(w))
	}
	a.say("next hop %s: %s, TLS %s", e.GetNextHop(), addresses(hop), e.GetTls())
	for _, n := range e.GetNotes() {
		a.say("  %s", n)
	}
	return nil
}

// asked says what an agent has to do with an event.
func asked(g *controlv1.ExplainedAgent) string {
	switch {
	case !g.GetAsked():
		return "no"
	case g.GetWatches():
		return "watches"
	}
	return "decides"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// explainShape is the answer of explain.
type explainShape struct {
	Service            string             `json:"service"`
	Listener           string             `json:"listener"`
	IP                 string             `json:"ip"`
	Direction          string             `json:"direction"`
	Events             []explainedEvent   `json:"events"`
	Recipients         []explainedAddress `json:"recipients"`
	RecipientsVerified string             `json:"recipients_verified"` // live, deferred
	DeferredFor        []string           `json:"deferred_for"`
	NextHop            explainedHop       `json:"next_hop"`
	Notes              []string           `json:"notes"`
}

type explainedEvent struct {
	Event     string           `json:"event"`
	Recipient string           `json:"recipient"` // OnRcptCommand
	Limit     string           `json:"limit"`
	Agents    []explainedAgent `json:"agents"`
}

type explainedAgent struct {
	Name      string `json:"name"`
	Priority  uint32 `json:"priority"`
	Asked     bool   `json:"asked"`
	Watches   bool   `json:"watches"`
	Why       string `json:"why"`
	Timeout   string `json:"timeout"`
	OnFailure string `json:"on_failure"`
	State     string `json:"state"`
}

type explainedAddress struct {
	Address string `json:"address"`
	Taken   bool   `json:"taken"`
	Why     string `json:"why"`
}

type explainedHop struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Weights   []uint32 `json:"weights"`
	TLS       string   `json:"tls"`
}

func explainedShape(e *controlv1.ExplainResponse) explainShape {
	s := explainShape{
		Service: e.GetService(), Listener: e.GetListener(), IP: e.GetIp(), Direction: e.GetDirection(),
		Events: []explainedEvent{}, Recipients: []explainedAddress{},
		RecipientsVerified: e.GetRecipientsVerified(), DeferredFor: list(e.GetDeferredFor()),
		NextHop: explainedHop{e.GetNextHop(), list(e.GetAddresses()), append([]uint32{}, e.GetWeights()...), e.GetTls()},
		Notes:   list(e.GetNotes()),
	}
	for _, ev := range e.GetEvents() {
		x := explainedEvent{Event: ev.GetEvent(), Recipient: ev.GetRecipient(), Limit: ev.GetLimit(), Agents: []explainedAgent{}}
		for _, g := range ev.GetAgents() {
			x.Agents = append(x.Agents, explainedAgent{
				g.GetName(), g.GetPriority(), g.GetAsked(), g.GetWatches(), g.GetWhy(), g.GetTimeout(), g.GetOnFailure(), g.GetState(),
			})
		}
		s.Events = append(s.Events, x)
	}
	for _, r := range e.GetRecipients() {
		s.Recipients = append(s.Recipients, explainedAddress{r.GetAddress(), r.GetTaken(), r.GetWhy()})
	}
	return s
}
