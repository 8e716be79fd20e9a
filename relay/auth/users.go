package auth

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Users are the users of one file. They do not change; safe for concurrent use.
type Users struct {
	users  []user         // at least one
	byName map[string]int // by account
	scram  bool           // each has a scramKey
	secret []byte         // makes stand-ins of users that do not exist
	sum    [32]byte       // SHA-256 of the file
}

// user is a line of the file. Invariant: it has at least one of argon and scram.
type user struct {
	name  string // as the file has it
	argon *argon2id
	scram *scramKey
}

// Problem is one thing that is wrong with a users file. It repeats nothing of a line: what stands
// in the wrong place may be a password.
type Problem struct {
	Line int // 0: the whole file
	Text string
}

// Problems are all that is wrong with a users file, by line.
type Problems []Problem

// Error says the first, and how many more there are.
func (p Problems) Error() string {
	s := p[0].Text
	if p[0].Line > 0 {
		s = fmt.Sprintf("line %d: %s", p[0].Line, s)
	}
	if len(p) > 1 {
		s += fmt.Sprintf(" (and %d more problems)", len(p)-1)
	}
	return s
}

// Limits of a file.
const (
	maxFile     = 16 << 20
	maxLine     = 1024
	maxUsers    = 50_000
	maxProblems = 100 // more are not listed
)

// Parse reads a users file: a user on each line, name first, then one hashed password or one of
// each kind, with spaces or tabs between; empty lines and those that begin with "#" mean nothing.
// What is wrong comes back as Problems.
//
// The secret must be known to nobody and stay the same: what a user who does not exist is
// answered hangs on it.
func Parse(data, secret []byte) (*Users, error) {
	p := parser{users: &Users{byName: map[string]int{}, scram: true, secret: secret, sum: sha256.Sum256(data)}, lineOf: map[string]int{}}
	if len(data) > maxFile {
		return nil, Problems{{Text: fmt.Sprintf("is larger than %d MiB", maxFile>>20)}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark
	for line := range bytes.Lines(data) {
		p.line++
		p.take(strings.TrimRight(string(line), "\r\n"))
		if len(p.users.users) > maxUsers {
			p.problem("there are more than %d users", maxUsers)
			break
		}
		if len(p.problems) >= maxProblems {
			p.problem("what follows was not looked at")
			break
		}
	}
	if len(p.problems) == 0 && len(p.users.users) == 0 {
		p.problems = Problems{{Text: "has no user in it; relay hash-password --user NAME prints a line for it"}}
	}
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return p.users, nil
}

// parser is a file under way.
type parser struct {
	users    *Users
	line     int
	lineOf   map[string]int // by account
	problems Problems
}

func (p *parser) problem(format string, args ...any) {
	p.problems = append(p.problems, Problem{p.line, fmt.Sprintf(format, args...)})
}

func (p *parser) take(line string) {
	switch {
	case len(line) > maxLine:
		p.problem("is longer than %d octets", maxLine)
		return
	case !utf8.ValidString(line):
		p.problem("is not UTF-8")
		return
	}
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 || words[0][0] == '#' {
		return
	}
	name := p.name(words[0])
	u := user{name: words[0]}
	if len(words) == 1 {
		p.problem("has no hashed password: must be a name, a space, and what relay hash-password prints")
		return
	}
	if !p.keys(&u, words[1:]) || name == "" {
		return
	}
	p.users.byName[name] = len(p.users.users)
	p.users.users = append(p.users.users, u)
	p.users.scram = p.users.scram && u.scram != nil
}

// name checks a user's name and returns the account, "" where it is bad.
func (p *parser) name(word string) string {
	if len(word) > maxUser {
		p.problem("the name is longer than %d octets", maxUser)
		return ""
	}
	name, err := account(word)
	if err == nil && name == "" {
		err = fmt.Errorf("has nothing in it that can be seen")
	}
	if err != nil {
		p.problem("the name %v", err)
		return ""
	}
	if first, twice := p.lineOf[name]; twice {
		p.problem("is the same user as on line %d (upper and lower case are the same)", first)
		return ""
	}
	p.lineOf[name] = p.line
	return name
}

// keys reads the hashed passwords of a line.
func (p *parser) keys(u *user, words []string) bool {
	before := len(p.problems)
	for _, w := range words {
		var err error
		switch {
		case strings.HasPrefix(w, argonPrefix):
			if u.argon != nil {
				p.problem("has two argon2id passwords")
			}
			u.argon, err = parseArgon2id(w)
		case strings.HasPrefix(w, scramPrefix):
			if u.scram != nil {
				p.problem("has two SCRAM-SHA-256 keys")
			}
			u.scram, err = parseScramKey(w)
		default:
			p.problem("what follows the name must begin with %s or %s, as relay hash-password prints it", argonPrefix, scramPrefix)
			return false
		}
		if err != nil {
			p.problem("%s: %v", strings.Trim(w[:strings.IndexByte(w[1:], '$')+1], "$"), err)
		}
	}
	return len(p.problems) == before
}

// Len is how many there are.
func (u *Users) Len() int { return len(u.users) }

// Mechanisms are those that every user can log in by, the strongest first. SCRAM-SHA-256 is among
// them only where all have a key for it: a client takes the strongest that is offered and has no
// other try.
func (u *Users) Mechanisms() []string {
	if u.scram {
		return []string{ScramSHA256, Plain, Login}
	}
	return []string{Plain, Login}
}
