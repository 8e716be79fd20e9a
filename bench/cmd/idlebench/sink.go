package main

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"
)

// sink is a next hop that takes everything and counts its connections.
type sink struct {
	net.Listener
	connections atomic.Int64
}

func startSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{Listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			go serve(c)
		}
	}()
	return s, nil
}

func serve(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
	say := func(s string) { _, _ = w.WriteString(s + "\r\n") }
	say("220 sink.example")
	for content := false; ; {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case content:
			if line == ".\r\n" {
				content = false
				say("250 2.0.0 kept")
			}
		case strings.HasPrefix(line, "EHLO"):
			say("250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME")
		case strings.HasPrefix(line, "DATA"):
			content = true
			say("354 go ahead")
		default:
			say("250 2.0.0 ok")
		}
	}
}
