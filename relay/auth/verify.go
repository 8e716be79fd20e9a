package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
)

// slots bound how many passwords are hashed at a time in this process: each takes a processor,
// and up to maxArgonMemory.
var slots = make(chan struct{}, min(max(runtime.NumCPU(), 2), 8))

// Verify judges by the users of the file. It takes the time of one hash, whether there is such a
// user or not.
func (u *Users) Verify(ctx context.Context, a Attempt) (string, *Challenge, error) {
	if len(a.User) > maxUser || len(a.Password) > maxPassword {
		return "", nil, ErrCredentials
	}
	who, known := u.find(a.User)
	prepared, err := prepare(a.Password)
	if err != nil || prepared == "" {
		prepared, known = a.Password, false
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return "", nil, fmt.Errorf("too many logins at a time: %w", context.Cause(ctx))
	}
	if !who.matches(prepared) || !known {
		return "", nil, ErrCredentials
	}
	return who.name, nil, nil
}

func (w *user) matches(prepared string) bool {
	if w.argon != nil {
		return w.argon.matches(prepared)
	}
	return w.scram.matches(prepared)
}

// find returns the user of this name. Where there is none, it is another one, always the same
// for the name, who costs as much as the one could.
func (u *Users) find(name string) (who *user, known bool) {
	acc, err := account(name)
	if i, ok := u.byName[acc]; ok && err == nil {
		return &u.users[i], true
	}
	n := binary.BigEndian.Uint64(mac(u.secret, "stand-in "+acc))
	return &u.users[n%uint64(len(u.users))], false
}

// key is what SCRAM goes by for this name. Where there is no such user, it looks like that of
// another, and no password fits.
func (u *Users) key(name string) (key *scramKey, known bool) {
	who, known := u.find(name)
	if known && who.scram != nil {
		return who.scram, true
	}
	acc, _ := account(name)
	fake := &scramKey{iterations: scramIterations, stored: make([]byte, sha256.Size), server: mac(u.secret, "server "+acc)}
	length := saltLength
	if who.scram != nil {
		fake.iterations, length = who.scram.iterations, len(who.scram.salt)
	}
	for len(fake.salt) < length {
		fake.salt = append(fake.salt, mac(u.secret, fmt.Sprintf("salt %d %s", len(fake.salt), acc))...)
	}
	fake.salt = fake.salt[:length]
	return fake, false
}
