package frontend

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/renameio/v2"
)

// sealSize is the length of the key, in octets.
const sealSize = 32

// Seal is the key by which the relay knows messages again that agents have submitted, in a file of its
// own. It is made when the first is. Safe for concurrent use.
type Seal struct {
	path string
	mu   sync.Mutex // held while the key is made
	key  atomic.Pointer[[]byte]
}

// OpenSeal reads the key at path, if there is one.
func OpenSeal(path string) (*Seal, error) {
	s := &Seal{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("key of submitted messages: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != sealSize {
		return nil, fmt.Errorf("key of submitted messages: %s: must be %d hexadecimal digits; where it is removed, another one is made", path, 2*sealSize)
	}
	s.key.Store(&key)
	return s, nil
}

// Key returns the key; nil where none has been made, so that nothing is sealed with it.
func (s *Seal) Key() []byte {
	if s == nil {
		return nil
	}
	if k := s.key.Load(); k != nil {
		return *k
	}
	return nil
}

// Make returns the key, and makes it where there is none.
func (s *Seal) Make() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.Key(); k != nil {
		return k, nil
	}
	key := make([]byte, sealSize)
	_, _ = rand.Read(key) // never fails
	if err := renameio.WriteFile(s.path, []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("key of submitted messages: %w", err)
	}
	s.key.Store(&key)
	return key, nil
}
