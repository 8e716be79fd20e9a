package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// prepare is SASLprep (RFC 4013), which names and passwords go through before they are hashed or
// compared (RFC 4616 §2, RFC 5802 §5.1). The error does not repeat any of s.
func prepare(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("is not UTF-8")
	}
	if isPlain(s) {
		return s, nil
	}
	prepared, err := stringprep.SASLprep.Prepare(s)
	if err != nil {
		return "", errors.New("has a character that SASLprep (RFC 4013) does not allow: a control character, " +
			"one newer than Unicode 3.2, or a mix of right-to-left and left-to-right")
	}
	return prepared, nil
}

// isPlain reports that SASLprep leaves s as it is: printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// account is the name by which a user is found: prepared, and the same in upper and lower case,
// since mail addresses are typed in both.
func account(name string) (string, error) {
	prepared, err := prepare(name)
	if err != nil {
		return "", err
	}
	return strings.ToLower(prepared), nil
}

// checkPassword prepares a password that is to be stored.
func checkPassword(password string) (string, error) {
	if password == "" {
		return "", errors.New("the password is empty")
	}
	if len(password) > maxPassword {
		return "", fmt.Errorf("the password is longer than %d octets", maxPassword)
	}
	prepared, err := prepare(password)
	if err != nil {
		return "", fmt.Errorf("the password %w", err)
	}
	if prepared == "" {
		return "", errors.New("the password has nothing in it that can be seen")
	}
	return prepared, nil
}
