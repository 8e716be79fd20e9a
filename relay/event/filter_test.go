package event

import "testing"

// What an agent says at Configure is held against what it said at install.
func TestFilterWithin(t *testing.T) {
	for _, tt := range []struct {
		name string
		f, g Filter
		want bool
	}{
		{"nothing in nothing", Filter{}, Filter{}, true},
		{"something in nothing", Filter{Listeners: []string{":25"}, Direction: Inbound, MaxSize: 5}, Filter{}, true},
		{"no listener in one", Filter{}, Filter{Listeners: []string{":25"}}, false},
		{"a listener of two", Filter{Listeners: []string{":25"}}, Filter{Listeners: []string{":25", ":587"}}, true},
		{"one more listener", Filter{Listeners: []string{":25", ":587"}}, Filter{Listeners: []string{":25"}}, false},
		{"a domain", Filter{RecipientDomains: []string{"EXAMPLE.org"}}, Filter{RecipientDomains: []string{"example.org"}}, true},
		{"another domain", Filter{RecipientDomains: []string{"example.net"}}, Filter{RecipientDomains: []string{"example.org"}}, false},
		{"below a wildcard", Filter{SenderDomains: []string{"mail.example.org"}}, Filter{SenderDomains: []string{"*.example.org"}}, true},
		{"a wildcard below a wildcard", Filter{SenderDomains: []string{"*.a.example.org"}}, Filter{SenderDomains: []string{"*.example.org"}}, true},
		{"the same wildcard", Filter{SenderDomains: []string{"*.example.org"}}, Filter{SenderDomains: []string{"*.Example.org"}}, true},
		{"a wildcard in a name", Filter{SenderDomains: []string{"*.example.org"}}, Filter{SenderDomains: []string{"example.org"}}, false},
		{"a name above a wildcard", Filter{SenderDomains: []string{"example.org"}}, Filter{SenderDomains: []string{"*.example.org"}}, false},
		{"any direction in one", Filter{}, Filter{Direction: Inbound}, false},
		{"one direction", Filter{Direction: Inbound}, Filter{Direction: Inbound}, true},
		{"the other direction", Filter{Direction: Internal}, Filter{Direction: Inbound}, false},
		{"any login in one", Filter{}, Filter{Login: LoggedIn}, false},
		{"smaller", Filter{MaxSize: 5}, Filter{MaxSize: 6}, true},
		{"larger", Filter{MaxSize: 7}, Filter{MaxSize: 6}, false},
		{"any size", Filter{}, Filter{MaxSize: 6}, false},
	} {
		if got := tt.f.Within(tt.g); got != tt.want {
			t.Errorf("%s: Within = %t, want %t", tt.name, got, tt.want)
		}
	}
}
