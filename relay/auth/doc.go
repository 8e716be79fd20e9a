// Package auth finds out who a client is: the SASL mechanisms PLAIN (RFC 4616), LOGIN and
// SCRAM-SHA-256 (RFC 7677), the server's side, and the file of users with their hashed
// passwords. It knows nothing of SMTP.
//
// PLAIN and LOGIN ask a Passwords; the users file is one, and what asks another server is to
// be one too. SCRAM-SHA-256 needs a verifier of the user and so the file itself.
//
// Nothing that is told of a failed attempt, be it in words or in time, depends on whether there
// is such a user.
package auth
