package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// scramKey is what SCRAM-SHA-256 knows of a password (RFC 5802 §3).
type scramKey struct {
	iterations int
	salt       []byte
	stored     []byte // StoredKey
	server     []byte // ServerKey
}

// Iterations of new keys, and of those that are taken: RFC 7677 §4 wants 4096 at least; the
// client does the work, and so do we where a password comes by PLAIN. Cyrus SASL, by which
// Postfix and others log in, does not compute more than 65536, and then cannot log in at all: it
// chooses this mechanism before the others.
const (
	scramIterations    = 1 << 16
	minScramIterations = 4096
	maxScramIterations = 1_000_000
)

// newScramKey makes a key of a prepared password, with a new salt.
func newScramKey(prepared string) *scramKey {
	k := &scramKey{iterations: scramIterations, salt: make([]byte, saltLength)}
	_, _ = rand.Read(k.salt) // it never fails
	k.stored, k.server = k.derive(prepared)
	return k
}

// derive is RFC 5802 §3.
func (k *scramKey) derive(prepared string) (stored, server []byte) {
	salted, err := pbkdf2.Key(sha256.New, prepared, k.salt, k.iterations, sha256.Size)
	if err != nil {
		// Only FIPS mode has a reason: a salt too short. Such a key is nobody's.
		return make([]byte, sha256.Size), make([]byte, sha256.Size)
	}
	client := sha256.Sum256(mac(salted, "Client Key"))
	return client[:], mac(salted, "Server Key")
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

// matches takes its time, whatever the password.
func (k *scramKey) matches(prepared string) bool {
	stored, server := k.derive(prepared)
	// Both, so that a line whose two keys are of two passwords lets nobody in.
	return hmac.Equal(stored, k.stored) && hmac.Equal(server, k.server)
}

const scramPrefix = "SCRAM-SHA-256$"

// String is the form of RFC 5803: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey.
func (k *scramKey) String() string {
	return fmt.Sprintf("%s%d:%s$%s:%s", scramPrefix, k.iterations, std64.EncodeToString(k.salt),
		std64.EncodeToString(k.stored), std64.EncodeToString(k.server))
}

var std64 = base64.StdEncoding.Strict()

// parseScramKey reads the form of RFC 5803. The error does not repeat any of s.
func parseScramKey(s string) (*scramKey, error) {
	rest, ok := strings.CutPrefix(s, scramPrefix)
	cost, keys, both := strings.Cut(rest, "$")
	iterations, salt, hasSalt := strings.Cut(cost, ":")
	stored, server, hasServer := strings.Cut(keys, ":")
	if !ok || !both || !hasSalt || !hasServer {
		return nil, errors.New("must be SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")
	}
	k := &scramKey{}
	k.iterations, ok = number(iterations)
	if !ok || k.iterations < minScramIterations || k.iterations > maxScramIterations {
		return nil, fmt.Errorf("the iterations must be from %d to %d", minScramIterations, maxScramIterations)
	}
	var err error
	if k.salt, err = octets(std64, salt, minSalt, maxSalt); err != nil {
		return nil, fmt.Errorf("the salt %w", err)
	}
	if k.stored, err = octets(std64, stored, sha256.Size, sha256.Size); err != nil {
		return nil, fmt.Errorf("the StoredKey %w", err)
	}
	if k.server, err = octets(std64, server, sha256.Size, sha256.Size); err != nil {
		return nil, fmt.Errorf("the ServerKey %w", err)
	}
	return k, nil
}
