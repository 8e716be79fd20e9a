package smtptest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Client speaks SMTP to a server under test.
type Client struct {
	net.Conn
	// Patience is how long each read and write may take; 0 is 60 s.
	Patience time.Duration
	r        *bufio.Reader
}

func (c *Client) deadline() time.Time {
	if c.Patience == 0 {
		return time.Now().Add(time.Minute)
	}
	return time.Now().Add(c.Patience)
}

// Dial connects, reads the banner and says EHLO.
func Dial(addr string) (*Client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Client{Conn: conn, r: bufio.NewReader(conn)}
	if banner, err := c.Reply(); err != nil || banner[:3] != "220" {
		conn.Close()
		return nil, fmt.Errorf("banner %q: %v", banner, err)
	}
	if _, err := c.Cmd("EHLO client.example.net"); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Cmd sends a line and returns the reply, lines joined by LF.
func (c *Client) Cmd(line string) (string, error) {
	if err := c.Raw([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return c.Reply()
}

// Raw sends octets.
func (c *Client) Raw(b []byte) error {
	c.SetWriteDeadline(c.deadline())
	_, err := c.Write(b)
	return err
}

// Reply reads one reply.
func (c *Client) Reply() (string, error) {
	c.SetReadDeadline(c.deadline())
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return strings.Join(lines, "\n"), err
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n"), nil
		}
	}
}

// Refused is a reply that was not the hoped for.
type Refused struct{ Command, Reply string }

func (e *Refused) Error() string { return e.Command + " answered " + e.Reply }

// Send sends one message and returns the final reply. The content is sent as it is but for
// dot-stuffing. A refusal before is a *Refused; the transaction is then reset.
func (c *Client) Send(from, to string, params string, content []byte) (string, error) {
	for _, step := range []struct{ line, want string }{
		{"MAIL FROM:<" + from + ">" + params, "250"},
		{"RCPT TO:<" + to + ">", "250"},
		{"DATA", "354"},
	} {
		reply, err := c.Cmd(step.line)
		if err != nil {
			return "", fmt.Errorf("%s: %w", step.line, err)
		}
		if !strings.HasPrefix(reply, step.want) {
			if _, err := c.Cmd("RSET"); err != nil {
				return "", errors.Join(&Refused{step.line, reply}, err)
			}
			return "", &Refused{step.line, reply}
		}
	}
	if err := c.Raw(append(Stuff(content), ".\r\n"...)); err != nil {
		return "", err
	}
	return c.Reply()
}

// Stuff puts a dot before each line that begins with one. A line begins behind CRLF only.
func Stuff(content []byte) []byte {
	content = bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(content, []byte(".")) {
		content = append([]byte("."), content...)
	}
	return content
}

// Quit says QUIT and closes.
func (c *Client) Quit() {
	_, _ = c.Cmd("QUIT")
	c.Close()
}

// Over makes a client of a connection on which the session goes on, as under TLS.
func Over(conn net.Conn) *Client { return &Client{Conn: conn, r: bufio.NewReader(conn)} }
