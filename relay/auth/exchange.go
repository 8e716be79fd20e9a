package auth

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
)

// The mechanisms.
const (
	Plain       = "PLAIN"
	Login       = "LOGIN"
	ScramSHA256 = "SCRAM-SHA-256"
)

// Exchange is the server's side of one exchange (RFC 4422). Used by one goroutine.
type Exchange interface {
	// Next takes the client's response, nil where it sent no initial one, and returns the next
	// challenge, until done. ErrCredentials and ErrMalformed are the client's fault; any other
	// error says that it could not be found out who it is.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// User is who has logged in, or the name that was tried; "" where none is known.
	User() string
}

// NewPlain begins PLAIN (RFC 4616): one response with everything in it. Nobody acts for somebody
// else: an authorization identity must be the user's own. A back end that has a further
// question cannot ask it here, and the client is refused.
func NewPlain(p Passwords, client netip.Addr) Exchange { return &plain{passwords: p, client: client} }

type plain struct {
	passwords Passwords
	client    netip.Addr
	user      string
}

func (e *plain) User() string { return e.user }

func (e *plain) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return nil, false, ErrMalformed
	}
	as, user, password := string(parts[0]), string(parts[1]), string(parts[2])
	e.user = user
	who, more, err := e.passwords.Verify(ctx, Attempt{user, password, e.client})
	switch {
	case err != nil:
		return nil, false, err
	case more != nil, as != "" && !same(as, user) && !same(as, who):
		return nil, false, ErrCredentials
	}
	e.user = who
	return nil, true, nil
}

// same reports whether two names are of one user.
func same(a, b string) bool {
	x, err := account(a)
	y, other := account(b)
	return err == nil && other == nil && x == y
}

// NewLogin begins LOGIN, which no RFC has: two questions, and as many more as the back end has.
// An initial response is the user's name, as clients send it.
func NewLogin(p Passwords, client netip.Addr) Exchange { return &login{passwords: p, client: client} }

type login struct {
	passwords Passwords
	client    netip.Addr
	user      string
	step      func(ctx context.Context, response string) (string, *Challenge, error) // nil: the name is still to come
}

func (e *login) User() string { return e.user }

func (e *login) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case response == nil && e.step == nil:
		return []byte("Username:"), false, nil
	case e.step == nil:
		if len(response) == 0 || bytes.IndexByte(response, 0) >= 0 {
			return nil, false, ErrMalformed
		}
		e.user = string(response)
		e.step = func(ctx context.Context, password string) (string, *Challenge, error) {
			if password == "" || strings.IndexByte(password, 0) >= 0 {
				return "", nil, ErrMalformed
			}
			return e.passwords.Verify(ctx, Attempt{e.user, password, e.client})
		}
		return []byte("Password:"), false, nil
	}
	who, more, err := e.step(ctx, string(response))
	switch {
	case err != nil:
		return nil, false, err
	case more != nil:
		e.step = more.Answer
		return []byte(more.Prompt), false, nil
	}
	e.user = who
	return nil, true, nil
}
