package main

import (
	"bytes"
	"fmt"
	"strings"
)

// A contender is a protocol, with what is sent over it.
type contender struct {
	label string
	what  string // for the reader of the report
	start func(options) (peer, error)
}

// A peer is a running filter process, with this process as its host. A session
// is one SMTP session of one message: connection, EHLO, MAIL, RCPT, DATA, the
// header section and, where the label says so, the body, and its end.
type peer interface {
	session(*recorder) error
	pids() []int // of the filter's processes
	close() error
}

// The events of one message at a FrontEnd: connect, EHLO, MAIL, RCPT, DATA and
// end of headers, then the end of the session. A FrontEnd has no end of data.
const (
	milterHeaders = "milter to EOH"
	milterFull    = "milter with body"
	milterQuiet   = "milter, one reply"
	agentDecide   = "agent, all decided"
	agentNotify   = "agent, decides once"
	agentThree    = "three agents, all decided"
)

var contenders = []contender{
	{milterHeaders, "connect, helo, mail, rcpt, data, 10 × header, EOH, each answered: what a FrontEnd's agent sees, no body",
		startMilter(false, false)},
	{agentDecide, "OnConnect, OnEhloCommand, OnMailCommand, OnRcptCommand, OnDataCommand, OnEndOfHeaders, each decided; told of OnDisconnect",
		startAgent("decide", 1)},
	{agentNotify, "the same events seen, only OnEndOfHeaders decided",
		startAgent("notify", 1)},
	{milterFull, "as above, and a body of 4 KB in one chunk, and its end: more than the FrontEnd's agent sees",
		startMilter(true, false)},
	{milterQuiet, "as " + milterHeaders + ", but all replies waived except the last (SMFIP_NR_*): the milter's best case",
		startMilter(false, true)},
	{agentThree, "three processes of the agent that decides all, one after the other",
		startAgent("decide", 3)},
}

// The message: ten fields of together about 1 KB, and a body of 4 KB.
const (
	fromAddress = "sender@example.com"
	rcptAddress = "recipient@example.org"
	helloName   = "client.example.com"
	clientIP    = "192.0.2.10"
	clientPort  = 54321
)

type headerField struct{ name, value string }

var (
	headerFields = makeFields()
	headerRaw    = makeHeader(headerFields)
	body         = bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog, and so on.......\r\n"), 4096/63+1)[:4096]
)

func makeFields() []headerField {
	fields := []headerField{
		{"Received", "from client.example.com (client.example.com [192.0.2.10]) by mx.example.org with ESMTP id 4711"},
		{"From", "A Sender <" + fromAddress + ">"},
		{"To", "A Recipient <" + rcptAddress + ">"},
		{"Subject", "What a message of the usual kind looks like"},
		{"Date", "Mon, 02 Jan 2023 15:04:05 +0000"},
		{"Message-ID", "<4711.0815.20230102@client.example.com>"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "8bit"},
	}
	size := len(makeHeader(fields))
	const last = "X-Fill"
	fill := 1024 - size - len(last) - len(": \r\n")
	return append(fields, headerField{last, strings.Repeat("x", fill)})
}

func makeHeader(fields []headerField) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	return b.Bytes()
}
