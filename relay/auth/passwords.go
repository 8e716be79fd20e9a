package auth

import (
	"context"
	"errors"
	"net/netip"
)

// Passwords judges names and passwords. Safe for concurrent use.
type Passwords interface {
	// Verify returns who has logged in. With a Challenge, the password alone is not enough: more
	// is to be asked, and nobody has logged in yet. ErrCredentials says that the client is not
	// who it claims to be; any other error, that this could not be found out.
	Verify(ctx context.Context, a Attempt) (user string, more *Challenge, err error)
}

// Attempt is a name and a password, as the client gave them.
type Attempt struct {
	User, Password string
	Client         netip.Addr
}

// Challenge is a further question to a client: a second factor. Only LOGIN has room for one.
type Challenge struct {
	Prompt string
	// Answer takes what the client says to it, and returns what Verify returns.
	Answer func(ctx context.Context, response string) (user string, more *Challenge, err error)
}

// How an exchange fails by the client's fault.
var (
	// ErrCredentials: the client is not who it claims to be.
	ErrCredentials = errors.New("wrong user name or password")
	// ErrMalformed: a response is not what the mechanism has. No password was looked at.
	ErrMalformed = errors.New("malformed response")
)

// Limits of what is looked at.
const (
	maxUser     = 255  // octets of a name
	maxPassword = 1024 // octets of a password
)
