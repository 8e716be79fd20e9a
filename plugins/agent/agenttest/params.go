package agenttest

import (
	"fmt"
	"slices"
	"strings"

	agentv1 "example.org/relay/proto/agent/v1"
)

// What an agent can set at MAIL and at RCPT.
var (
	mailParams = []string{"RET", "ENVID", "AUTH"}
	rcptParams = []string{"NOTIFY", "ORCPT"}
)

// withParams is a copy of the mailbox with parameters set, and what the relay would refuse of them.
func withParams(box *agentv1.Mailbox, set []*agentv1.EsmtpParam, settable []string) (*agentv1.Mailbox, string) {
	now := &agentv1.Mailbox{Address: box.GetAddress(), Id: box.GetId(), Original: box.GetOriginal(), Params: slices.Clone(box.GetParams())}
	for _, p := range set {
		if !slices.Contains(settable, p.Key) {
			return box, fmt.Sprintf("the parameter %s: only %s can be set", p.Key, strings.Join(settable, ", "))
		}
		if strings.ContainsFunc(p.Value, func(r rune) bool { return r <= ' ' || r == '=' || r == 0x7f }) {
			return box, fmt.Sprintf("the value %q of the parameter %s", p.Value, p.Key)
		}
		now.Params = slices.DeleteFunc(now.Params, func(old *agentv1.EsmtpParam) bool { return old.Key == p.Key })
		if p.Value != "" {
			now.Params = append(now.Params, p)
		}
	}
	return now, ""
}

func (m *Message) setRcptParams(set *agentv1.SetParams) (problem string) {
	i := slices.IndexFunc(m.recipients, func(r *agentv1.Mailbox) bool { return r.Id == set.RecipientId })
	if i < 0 {
		return fmt.Sprintf("recipient %d, which is not there", set.RecipientId)
	}
	m.recipients[i], problem = withParams(m.recipients[i], set.Params, rcptParams)
	return problem
}

// Params returns the parameters of the sender as they are now, as a client would give them:
// "SIZE=1000 RET=HDRS".
func (m *Message) Params() string { return words(m.from) }

// RecipientParams returns those of the n-th recipient, from 0 on.
func (m *Message) RecipientParams(n int) string { return words(m.recipients[n]) }

func words(box *agentv1.Mailbox) string {
	var b strings.Builder
	for _, p := range box.GetParams() {
		b.WriteString(" " + p.Key)
		if p.Value != "" {
			b.WriteString("=" + p.Value)
		}
	}
	return strings.TrimPrefix(b.String(), " ")
}
