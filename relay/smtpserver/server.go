// Package smtpserver is the listening side: go-smtp behind a wire gate. The gate owns the
// wire (lines, deadlines, STARTTLS, end of data, replies); go-smtp keeps the order of
// commands; a Transaction behind them takes the mail.
package smtpserver

import (
	"context"
	"io"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// Backend is what stands behind the sessions of a listener.
type Backend interface {
	// Extensions are those a client may use now; asked at each EHLO. Only SMTPUTF8,
	// EightBitMIME, DSN, RequireTLS, Size and RcptMax are looked at: the rest is the gate's own.
	Extensions() mail.Extensions
	// Open gives a session its Transaction. Agents' events of a transaction (MAIL, RCPT, DATA,
	// end of headers) are fired there, on agents; all others by the server.
	Open(agents *pipeline.Session) Transaction
}

// Transaction takes the mail transactions of one session, one after the other. Used by one
// goroutine. A method's reply is told to the client; the zero Reply is the default text. An
// error is turned into a reply by reply.From; a *reply.Error says who caused it, and whether
// the session ends after it.
type Transaction interface {
	// Mail begins a transaction. The parameters are checked: known, offered, of right form.
	Mail(ctx context.Context, from mail.Path, params mail.Params) (reply.Reply, error)
	// Rcpt adds a recipient.
	Rcpt(ctx context.Context, to mail.Path, params mail.Params) (reply.Reply, error)
	// Data is asked before 354, or at the first BDAT. There is at least one recipient.
	Data(ctx context.Context) error
	// Content takes the message and ends the transaction, whatever it returns. The body is read
	// as it comes from the client; an error of it (a line that is not allowed, too many octets, the
	// client gone) must be returned, and nothing of the message may have been delivered then.
	// Where it returns before the end of body, the server reads the rest and then answers. The body
	// also has a method Repaired() int64: how many line ends were made CRLF (Limits.RepairLineEnds)
	// in what has been read.
	Content(ctx context.Context, header *mail.Header, body io.Reader) (reply.Reply, error)
	// Reset drops the transaction, if there is one: RSET, EHLO, a failed DATA. It also follows
	// each Content, when the client has its reply: the place for what it need not wait for.
	Reset(ctx context.Context)
	// Close is the end of the session.
	Close()
}
