package smtpserver

import "strings"

// maxHello is how long the name of a client may be: as long as a domain (RFC 5321 §4.5.3.1.2).
const maxHello = 255

// badArgument answers a command whose argument is not of its form by 501 (RFC 5321 §4.2.2, §4.3.2) and
// reports that it has. Nothing else has come of the command then: agents are not asked, and a
// transaction stays as it is (§4.1.4).
func (g *gate) badArgument(c *command) bool {
	wrong := ""
	switch c.verb {
	case "RSET", "QUIT", "DATA":
		if c.arg != "" {
			wrong = c.verb + " takes no argument"
		}
	case "HELO", "EHLO":
		name, _, _ := strings.Cut(c.arg, " ")
		switch {
		case name == "":
			wrong = c.verb + " needs the name of the client"
		case len(name) > maxHello:
			wrong = "name is too long"
		case hasControl(c.arg):
			wrong = "control character in the name"
		}
	case "VRFY", "NOOP", "HELP":
		switch {
		case c.verb == "VRFY" && c.arg == "":
			wrong = "VRFY needs an address"
		case hasControl(c.arg):
			wrong = "control character in the argument"
		}
	}
	if wrong == "" {
		return false
	}
	g.badCommand(c, 501, 4, wrong)
	return true
}

func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0
}

// text is what a client wrote, fit to be shown to agents: UTF-8, as their protocol has it.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
