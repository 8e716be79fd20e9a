package main

import (
	"context"
	"fmt"
	"slices"

	"example.org/relay/plugins/agent"
)

// access asks its rules at each event what is to be done with what is known by then.
type access struct {
	rules  []rule // the last one is the default, where that is not to allow
	wanted [stages]bool
}

func factory() agent.Factory {
	return agent.Build("access", newAccess,
		agent.Describe("allows and denies by client, HELO name, sender and recipient"),
		agent.Asks(agent.RejectMail, agent.DiscardMail),
	)
}

func newAccess(setup agent.Setup) (*access, error) {
	var s settings
	if err := setup.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.prepare(setup); err != nil {
		return nil, err
	}
	a := &access{rules: s.Rules}
	if s.Default != "" && s.Default != allow {
		a.rules = append(a.rules, rule{Action: s.Default, name: "default"})
	}
	a.choose()
	return a, nil
}

// choose finds the events at which a rule can come to refuse: when its own last fact is there,
// or one that a rule before it has been waiting for.
func (a *access) choose() {
	var before [stages]bool // the facts that rules so far look at
	for i := range a.rules {
		r := &a.rules[i]
		for s := range before {
			before[s] = before[s] || r.looksAt(stage(s))
		}
		if r.Action == allow {
			continue
		}
		a.wanted[r.stage()] = true
		for s := r.stage() + 1; s < stages; s++ {
			a.wanted[s] = a.wanted[s] || before[s]
		}
	}
}

// Wants leaves out the events at which no rule can refuse.
func (a *access) Wants(e agent.Event) bool {
	switch e {
	case agent.EventConnect:
		return a.wanted[atConnect]
	case agent.EventEhloCommand, agent.EventHeloCommand:
		return a.wanted[atHello]
	case agent.EventMailCommand:
		return a.wanted[atMail]
	}
	return a.wanted[atRcpt]
}

// OnConnect judges the client's address.
func (a *access) OnConnect(_ context.Context, s *agent.Session) agent.Verdict {
	return a.judge(&facts{stage: atConnect, client: s.RemoteAddr().Addr()})
}

// OnEhloCommand judges the name the client gives.
func (a *access) OnEhloCommand(_ context.Context, s *agent.Session, domain string) agent.Verdict {
	return a.judge(&facts{stage: atHello, client: s.RemoteAddr().Addr(), hello: domain})
}

// OnHeloCommand judges the name the client gives.
func (a *access) OnHeloCommand(ctx context.Context, s *agent.Session, domain string) agent.Verdict {
	return a.OnEhloCommand(ctx, s, domain)
}

// OnMailCommand judges the sender.
func (a *access) OnMailCommand(_ context.Context, m *agent.Message, from agent.Mailbox) agent.Verdict {
	s := m.Session()
	return a.judge(&facts{stage: atMail, client: s.RemoteAddr().Addr(), hello: s.Hello(), sender: from.Address()})
}

// OnRcptCommand judges the recipient: as it is now, and as the client gave it.
func (a *access) OnRcptCommand(_ context.Context, m *agent.Message, r agent.Recipient) agent.Verdict {
	s := m.Session()
	f := &facts{stage: atRcpt, client: s.RemoteAddr().Addr(), hello: s.Hello(), sender: m.From().Address(), recipients: []string{r.Address()}}
	if original := r.Original(); original != r.Address() {
		f.recipients = append(f.recipients, original)
	}
	return a.judge(f)
}

// judge finds the first rule that matches. While a rule before it may still come to match,
// nothing is decided.
func (a *access) judge(f *facts) agent.Verdict {
	for i := range a.rules {
		switch match, why := a.rules[i].match(f); match {
		case no:
		case unknown:
			return agent.Continue()
		case yes:
			return a.rules[i].verdict(f.stage, why)
		}
	}
	return allowed(f.stage)
}

// allowed lets the event pass. What is known when a client connects stays so: where that
// decides, the rest of the session is not asked about.
func allowed(at stage) agent.Verdict {
	if at == atConnect {
		return agent.Detach()
	}
	return agent.Continue()
}

func (r *rule) verdict(at stage, why string) agent.Verdict {
	var v agent.Verdict
	code, enhanced := 0, ""
	switch r.Action {
	case allow:
		return allowed(at)
	case discard:
		return agent.Discard().Because(r.name + why)
	case tempfail:
		v, code, enhanced = agent.TempFail(), 451, "4.7.1"
		if at == atConnect {
			code = 421 // RFC 5321 §4.3.2
		}
	case disconnect:
		v, code, enhanced = agent.Disconnect(), 421, "4.7.0"
	default:
		v, code, enhanced = agent.Reject(), 550, "5.7.1"
		if at == atConnect {
			code = 554 // RFC 5321 §3.1
		}
	}
	v = v.Because(r.name + why)
	if r.Text == "" && r.Code == 0 {
		return v
	}
	if r.Code != 0 {
		code, enhanced = r.Code, fmt.Sprintf("%d%s", r.Code/100, enhanced[1:])
	}
	if r.Enhanced != "" {
		enhanced = r.Enhanced
	}
	v = v.Code(code, enhanced)
	if r.Text != "" {
		v = v.Text(r.Text)
	}
	return v
}

// looksAt reports whether the rule has a condition on what is known from that stage on.
func (r *rule) looksAt(at stage) bool {
	return slices.ContainsFunc(r.conditions, func(c condition) bool { return c.kind.stage() == at })
}

// stage is when all the rule needs is known. Only from MAIL on is there something to discard.
func (r *rule) stage() stage {
	last := atConnect
	if r.Action == discard {
		last = atMail
	}
	for _, c := range r.conditions {
		last = max(last, c.kind.stage())
	}
	return last
}
