package agents

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// digest checks that an agent's program can be run and returns its SHA-256 in hex.
func digest(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("agent program %s: the path must be absolute", path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("agent program %s: there is no such file", path)
	case err != nil:
		return "", fmt.Errorf("agent program: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("agent program %s: is not a regular file", path)
	case info.Mode().Perm()&0o111 == 0:
		return "", fmt.Errorf("agent program %s: is not executable; chmod +x it", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("agent program: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("agent program %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// checkPinned refuses a program that is not the one that was installed. Between the check
// and the start the file can still be exchanged by whoever may write it: the pin guards
// against accidents and late changes, the file's permissions against the rest.
func checkPinned(name, path, want string) error {
	got, err := digest(path)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("agent program %s has changed since it was installed (SHA-256 %.12s…, installed was %.12s…); if you changed it: relay set-agent %s --path %s",
			path, got, want, name, path)
	}
	return nil
}
