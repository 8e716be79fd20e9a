package agent

import (
	"fmt"
	"reflect"
	"strings"
)

// aliases are spellings found in Exchange's documents.
var aliases = map[string]string{
	"OnConnectEvent":    "OnConnect",
	"OnDisconnectEvent": "OnDisconnect",
	"OnRcptToCommand":   "OnRcptCommand",
}

// checkMethods refuses a type whose On… methods are not all handlers, and one without any.
func checkMethods(t reflect.Type) error {
	if t == nil {
		return fmt.Errorf("the agent is nil: give a value with handlers")
	}
	bound := 0
	for i := range t.NumMethod() {
		m := t.Method(i)
		if !claimsEvent(m.Name) {
			continue
		}
		b := bindingOf(m.Name)
		if b == nil {
			near := nearest(m.Name)
			return fmt.Errorf("%s.%s fits no event: did you mean %s", t, m.Name, signatures(near))
		}
		if !t.Implements(b.watch) && (b.decide == nil || !t.Implements(b.decide)) {
			return fmt.Errorf("%s.%s has another signature than its event asks for, which is %s", t, m.Name, signatures(b))
		}
		bound++
	}
	if bound > 0 {
		return checkPointer(t)
	}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		if p := reflect.PointerTo(t); p.NumMethod() > t.NumMethod() && checkMethods(p) == nil {
			return fmt.Errorf("%s has no handlers, but %s has: give its address", t, p)
		}
	}
	return fmt.Errorf("%s has no handlers: an agent needs a method named after an event, such as %s", t, signatures(bindingOf("OnEndOfHeaders")))
}

// checkPointer refuses a value that has some of its handlers only where its address is given.
func checkPointer(t reflect.Type) error {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return nil
	}
	p := reflect.PointerTo(t)
	for i := range p.NumMethod() {
		name := p.Method(i).Name
		if _, own := t.MethodByName(name); !own && claimsEvent(name) {
			return fmt.Errorf("%s has no %s, but %s has: give its address", t, name, p)
		}
	}
	return nil
}

// claimsEvent reports whether a method is named like a handler: On and a capital, or a
// handler's name in other letters.
func claimsEvent(name string) bool {
	if len(name) > 2 && name[:2] == "On" && 'A' <= name[2] && name[2] <= 'Z' {
		return true
	}
	for i := range bindings {
		if strings.EqualFold(bindings[i].name, name) {
			return true
		}
	}
	return false
}

func bindingOf(name string) *binding {
	for i := range bindings {
		if bindings[i].name == name {
			return &bindings[i]
		}
	}
	return nil
}

func nearest(name string) *binding {
	if right, ok := aliases[name]; ok {
		return bindingOf(right)
	}
	best, least := &bindings[0], len(name)+100
	for i := range bindings {
		if d := distance(strings.ToLower(name), strings.ToLower(bindings[i].name)); d < least {
			best, least = &bindings[i], d
		}
	}
	return best
}

// signatures prints how a handler may be declared.
func signatures(b *binding) string {
	form := b.watch
	if b.decide != nil {
		form = b.decide
	}
	text := b.name + strings.TrimPrefix(form.Method(0).Type.String(), "func")
	if b.decide == nil {
		return text
	}
	return text + ", or the same without a result to watch only"
}

// distance is Levenshtein's: insertions, deletions and replacements between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
