package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// argon2id is a password hashed by Argon2id (RFC 9106), with what it was hashed with.
type argon2id struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
	salt    []byte
	key     []byte
}

// What new passwords are hashed with: the weakest that the OWASP Password Storage Cheat Sheet
// calls good, so that many can be hashed at a time.
const (
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonThreads = 1
	saltLength   = 16
	keyLength    = 32
)

// Limits of what a line of the file may cost us.
const (
	maxArgonMemory  = 128 << 10 // KiB
	maxArgonWork    = 512 << 10 // KiB, all passes together
	maxArgonPasses  = 64
	maxArgonThreads = 16
	minSalt         = 8 // RFC 9106 §3.1
	maxSalt         = 64
	minKey          = 16
	maxKey          = 64
)

// hashArgon2id hashes a prepared password with a new salt.
func hashArgon2id(prepared string) *argon2id {
	a := &argon2id{memory: argonMemory, passes: argonPasses, threads: argonThreads, salt: make([]byte, saltLength), key: make([]byte, keyLength)}
	_, _ = rand.Read(a.salt) // it never fails
	a.key = a.hash(prepared)
	return a
}

func (a *argon2id) hash(prepared string) []byte {
	return argon2.IDKey([]byte(prepared), a.salt, a.passes, a.memory, a.threads, uint32(len(a.key)))
}

// matches takes its time, whatever the password.
func (a *argon2id) matches(prepared string) bool {
	return subtle.ConstantTimeCompare(a.hash(prepared), a.key) == 1
}

const argonPrefix = "$argon2id$"

// String is the PHC form: $argon2id$v=19$m=19456,t=2,p=1$salt$key.
func (a *argon2id) String() string {
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", argonPrefix, argon2.Version, a.memory, a.passes, a.threads,
		phc64.EncodeToString(a.salt), phc64.EncodeToString(a.key))
}

// phc64 is the base64 of PHC strings: without padding.
var phc64 = base64.RawStdEncoding.Strict()

// parseArgon2id reads the PHC form. The error does not repeat any of s.
func parseArgon2id(s string) (*argon2id, error) {
	parts := strings.Split(strings.TrimPrefix(s, argonPrefix), "$")
	if !strings.HasPrefix(s, argonPrefix) || len(parts) != 4 {
		return nil, errors.New("must be $argon2id$v=19$m=…,t=…,p=…$salt$key")
	}
	if parts[0] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("the version must be v=%d", argon2.Version)
	}
	a := &argon2id{}
	if err := a.parseCost(parts[1]); err != nil {
		return nil, err
	}
	var err error
	if a.salt, err = octets(phc64, parts[2], minSalt, maxSalt); err != nil {
		return nil, fmt.Errorf("the salt %w", err)
	}
	if a.key, err = octets(phc64, parts[3], minKey, maxKey); err != nil {
		return nil, fmt.Errorf("the key %w", err)
	}
	return a, nil
}

func (a *argon2id) parseCost(s string) error {
	words := strings.Split(s, ",")
	if len(words) != 3 {
		return errors.New("the cost must be m=…,t=…,p=…")
	}
	var cost [3]int
	for i, name := range [...]string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(words[i], name)
		n, good := number(digits)
		if !ok || !good {
			return errors.New("the cost must be m=…,t=…,p=…, in this order")
		}
		cost[i] = n
	}
	m, t, p := cost[0], cost[1], cost[2]
	switch {
	case p < 1 || p > maxArgonThreads:
		return fmt.Errorf("p must be from 1 to %d", maxArgonThreads)
	case t < 1 || t > maxArgonPasses:
		return fmt.Errorf("t must be from 1 to %d", maxArgonPasses)
	case m < 8*p || m > maxArgonMemory: // RFC 9106 §3.1
		return fmt.Errorf("m must be from 8·p to %d (KiB)", maxArgonMemory)
	case m*t > maxArgonWork:
		return fmt.Errorf("m·t must not be more than %d (KiB)", maxArgonWork)
	}
	a.memory, a.passes, a.threads = uint32(m), uint32(t), uint8(p)
	return nil
}

// number reads a decimal of at most nine digits, without sign and leading zeros.
func number(s string) (int, bool) {
	if s == "" || len(s) > 9 || len(s) > 1 && s[0] == '0' || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// octets decodes base64 of so many octets.
func octets(e *base64.Encoding, s string, shortest, longest int) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // the decoder skips them
		return nil, errors.New("is not base64")
	}
	b, err := e.DecodeString(s)
	switch {
	case err != nil:
		return nil, errors.New("is not base64")
	case len(b) < shortest || len(b) > longest:
		return nil, fmt.Errorf("must be from %d to %d octets, in base64", shortest, longest)
	}
	return b, nil
}
