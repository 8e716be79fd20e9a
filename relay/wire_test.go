package relay

import (
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"example.org/relay/relay/auth"
	"example.org/relay/relay/smtpserver"
)

// A reload that takes the users file away from under a session is no fault of its client.
func TestLoginWithoutUsersFileIsNotWrong(t *testing.T) {
	a := authenticator{auth.NewFile(filepath.Join(t.TempDir(), "users.secret"))}
	for _, mechanism := range []string{auth.Plain, auth.Login, auth.ScramSHA256} {
		_, done, err := a.Start(mechanism, netip.Addr{}).Next(t.Context(), []byte("\x00alice\x00secret"))
		if done || err == nil || errors.Is(err, smtpserver.ErrCredentials) || errors.Is(err, smtpserver.ErrMalformed) {
			t.Errorf("%s: done %v, error %v", mechanism, done, err)
		}
	}
}
