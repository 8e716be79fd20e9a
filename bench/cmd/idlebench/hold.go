package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// holdSessions opens n sessions, says so on standard output, and holds them until standard input
// ends.
func holdSessions(addr string, n int, kind string) error {
	conns := make([]net.Conn, n)
	errs := make(chan error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				var err error
				if conns[i], err = begin(addr, i, kind); err != nil {
					errs <- fmt.Errorf("session %d: %w", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		c.Close()
	}
	return nil
}

// begin opens a session from one of many addresses and brings it to where it falls silent.
func begin(addr string, i int, kind string) (net.Conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/200), byte(1+i%200))}
	d := net.Dialer{LocalAddr: from, Timeout: 30 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if err := talk(c, "", "220"); err != nil {
		return nil, err
	}
	switch kind {
	case "hello":
		err = talk(c, "EHLO idle.example", "250")
	case "mail":
		if err = talk(c, "EHLO idle.example", "250"); err == nil {
			err = talk(c, "MAIL FROM:<idle@idle.example>", "250")
		}
	case "tls":
		if err = talk(c, "EHLO idle.example", "250"); err == nil {
			err = talk(c, "STARTTLS", "220")
		}
		if err != nil {
			break
		}
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		if err = t.Handshake(); err == nil {
			err = talk(t, "EHLO idle.example", "250")
		}
		_ = c.SetDeadline(time.Time{})
		return t, err
	}
	_ = c.SetDeadline(time.Time{})
	return c, err
}

// talk sends a line, where there is one, and reads a reply.
func talk(c net.Conn, line, want string) error {
	if line != "" {
		if _, err := io.WriteString(c, line+"\r\n"); err != nil {
			return err
		}
	}
	r := bufio.NewReaderSize(c, 1<<10) // nothing comes behind a reply that was not asked for
	for {
		reply, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if len(reply) < 4 || reply[:3] != want {
			return fmt.Errorf("%q answered %q", line, reply)
		}
		if reply[3] != '-' {
			return nil
		}
	}
}
