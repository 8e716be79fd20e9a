// Package agents is the host's side of agents: which are installed (the registry), their
// processes (start, watch, restart, swap, end) and the conversations with them over
// proto/agent/v1. It decides nothing about mail: what a verdict or a failure means is the
// pipeline's business, which reaches an agent through Agent and Conversation.
//
// An agent's way: Host.Install describes the program and writes it down; Host.Enable gives
// it a supervisor, which keeps one instance (a process and its connection) alive. A session
// opens a Conversation, which takes a stream of the instance's pool at its first event and
// gives it back at its end. Streams are kept over sessions, since opening one costs more
// than an event.
//
// When a process dies, a new one is started at once. Conversations with an event in flight
// are suspects: they are tried again one by one on a spare process, so that the one message
// that kills the agent is found and no other suffers for it.
package agents
