package agents

import (
	"strings"
	"testing"

	"example.org/relay/relay/event"
)

func TestCheckOnly(t *testing.T) {
	listeners := []string{":25", ":587"}
	for _, tt := range []struct {
		name string
		only event.Filter
		want []string // nil: is taken
	}{
		{"nothing", event.Filter{}, nil},
		{"all of it", event.Filter{
			Listeners: []string{":587"}, RecipientDomains: []string{"example.org", "*.example.org"}, SenderDomains: []string{"bücher.example"},
			Direction: event.Internal, Login: event.LoggedIn, MaxSize: 1,
		}, nil},
		{"a listener that is not there", event.Filter{Listeners: []string{":25", ":26"}}, []string{"no listener :26", ":25, :587"}},
		{"no address", event.Filter{Listeners: []string{""}}, []string{`listener ""`, "as configured"}},
		{"all problems at once", event.Filter{RecipientDomains: []string{"alice@example.org"}, SenderDomains: []string{"*", "a..b"}},
			[]string{`"alice@example.org"`, `"*"`, `"a..b"`, "*.example.org"}},
	} {
		err := CheckOnly(tt.only, listeners)
		if (err != nil) != (tt.want != nil) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", tt.name, err, w)
			}
		}
	}
}
