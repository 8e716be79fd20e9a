package smtpserver

import (
	"io"
	"net"
	"testing"
	"time"
)

func connect(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// The look takes nothing away, and an end of the connection is no talk.
func TestOctetsWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := connect(t, l.Addr().String())
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if octetsWait(server) {
		t.Error("octets are seen where there are none")
	}
	if _, err := client.Write([]byte("xy")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !octetsWait(server); {
		if time.Now().After(end) {
			t.Fatal("octets are not seen")
		}
	}
	_ = client.Close()
	if all, err := io.ReadAll(server); string(all) != "xy" || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	if octetsWait(server) {
		t.Error("the end is taken for octets")
	}
	if here, _ := net.Pipe(); octetsWait(here) {
		t.Error("a pipe has nobody to ask")
	}
}
