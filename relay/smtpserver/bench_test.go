package smtpserver

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// The server's own cost: a sink behind it, one client that pipelines.
func BenchmarkSink(b *testing.B) {
	for _, size := range []int{4 << 10, 50 << 10, 5_000_000} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) { benchmarkSink(b, size) })
	}
}

func benchmarkSink(b *testing.B, size int) {
	sink := &readerBackend{read: func(_ *mail.Header, body io.Reader) (reply.Reply, error) {
		_, err := io.Copy(io.Discard, body)
		return reply.Reply{}, err
	}}
	addr, _ := listen(b, sink, Limits{})
	k := dial(b, addr)
	k.send("EHLO client.example.org\r\n")
	k.expect("250 ")
	message := append([]byte("Subject: x\r\nFrom: a@example.net\r\n\r\n"), bytes.Repeat([]byte("0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n"), size/78)...)
	message = append(message, ".\r\n"...)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		k.send("MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
		k.expect("250 ")
		k.expect("250 ")
		k.expect("354 ")
		if _, err := k.Write(message); err != nil {
			b.Fatal(err)
		}
		k.expect("250 2.6.0")
	}
}

// The end-of-data parser alone.
func BenchmarkDots(b *testing.B) {
	src := bytes.Repeat([]byte("0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n"), dataBuffer/78)
	dst := make([]byte, dataBuffer)
	d := newDots()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		d.decode(dst, src)
	}
}
