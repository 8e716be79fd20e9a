package agents

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/relay/relay/event"
)

// CheckOnly says why an operator cannot narrow an agent so: a domain that is none, or a listener that
// its service does not have. listeners are the addresses of those it has, as configured. All problems
// come at once.
func CheckOnly(only event.Filter, listeners []string) error {
	problems := []error{only.Check()}
	for _, l := range only.Listeners {
		if l != "" && !slices.Contains(listeners, l) {
			problems = append(problems, fmt.Errorf("there is no listener %s; there is %s", l, orNone(listeners)))
		}
	}
	return errors.Join(problems...)
}

func orNone(listeners []string) string {
	if len(listeners) == 0 {
		return "none"
	}
	return strings.Join(listeners, ", ")
}
