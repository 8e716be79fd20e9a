// Package relay assembles the rooms from a configuration and runs them. It is the only
// place that sees them all.
//
// # The life of one message
//
//	smtpserver  A client connects, where the limits let it. A PROXY header says who it is, where a
//	            proxy stands between. Agents at OnConnect are asked, then it is greeted. The gate
//	            reads its commands one by one; agents at OnEhloCommand are asked. STARTTLS takes a
//	            certificate of package certificate, AUTH is judged by package auth.
//	frontend    MAIL: Session.Mail begins a transaction with the newest order of agents.
//	            RCPT: Session.Rcpt checks the domain, asks the agents (pipeline.Session.Fire),
//	            and, where recipients are verified live, the next hop.
//	            DATA: Session.Data asks the agents, the gate says 354.
//	            Content: the gate hands over the header section and a reader of the body.
//	            Session.Content adds the trace field and asks the agents at OnEndOfHeaders;
//	            their edits are in the envelope and the header when it goes on.
//	nexthop     The final envelope and the content go out over a connection of the pool, the
//	            body as it arrives.
//	frontend    The next hop's final reply becomes the client's, and the log gets its line.
//
// Agents run beside this in processes of their own: package agents starts, watches and
// swaps them, pipeline knows in which order they are asked and what their answers mean.
// The operator's commands come in through control.
package relay
