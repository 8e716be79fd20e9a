package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/google/renameio/v2"
)

// secretLength is how many octets a Secret has.
const secretLength = 32

// Secret is what is in the file at path, which is made where it is not there. It stays the same
// over restarts, as Parse needs it.
func Secret(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) == secretLength:
		return b, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("secret of the users file: %w", err)
	}
	b = make([]byte, secretLength)
	_, _ = rand.Read(b) // it never fails
	if err := renameio.WriteFile(path, b, 0o600); err != nil {
		return nil, fmt.Errorf("secret of the users file: %w", err)
	}
	return b, nil
}
