package auth

import (
	"context"
	"errors"

	"github.com/xdg-go/scram"
)

// NewScram begins SCRAM-SHA-256 (RFC 5802, RFC 7677) for the users of a file. Channel binding is
// not offered. As with PLAIN, nobody acts for somebody else.
func NewScram(u *Users) Exchange { return newScram(u, nil) }

// newScram takes where nonces come from; nil: from chance.
func newScram(u *Users, nonce func() string) Exchange {
	e := &scramExchange{users: u}
	server, err := scram.SHA256.NewServer(e.lookup)
	if err != nil {
		return broken{err}
	}
	if nonce != nil {
		server.WithNonceGenerator(nonce)
	}
	e.conversation = server.NewConversation()
	return e
}

// scramExchange is three responses: who, the proof, and an empty one upon the server's own
// proof (RFC 4954 §4: there is no room for it in the final reply).
type scramExchange struct {
	users        *Users
	conversation *scram.ServerConversation
	user         string
	known        bool
	proven       bool
}

func (e *scramExchange) User() string { return e.user }

func (e *scramExchange) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case response == nil && e.user == "" && !e.conversation.Done():
		return []byte{}, false, nil
	case e.proven && len(response) == 0:
		return nil, true, nil
	case e.proven || e.conversation.Done():
		return nil, false, ErrMalformed
	case e.user != "":
		return e.final(string(response))
	}
	challenge, err := e.conversation.Step(string(response))
	if err != nil || e.user == "" {
		return nil, false, ErrMalformed // its text would repeat the response
	}
	if as := e.conversation.AuthzID(); as != "" && !same(as, e.user) {
		e.known = false // told with the proof: nothing is given away before
	}
	return []byte(challenge), false, nil
}

func (e *scramExchange) final(response string) ([]byte, bool, error) {
	challenge, err := e.conversation.Step(response)
	if err != nil || !e.conversation.Valid() || !e.known {
		return nil, false, ErrCredentials
	}
	e.proven = true
	return []byte(challenge), false, nil
}

// lookup is asked by the conversation, once, for the user it is about.
func (e *scramExchange) lookup(name string) (scram.StoredCredentials, error) {
	if name == "" || len(name) > maxUser {
		return scram.StoredCredentials{}, errors.New("no such name")
	}
	e.user = name
	k, known := e.users.key(name)
	e.known = known
	if known {
		who, _ := e.users.find(name)
		e.user = who.name
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(k.salt), Iters: k.iterations},
		StoredKey:  k.stored, ServerKey: k.server,
	}, nil
}

// broken is an exchange that cannot be had.
type broken struct{ err error }

func (b broken) User() string { return "" }

func (b broken) Next(context.Context, []byte) ([]byte, bool, error) { return nil, false, b.err }
