package event_test

import (
	"slices"
	"strings"
	"testing"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// matrix is the table of the design: which role has which event.
const matrix = `
event                  FrontEnd Hub Edge
OnConnect              yes      no  yes
OnHeloCommand          yes      yes yes
OnEhloCommand          yes      yes yes
OnStartTlsCommand      yes      yes yes
OnAuthCommand          yes      yes yes
OnEndOfAuthentication  yes      yes yes
OnMailCommand          yes      yes yes
OnRcptCommand          yes      yes yes
OnDataCommand          yes      yes yes
OnEndOfHeaders         yes      yes yes
OnProxyInboundMessage  yes      no  no
OnEndOfData            no       yes yes
OnHelpCommand          yes      yes yes
OnNoopCommand          yes      yes yes
OnRsetCommand          yes      yes yes
OnReject               yes      yes yes
OnDisconnect           yes      yes yes
OnSubmittedMessage     no       yes yes
OnResolvedMessage      no       yes yes
OnRoutedMessage        no       yes yes
OnCategorizedMessage   no       yes yes
OnOpenConnection       no       yes yes
OnDeliverMailItem      no       yes yes
OnCloseConnection      no       yes yes
`

func TestRoleMatrix(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(matrix), "\n")
	roles := []event.Role{event.FrontEnd, event.Hub, event.Edge}
	var order []event.Kind
	for _, row := range rows[1:] {
		cells := strings.Fields(row)
		kind, ok := event.ParseKind(cells[0])
		if !ok || kind.String() != cells[0] {
			t.Fatalf("ParseKind(%s) = %v, %v", cells[0], kind, ok)
		}
		order = append(order, kind)
		for i, role := range roles {
			if want := cells[i+1] == "yes"; role.Has(kind) != want {
				t.Errorf("%s has %s: %v, want %v", role, kind, role.Has(kind), want)
			}
		}
		for _, role := range []event.Role{event.MailboxSubmission, event.MailboxDelivery} {
			if role.Has(kind) {
				t.Errorf("%s has %s", role, kind)
			}
		}
	}
	if got := event.Kinds(); !slices.Equal(got, order) {
		t.Errorf("Kinds = %v, want %v", got, order)
	}
	for _, role := range roles {
		want := slices.DeleteFunc(slices.Clone(order), func(k event.Kind) bool { return !role.Has(k) })
		if got := role.Events(); !slices.Equal(got, want) {
			t.Errorf("Events of %s = %v, want %v", role, got, want)
		}
	}
}

func TestParseKindTakesBothSpellings(t *testing.T) {
	for name, want := range map[string]event.Kind{
		"OnConnect": event.Connect, "OnConnectEvent": event.Connect, "onconnectevent": event.Connect,
		"OnDisconnectEvent": event.Disconnect, "OnRcptToCommand": event.RcptCommand, "ONRCPTCOMMAND": event.RcptCommand,
	} {
		if got, ok := event.ParseKind(name); !ok || got != want {
			t.Errorf("ParseKind(%s) = %v, %v, want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "Connect", "OnFoo", "OnMailEvent"} {
		if got, ok := event.ParseKind(name); ok {
			t.Errorf("ParseKind(%s) = %v", name, got)
		}
	}
	if got := event.Kind(20).String(); got != "event 20" {
		t.Errorf("String of no event = %q", got)
	}
}

func TestParseRole(t *testing.T) {
	for name, want := range map[string]event.Role{
		"FrontEnd": event.FrontEnd, "frontend": event.FrontEnd, "HUB": event.Hub, "edge": event.Edge,
		"MailboxSubmission": event.MailboxSubmission, "mailboxdelivery": event.MailboxDelivery,
	} {
		if got, err := event.ParseRole(name); err != nil || got != want {
			t.Errorf("ParseRole(%s) = %v, %v, want %v", name, got, err, want)
		}
	}
	_, err := event.ParseRole("Front")
	want := `transport service "Front": must be FrontEnd, Hub, Edge, MailboxSubmission or MailboxDelivery`
	if err == nil || err.Error() != want {
		t.Errorf("ParseRole(Front) = %v, want %s", err, want)
	}
}

func TestCheckRoleTellsTheOperator(t *testing.T) {
	for _, c := range []struct {
		role  event.Role
		bound []event.Kind
		want  string
	}{
		{event.FrontEnd, []event.Kind{event.Connect, event.EndOfHeaders, event.ProxyInboundMessage}, ""},
		{event.Hub, []event.Kind{event.EndOfData, event.RoutedMessage}, ""},
		{event.Edge, []event.Kind{event.Connect, event.EndOfData}, ""},
		{event.FrontEnd, []event.Kind{event.MailCommand, event.EndOfData},
			"agent filter binds OnEndOfData, which transport service FrontEnd does not have; it can be installed for Hub or Edge"},
		{event.Hub, []event.Kind{event.Connect},
			"agent filter binds OnConnect, which transport service Hub does not have; it can be installed for FrontEnd or Edge"},
		{event.Edge, []event.Kind{event.ProxyInboundMessage},
			"agent filter binds OnProxyInboundMessage, which transport service Edge does not have; it can be installed for FrontEnd"},
		{event.MailboxDelivery, nil, "agent filter: no agents in this service: MailboxDelivery takes none; FrontEnd, Hub and Edge do"},
		{event.MailboxSubmission, []event.Kind{event.Connect}, "agent filter: no agents in this service: MailboxSubmission takes none; FrontEnd, Hub and Edge do"},
		{event.Hub, []event.Kind{20}, "agent filter binds event 20, which no transport service has"},
	} {
		err := event.CheckRole("filter", c.role, c.bound)
		if got := text(err); got != c.want {
			t.Errorf("CheckRole(%s, %v) = %q, want %q", c.role, c.bound, got, c.want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// wireName is the name of a wire contract's enum value: "OnStartTlsCommand" →
// "EVENT_TYPE_START_TLS_COMMAND".
func wireName(prefix, name string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			b.WriteByte('_')
		case c == '-':
			c = '_'
		}
		b.WriteString(strings.ToUpper(string(c)))
	}
	return b.String()
}

func TestValuesAreThoseOfTheWireContract(t *testing.T) {
	kinds := map[int32]string{0: "EVENT_TYPE_UNSPECIFIED"}
	for _, k := range event.Kinds() {
		kinds[int32(k)] = wireName("EVENT_TYPE", strings.TrimPrefix(k.String(), "On"))
		if k >= event.NumKinds {
			t.Errorf("%v is not below NumKinds", k)
		}
	}
	same(t, kinds, agentv1.EventType_name)

	actions := map[int32]string{}
	for a := event.Continue; a <= event.Delivered; a++ {
		actions[int32(a)] = wireName("ACTION_", a.String())
	}
	same(t, actions, agentv1.Action_name)

	permissions := map[int32]string{0: "PERMISSION_UNSPECIFIED"}
	for p := event.ReadHeaders; p < event.NumPermissions; p++ {
		permissions[int32(p)] = wireName("PERMISSION_", p.String())
	}
	same(t, permissions, agentv1.Permission_name)
}

func same(t *testing.T, ours, wire map[int32]string) {
	t.Helper()
	for value, name := range wire {
		if ours[value] != name {
			t.Errorf("wire value %d is %s, ours %q", value, name, ours[value])
		}
	}
	for value, name := range ours {
		if _, ok := wire[value]; !ok {
			t.Errorf("our value %d, %s, is none of the wire's", value, name)
		}
	}
}

func TestTerminalActionsEndTheChain(t *testing.T) {
	for a := event.Continue; a <= event.Delivered; a++ {
		want := a != event.Continue && a != event.Skip && a != event.Detach
		if a.Terminal() != want {
			t.Errorf("%s: Terminal = %v, want %v", a, a.Terminal(), want)
		}
	}
	if got := event.Action(99).String(); got != "unknown" {
		t.Errorf("String of no action = %q", got)
	}
}

func TestEveryOpHasItsWord(t *testing.T) {
	seen := map[string]bool{}
	for o := event.AddHeader; o <= event.Unsupported; o++ {
		if s := o.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("Op %d: String = %q", o, s)
		}
		seen[o.String()] = true
	}
	if got := (event.Unsupported + 1).String(); got != "unknown" {
		t.Errorf("String of no op = %q", got)
	}
}

func TestPermissions(t *testing.T) {
	s := event.Permissions(0).With(event.ReadHeaders).With(event.MayRelay).With(event.MayRelay)
	if !s.Has(event.ReadHeaders) || !s.Has(event.MayRelay) || s.Has(event.ReadBody) {
		t.Errorf("Has: %v", s.List())
	}
	if got := s.List(); !slices.Equal(got, []string{"read-headers", "relay"}) {
		t.Errorf("List = %v", got)
	}
	if got := event.Permission(99).String(); got != "unknown" {
		t.Errorf("String of no permission = %q", got)
	}
}
