// Package smtptest has an SMTP server and a client for tests, both simple and sharing no code
// with the relay: what they see is what was on the wire.
package smtptest
