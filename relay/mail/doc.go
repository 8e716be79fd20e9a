// Package mail has the nouns of a message: Path, Recipient, Envelope, Header. It is
// pure: no input or output, no clock. A header section is kept byte for byte, so that
// what nobody edits leaves as it came and a DKIM signature over it stays good.
package mail
