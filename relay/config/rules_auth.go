package config

import (
	"errors"

	"example.org/relay/relay/auth"
)

// users are those who may log in. The file is read, so that a bad one is found here, and with its
// own lines.
func (r *rules) users() {
	const key = "auth.users"
	path := r.c.Auth.Users
	if path == "" || r.has(key) {
		return
	}
	_, err := auth.ReadFile(path, nil)
	var problems auth.Problems
	if !errors.As(err, &problems) {
		if err != nil {
			r.add(key, "%v", err)
		}
		return
	}
	for _, p := range problems {
		r.problems = append(r.problems, Problem{File: path, Line: p.Line, Text: p.Text})
	}
}

// auth checks what a listener needs for AUTH: users, and TLS, without which passwords would be told
// to everybody (RFC 4954 §9).
func (r *rules) auth(at string, l Listener) {
	key := at + ".auth"
	if l.Auth == "none" || r.has(key) {
		return
	}
	if r.c.Auth.Users == "" && !r.has("auth") && !r.has("auth.users") {
		r.add(key, "%q needs a file of users, auth.users", l.Auth)
	}
	if l.TLS == "none" && !r.has(at+".tls") {
		r.add(key, `%q needs TLS here: tls must be "starttls" or "implicit"`, l.Auth)
	}
}
