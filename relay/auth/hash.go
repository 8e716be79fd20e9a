package auth

import "strings"

// Hashed is a password as the users file has it.
type Hashed struct {
	Argon2id string
	Scram    string // "": was not asked for
}

// Hash hashes a new password. The error says what is wrong with it, without repeating any of it.
func Hash(password string, withScram bool) (Hashed, error) {
	prepared, err := checkPassword(password)
	if err != nil {
		return Hashed{}, err
	}
	h := Hashed{Argon2id: hashArgon2id(prepared).String()}
	if withScram {
		h.Scram = newScramKey(prepared).String()
	}
	return h, nil
}

// Line is the line of a user; with "", what follows the name.
func (h Hashed) Line(user string) string {
	return strings.TrimSpace(user + " " + strings.TrimSpace(h.Argon2id+" "+h.Scram))
}

// CheckUser says why a name cannot stand in a users file.
func CheckUser(name string) error {
	p := parser{lineOf: map[string]int{}}
	words := strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	if len(words) != 1 || words[0] != name || name[0] == '#' {
		return Problems{{Text: `the name must be one word, without "#" at its beginning`}}
	}
	if p.name(name) == "" {
		return p.problems
	}
	return nil
}
