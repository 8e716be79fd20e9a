// Package agent is the kit for writing agents: programs that the relay starts and asks
// about each SMTP event they are bound to.
//
// An agent is any value with at least one handler, a method named after an event:
//
//	type tagger struct{}
//
//	func (tagger) OnEndOfHeaders(_ context.Context, m *agent.Message) agent.Verdict {
//		m.Header().SetText("Subject", "[hello] "+m.Header().Text("Subject"))
//		return agent.Continue()
//	}
//
//	func main() { agent.Serve(agent.New("hello", tagger{}, agent.Asks(agent.ChangeHeaders))) }
//
// A handler that returns a Verdict decides: the relay waits for it. The same method without
// a result only watches: it costs no round trip, but it may run late, together with the next
// event that the agent decides, and it cannot edit. [Serve] refuses a method On… that fits no
// event, because a mistyped name would silently bind nothing. The handlers are the interfaces
// [ConnectHandler] to [CategorizedMessageHandler].
//
// One value serves all sessions of the process, many at a time: what it holds itself must be
// safe for concurrent use. The handlers of one session run one after the other. State of a
// session or a message belongs in the bags ([SessionKey], [MessageKey]), which the relay
// keeps: they live through a crash and a swap of the agent. A *Session and a *Message are
// valid only in the handler they are given to, and only on its goroutine.
//
// A message is changed by editing it: m.SetSender, m.ReplaceRecipient, m.Header().SetText
// and so on. The edits go to the relay with the verdict, in order, and take effect all or
// none. What an agent may edit is what it asked for ([Asks]) and the operator granted.
//
// The package knows the wire and nothing else of the relay.
package agent
