package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"example.org/relay/relay/auth"
)

func (a *app) hashPassword() *cobra.Command {
	var user string
	var scram bool
	c := &cobra.Command{
		Use:   "hash-password",
		Short: "Make a line for the file of users",
		Long: `Make a line for the file of users, auth.users: a password is asked for, twice and
without being shown, and what is printed lets nobody guess it cheaply. Where standard
input is no terminal, the password is its first line. It is never an argument: those
can be seen by everybody on the machine.`,
		Example: "  relay hash-password --user alice@example.org >> users\n  relay hash-password --scram < password",
		Args:    noPassword,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("user") {
				if err := auth.CheckUser(user); err != nil {
					return fmt.Errorf("--user: %w", err)
				}
			}
			password, err := a.readPassword()
			if err != nil {
				return err
			}
			hashed, err := auth.Hash(password, scram)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(hashShape{User: user, Argon2id: hashed.Argon2id, Scram: hashed.Scram, Line: hashed.Line(user)})
			}
			_, err = fmt.Fprintln(a.stdout, hashed.Line(user))
			return err
		},
	}
	c.Flags().StringVar(&user, "user", "", "the `NAME` that the line begins with; without it, add one")
	c.Flags().BoolVar(&scram, "scram", false, "also make the key that SCRAM-SHA-256 needs")
	return c
}

// noPassword does not repeat the argument, which may be a password.
func noPassword(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUse("unexpected argument: a password is asked for, or read from standard input")
	}
	return nil
}

// readPassword asks at a terminal, twice; else it takes the first line.
func (a *app) readPassword() (string, error) {
	fd := int(a.stdin.Fd())
	if !term.IsTerminal(fd) {
		return firstLine(a.stdin)
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(a.stderr)
		if errors.Is(err, io.EOF) {
			return "", errors.New("no password was given")
		}
		return string(b), err
	}
	password, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	again, err := ask("Again: ")
	if err == nil && again != password {
		err = errors.New("the two passwords are not the same")
	}
	return password, err
}

// maxFirstLine is more than any password has.
const maxFirstLine = 64 << 10

func firstLine(f *os.File) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(f, maxFirstLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("standard input: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}
