package agent_test

import (
	"context"
	"strings"
	"testing"

	"example.org/relay/plugins/agent"
)

type (
	mistyped   struct{}
	misshaped  struct{}
	alias      struct{}
	none       struct{}
	byPointer  struct{}
	deaf       struct{}
	onceIsFine struct{ tagger }
	lowerCase  struct{}
	halfByPtr  struct{}
)

func (mistyped) OnEndOfHeader(context.Context, *agent.Message) agent.Verdict { return agent.Verdict{} }
func (misshaped) OnRcptCommand(context.Context, *agent.Message) agent.Verdict {
	return agent.Verdict{}
}
func (alias) OnRcptToCommand(context.Context, *agent.Message, agent.Recipient) {}
func (*byPointer) OnConnect(context.Context, *agent.Session)                   {}
func (deaf) OnDisconnect(context.Context, *agent.Session, agent.DisconnectReason) agent.Verdict {
	return agent.Verdict{}
}
func (lowerCase) Onconnect(context.Context, *agent.Session)                       {}
func (halfByPtr) OnConnect(context.Context, *agent.Session)                       {}
func (*halfByPtr) OnRcptCommand(context.Context, *agent.Message, agent.Recipient) {}
func (onceIsFine) Once()                                                          {}
func (onceIsFine) Only1()                                                         {}

func TestCheckRefusesWhatWouldBindNothing(t *testing.T) {
	const rcpt = "OnRcptCommand(context.Context, *agent.Message, agent.Recipient) agent.Verdict, or the same without a result to watch only"
	for _, tc := range []struct {
		value any
		want  string // empty: fine
	}{
		{tagger{}, ""},
		{&byPointer{}, ""},
		{onceIsFine{}, ""},
		{mistyped{}, "agent_test.mistyped.OnEndOfHeader fits no event: did you mean OnEndOfHeaders(context.Context, *agent.Message) agent.Verdict, or the same without a result to watch only"},
		{misshaped{}, "agent_test.misshaped.OnRcptCommand has another signature than its event asks for, which is " + rcpt},
		{alias{}, "agent_test.alias.OnRcptToCommand fits no event: did you mean " + rcpt},
		{deaf{}, "agent_test.deaf.OnDisconnect has another signature than its event asks for, which is OnDisconnect(context.Context, *agent.Session, agent.DisconnectReason)"},
		{none{}, "agent_test.none has no handlers: an agent needs a method named after an event, such as OnEndOfHeaders"},
		{byPointer{}, "agent_test.byPointer has no handlers, but *agent_test.byPointer has: give its address"},
		{lowerCase{}, "agent_test.lowerCase.Onconnect fits no event: did you mean OnConnect("},
		{&halfByPtr{}, ""},
		{halfByPtr{}, "agent_test.halfByPtr has no OnRcptCommand, but *agent_test.halfByPtr has: give its address"},
		{nil, "the agent is nil"},
	} {
		err := agent.Check(agent.New("x", tc.value))
		if (err == nil) != (tc.want == "") || err != nil && !strings.HasPrefix(err.Error(), "factory x: "+tc.want) {
			t.Errorf("Check(%T) = %v, want %q", tc.value, err, tc.want)
		}
	}
}

func TestCheckRefusesFactoriesThatCannotBeTold(t *testing.T) {
	for _, tc := range []struct {
		factories []agent.Factory
		want      string
	}{
		{nil, "there is no factory to serve"},
		{[]agent.Factory{agent.New("a", tagger{}), agent.New("a", tagger{})}, "factory a is there twice"},
		{[]agent.Factory{agent.New("", tagger{})}, `"" is no name for a factory: it needs one without spaces and slashes`},
	} {
		if err := agent.Check(tc.factories...); err == nil || err.Error() != tc.want {
			t.Errorf("Check = %v, want %s", err, tc.want)
		}
	}
}

func TestEventsCarryTheNamesOfTheirHandlers(t *testing.T) {
	for event, want := range map[agent.Event]string{
		agent.EventConnect: "OnConnect", agent.EventCategorizedMessage: "OnCategorizedMessage", agent.Event(99): "99",
	} {
		if got := event.String(); got != want {
			t.Errorf("%d = %s, want %s", event, got, want)
		}
	}
}
