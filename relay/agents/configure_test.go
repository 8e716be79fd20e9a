package agents

import (
	"strings"
	"testing"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// What an agent is bound to and narrowed to at Configure is no more than it said when it was installed.
func TestTermsStayWithinWhatWasDescribed(t *testing.T) {
	s := &spec{Entry: Entry{Name: "a", Service: event.FrontEnd, Path: "/x", Described: Described{Subscriptions: []event.Subscription{
		{Kind: event.RcptCommand, Filter: event.Filter{RecipientDomains: []string{"*.example.org"}}}, {Kind: event.EndOfHeaders},
	}}}}
	sub := func(k event.Kind, f *agentv1.Filter) *agentv1.Subscription {
		return &agentv1.Subscription{Event: agentv1.EventType(k), Mode: agentv1.Subscription_MODE_DECIDE, Filter: f}
	}
	for _, tt := range []struct {
		name string
		in   *agentv1.Subscription
		want string // "": it is taken
	}{
		{"narrower", sub(event.RcptCommand, &agentv1.Filter{RecipientDomains: []string{"a.example.org"}}), ""},
		{"narrowed now", sub(event.EndOfHeaders, &agentv1.Filter{Listeners: []string{":25"}}), ""},
		{"not narrowed", sub(event.RcptCommand, nil), "asked about more at OnRcptCommand"},
		{"wider", sub(event.RcptCommand, &agentv1.Filter{RecipientDomains: []string{"example.org"}}), "set-agent a --path /x"},
		{"another event", sub(event.MailCommand, nil), "binds OnMailCommand"},
		{"written wrong", sub(event.EndOfHeaders, &agentv1.Filter{SenderDomains: []string{"@example.org"}}), "the filter it has at OnEndOfHeaders"},
	} {
		terms, err := s.terms(&agentv1.ConfigureResponse{Subscriptions: []*agentv1.Subscription{tt.in}})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want == "":
			if f, _ := filterOf(tt.in.Filter); !terms.subs[0].Filter.Equal(f) {
				t.Errorf("%s: %+v", tt.name, terms.subs[0].Filter)
			}
		case err == nil || !strings.Contains(err.Error(), tt.want):
			t.Errorf("%s: %v, want an error about %q", tt.name, err, tt.want)
		}
	}
}
