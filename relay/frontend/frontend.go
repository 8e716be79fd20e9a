// Package frontend is the FrontEnd role: a smtpserver.Transaction that goes straight to a
// next hop while the client waits. Nothing is stored: the next hop's answer is the client's.
package frontend

import (
	"context"
	"io"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// NextHop is where the FrontEnd passes mail on to: a server reached over SMTP, or the Hub of
// the same process. Safe for concurrent use.
type NextHop interface {
	// Name is what the configuration calls it.
	Name() string
	// Extensions are those last seen on all its addresses.
	Extensions() mail.Extensions
	// Begin borrows a connection for one mail transaction of this client, of whom the next hop may
	// be told. Nothing of the transaction is sent yet. The error is a *reply.Error: 451 4.4.x, with
	// the cause for the log.
	Begin(ctx context.Context, client mail.Client) (Delivery, error)
}

// Delivery is one mail transaction at a next hop. A returned error means that the connection
// is of no use any more (it has been closed); it is a *reply.Error of 451 4.4.x. A refusal by the
// next hop is no error but a Reply. Used by one goroutine.
type Delivery interface {
	// Remote is the address of the server, for logs.
	Remote() string
	// Envelope sends MAIL and all RCPT, and DATA where data is set, in one group as far as the
	// server allows, and returns the replies. Without data, more recipients may follow by Rcpt.
	// It may be used again after Reset.
	Envelope(ctx context.Context, env *mail.Envelope, data bool) (Answers, error)
	// Rcpt sends one more RCPT.
	Rcpt(ctx context.Context, r mail.Recipient) (reply.Reply, error)
	// Data sends DATA; 354 is what is hoped for.
	Data(ctx context.Context) (reply.Reply, error)
	// Content sends header and body after a 354, then the final dot, and returns the final reply.
	// The body begins with the empty line, where there is one. An error of the body's Read is
	// returned as it is, and the connection was closed without a dot: nothing is delivered. After
	// the dot it waits as long as ctx lets it.
	Content(ctx context.Context, header *mail.Header, body io.Reader) (reply.Reply, error)
	// Reset sends RSET: the transaction is dropped, the connection stays.
	Reset(ctx context.Context) error
	// Release gives the connection back for other transactions, after a final reply, or (with RSET
	// sent behind the caller's back) in the middle of an envelope. In any other state it closes.
	Release()
	// Abort closes the connection at once, without a dot.
	Abort()
}

// Answers are a next hop's replies to one group of commands.
type Answers struct {
	Mail  reply.Reply
	Rcpts []reply.Reply // one for each recipient, in order; none where MAIL was refused
	Data  reply.Reply   // zero where DATA was not sent
}
