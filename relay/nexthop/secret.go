package nexthop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxSecretFile is more than any password or token needs.
const maxSecretFile = 64 << 10

// secret reads what we log in with: the first line of its file, which is read each time, as others
// put new ones there.
func (h *Hop) secret(ctx context.Context) (string, error) {
	name := h.cfg.Auth.SecretFile
	s, mode, err := readSecret(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errLogin, err)
	}
	// Once is enough: it is no news at the next login. But to somebody who has mended it, and
	// then broken it again.
	open := mode&0o007 != 0
	if h.secretOpen.Swap(open) != open && open {
		h.log.warn(ctx, "secret for the next hop can be read by others", "", fmt.Errorf("%s has mode %04o: chmod o= it", name, mode))
	}
	return s, nil
}

func readSecret(name string) (secret string, mode os.FileMode, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", 0, err
	}
	s, err := firstLine(string(b))
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", name, err)
	}
	return s, info.Mode().Perm(), nil
}

// firstLine is the secret in the content of a file. Spaces are a part of it.
func firstLine(content string) (string, error) {
	s, _, _ := strings.Cut(content, "\n")
	s = strings.TrimRight(s, "\r")
	switch {
	case len(content) > maxSecretFile:
		return "", fmt.Errorf("is larger than %d octets", maxSecretFile)
	case s == "":
		return "", errors.New("its first line is empty")
	case strings.ContainsAny(s, "\x00\x01") || !utf8.ValidString(s):
		return "", errors.New("its first line is not text")
	}
	return s, nil
}
